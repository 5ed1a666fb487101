"""Kills at random moments, in the middle of a save too: the same command then ends with the bits of a run left alone.

Each life of a process is ended by SIGKILL, some time after it has begun to save or has written metrics; the next one
goes on from what it finds. PRM_JAX_KILLS says how many kills each stage survives (3), PRM_JAX_KILLS_LOG names a file to
which a line on each of them is added.
"""

import os
import pathlib
import random
import shutil
import signal

import numpy as np
import pytest

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("PRM_JAX_KILLS", "3"))
STEPS = 6 * KILLS + 6
UPDATES = 3 * KILLS + 2
LONGER = (
    f"--gin.tiny/loop.FitConfig.steps={STEPS}", f"--gin.tiny/optimizer.OptimizerConfig.total_steps={STEPS}",
    f"--gin.UPDATES={UPDATES}",
)  # fmt: skip

KILL = """
import os, signal, threading
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.metrics import MetricsWriter
calls = []
def ends_life(method):
    def counted(*arguments, **options):
        calls.append(method)
        if len(calls) == {call}:
            threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return method(*arguments, **options)
    return counted
{owner}.{method} = ends_life({owner}.{method})
"""
MOMENTS = (("Checkpointer", "save", 0.1), ("MetricsWriter", "write", 0.3))
"""Whose call begins the countdown, and how many seconds it lasts at most: about as long as what is then going on."""

STAGES = {
    "sft": ((), ("sft",), ("label", "tasks")),
    "prm": ((), ("prm", "prm_blind"), ("label", "tasks", "sft")),
    "ppo": (("--arm=prm_online",), ("ppo/prm_online",), ("label", "tasks", "sft", "prm")),
}
"""The options of each, the folders that it makes, and those that it needs."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_survives_kills_at_random_moments(command, tiny_run, tiny, tmp_path, saved_leaves, stage):
    options, made, needed = STAGES[stage]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for name in needed:
        shutil.copytree(tiny_run / name, alone / name)
        shutil.copytree(tiny_run / name, killed / name)
    arguments = (stage, *tiny, *options, *LONGER)
    command(*arguments, f"--run_dir={alone}")
    draw, kills = random.Random(stage), 0
    while kills < KILLS:
        told = one_life(command, (*arguments, f"--run_dir={killed}"), draw, MOMENTS[kills % len(MOMENTS)])
        if told:
            kills += 1
            found = [path for name in made for path in (killed / name).glob("checkpoints/*")]
            log(f"{stage}: kill {kills} {told}; found {', '.join(sorted(str(p.relative_to(killed)) for p in found))}")
        else:
            assert_same_bits(alone, killed, made, saved_leaves)
            for name in made:
                shutil.rmtree(killed / name)
    command(*arguments, f"--run_dir={killed}")
    assert_same_bits(alone, killed, made, saved_leaves)
    assert not list(killed.rglob("*orbax-checkpoint-tmp*"))
    log(f"{stage}: after {kills} kills the bits of a run left alone")


def one_life(command, arguments, draw: random.Random, moment: tuple[str, str, float]) -> str:
    """Runs a stage until its kill; says when that was, or nothing where the stage was faster than its end."""
    owner, method, longest = moment
    call, seconds = draw.randint(1, 3), draw.uniform(0, longest)
    before = KILL.format(owner=owner, method=method, call=call, seconds=seconds)
    process = command.start(*arguments, before=before)
    _, err = process.communicate(timeout=900)
    if process.returncode == 0:
        return ""
    assert process.returncode == -signal.SIGKILL, err[-3000:]
    return f"{seconds:.3f} s after call {call} of {owner}.{method}"


def assert_same_bits(alone: pathlib.Path, killed: pathlib.Path, made: tuple[str, ...], saved_leaves) -> None:
    """All parameters that were left, those of a refreshed PRM too, and all metrics."""
    for name in made:
        assert (alone / name / "metrics.jsonl").read_bytes() == (killed / name / "metrics.jsonl").read_bytes()
    for folder in [path.parent.relative_to(alone) for name in made for path in (alone / name).rglob("params")]:
        expected, found = saved_leaves(alone / folder), saved_leaves(killed / folder)
        assert expected.keys() == found.keys() and len(expected) > 5
        for leaf in expected:
            np.testing.assert_array_equal(expected[leaf], found[leaf], err_msg=f"{folder} {leaf}")


def log(line: str) -> None:
    if path := os.environ.get("PRM_JAX_KILLS_LOG"):
        with open(path, "a") as file:
            print(line, file=file)
