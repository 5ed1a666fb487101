"""Interrupted stages: the same command goes on, and what it ends with has the bits of an undisturbed run."""

import os
import signal
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow

DIE = """
import os, signal
from prm_jax.training.checkpoint import Checkpointer
save = Checkpointer.save
def die_instead(self, step, *arguments):
    if self.directory.name == "checkpoints" and step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, step, *arguments)
Checkpointer.save = die_instead
"""
"""Killed in the moment before a checkpoint, so that all work since the one before it is lost."""


@pytest.mark.parametrize(
    ("stage", "options", "step", "going_on", "left"),
    [
        ("sft", (), 4, "going on from step 2", ("sft",)),
        ("prm", (), 4, "going on from step 2", ("prm", "prm_blind")),
        ("ppo", ("--arm=prm_online",), 2, "going on from update 1", ("ppo/prm_online", "ppo/prm_online/scorer")),
    ],
)
def test_a_killed_stage_goes_on_to_the_same_bits(
    command, tiny, tiny_run, run_without, saved_leaves, stage, options, step, going_on, left
):
    folder = run_without(*(name for name in left if not name.endswith("/scorer")))
    arguments = (stage, *tiny, *options, f"--run_dir={folder}")
    command(*arguments, status=-signal.SIGKILL, before=DIE.format(step=step))
    assert not (folder / left[0] / "done.json").exists()
    out, err = command(*arguments)
    assert going_on in out + err
    for name in left:
        expected, found = saved_leaves(tiny_run / name), saved_leaves(folder / name)
        assert expected.keys() == found.keys() and len(expected) > 5
        for leaf in expected:
            np.testing.assert_array_equal(expected[leaf], found[leaf], err_msg=f"{name} {leaf}")


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(command, tiny, run_without):
    folder = run_without("sft")
    longer = ("--gin.tiny/loop.FitConfig.steps=200000", "--gin.tiny/optimizer.OptimizerConfig.total_steps=200000")
    arguments = ("sft", *tiny, *longer, "--gin.tiny/loop.FitConfig.checkpoint_every=100000", f"--run_dir={folder}")
    reached = [_interrupt(command.start(*arguments), folder / "sft") for _ in range(2)]
    assert 0 < reached[0] < reached[1]
    assert not (folder / "sft/done.json").exists()


def _interrupt(process, folder) -> int:
    """Sends Ctrl-C, as a terminal does to the whole group, once the process has learnt a little; the step saved."""
    metrics = folder / "metrics.jsonl"
    before, deadline = _size(metrics), time.monotonic() + 240
    while _size(metrics) <= before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err[-3000:]
    assert "Traceback" not in err and "run the same command again" in err
    return max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def _size(path) -> int:
    return path.stat().st_size if path.exists() else 0
