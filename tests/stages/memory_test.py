"""A stage tells what memory it needs before its first step; one that does not fit is refused and leaves nothing."""

import pytest

pytestmark = pytest.mark.slow

SMALL = """
from prm_jax.ahead import memory
memory.capacity = lambda: 2.0**16
"""
COUNT = """
import atexit, jax
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, fun_name="", **more: compiled.append(fun_name) if "backend_compile" in name else None
)
atexit.register(lambda: print("compiled", *compiled))
"""


@pytest.mark.parametrize(
    ("stage", "options", "remedy"),
    [
        ("sft", (), "LearningConfig.batch_size"),
        ("prm", (), "LearningConfig.batch_size"),
        ("ppo", ("--arm=prm_online",), "PpoConfig.minibatches"),
    ],
)
def test_a_stage_that_does_not_fit_is_refused_before_its_first_step(command, tiny, run_without, stage, options, remedy):
    left = f"ppo/{options[0].partition('=')[2]}" if options else stage
    folder = run_without(left)
    _, err = command(stage, *tiny, *options, f"--run_dir={folder}", status=2, before=SMALL)
    line = err.strip().splitlines()[-1]
    assert "needs" in line and "GiB" in line and "remat" in line and remedy in line
    # The PRM's stage has sampled the policy's own programs by then, which the next run takes up.
    assert stage == "prm" or not (folder / left).exists()
    assert not any((folder / left / name).exists() for name in ("checkpoints", "metrics.jsonl", "done.json"))
    told = "".join(command(stage, *tiny, *options, f"--run_dir={folder}"))
    assert {"sft": "sft step: ", "prm": "prm step: ", "ppo": "ppo update: "}[stage] in told
    assert (folder / left / "done.json").exists()


def test_what_is_compiled_to_be_told_is_not_compiled_again(command, tiny, run_without):
    folder = run_without("ppo/prm_online")
    out, _ = command("ppo", *tiny, "--arm=prm_online", f"--run_dir={folder}", before=COUNT)
    compiled = out[out.rindex("compiled") :].split()
    large = ("update", "learn", "score_policy", "score_steps", "sample_arrays")
    assert {name: sum(name in each for each in compiled) for name in large} == dict.fromkeys(large, 1), compiled
