"""A stage tells what memory it needs before its first step; one that does not fit is refused and leaves nothing."""

import pytest

pytestmark = pytest.mark.slow

SMALL = """
from prm_jax.ahead import memory
memory.capacity = lambda: 2.0**16
"""


@pytest.mark.parametrize(("stage", "remedy"), [("sft", "LearningConfig.batch_size"), ("prm", "accumulate")])
def test_a_stage_that_does_not_fit_is_refused_before_its_first_step(command, tiny, run_without, stage, remedy):
    folder = run_without(stage)
    _, err = command(stage, *tiny, f"--run_dir={folder}", status=2, before=SMALL)
    line = err.strip().splitlines()[-1]
    assert "needs" in line and "GiB" in line and "remat" in line and remedy in line
    # The PRM's stage has sampled the policy's own programs by then, which the next run takes up.
    assert stage == "prm" or not (folder / stage).exists()
    assert not any((folder / stage / name).exists() for name in ("checkpoints", "metrics.jsonl", "done.json"))
    assert f"{stage} step: " in "".join(command(stage, *tiny, f"--run_dir={folder}"))
    assert (folder / stage / "done.json").exists()
