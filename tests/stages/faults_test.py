"""Faults in the middle of a stage: one line that says what it was, the last good state, and nothing half-written.

What hangs is elsewhere: a sandbox in `tests/execution/sandbox_test.py`, a worker in `tests/parallel/processes_test.py`.
"""

import re
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.slow

FULL = """
import resource
from prm_jax.training.checkpoint import Checkpointer
save = Checkpointer.save
def save_onto_a_full_disk(self, step, *arguments):
    if self.directory.name == "checkpoints" and step == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, resource.RLIM_INFINITY))
    save(self, step, *arguments)
Checkpointer.save = save_onto_a_full_disk
"""

NOT_A_NUMBER = """
import jax
from prm_jax.stages import sft
make = sft.make_train_step
def make_poisoned(*arguments, **options):
    healthy = make(*arguments, **options)
    def train_step(state, batch, frozen):
        if state.step == 2:
            state = state.replace(params=jax.tree.map(lambda leaf: leaf * float("nan"), state.params))
        return healthy(state, batch, frozen)
    train_step.trace = healthy.trace
    return train_step
sft.make_train_step = make_poisoned
"""


def assert_same_bits(expected, found):
    assert expected.keys() == found.keys() and len(expected) > 5
    for leaf in expected:
        np.testing.assert_array_equal(expected[leaf], found[leaf], err_msg=leaf)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (FULL, r"no space left for the checkpoint of step 4 in .*/sft/checkpoints; free some and run again"),
        (
            NOT_A_NUMBER,
            r"sft: loss is nan at step 3 \(all .* at step 2; .*by name is that of \w+\..*\); step 2 has the last good",
        ),
    ],
)
def test_the_last_good_state_stays_and_is_gone_on_from(command, tiny, tiny_run, run_without, saved_leaves, fault, told):
    folder = run_without("sft")
    arguments = ("sft", *tiny, f"--run_dir={folder}")
    _, err = command(*arguments, status=2, before=fault)
    line = err.rstrip("\n").split("\n")[-1]
    assert re.match(f"prm_jax sft: {told}", line) and "Traceback" not in err
    assert [path.name for path in (folder / "sft/checkpoints").iterdir()] == ["2"]
    assert not (folder / "sft/params").exists() and not (folder / "sft/done.json").exists()
    _, err = command(*arguments)
    assert "going on from step 2" in err
    assert_same_bits(saved_leaves(tiny_run / "sft"), saved_leaves(folder / "sft"))


def test_a_checkpoint_with_a_flipped_byte_is_put_aside(command, tiny, tiny_run, run_without, saved_leaves):
    folder = run_without()
    (folder / "sft/done.json").unlink()
    shutil.rmtree(folder / "sft/params")
    files = (path for path in (folder / "sft/checkpoints/4").rglob("*") if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    _, err = command("sft", *tiny, f"--run_dir={folder}")
    assert "checkpoints/4 is damaged" in err and "goes on from step 2" in err and "Traceback" not in err
    assert_same_bits(saved_leaves(tiny_run / "sft"), saved_leaves(folder / "sft"))
