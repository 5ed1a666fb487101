"""A stage tells what memory it needs before its first step; one that does not fit is refused and leaves nothing."""

import pytest

pytestmark = pytest.mark.slow

SMALL = """
from prm_jax.ahead import memory
memory.capacity = lambda: 2.0**16
"""


@pytest.mark.parametrize(
    ("stage", "flags", "remedies"),
    [
        ("sft", (), ("remat", "sft/LearningConfig.batch_size")),
        ("prm", ("--gin.PolicySamplesConfig.problems=0",), ("remat", "accumulate")),
        # The policy is to write programs first.
        ("prm", (), ("decoding", "max_new_tokens")),
    ],
)
def test_a_stage_that_does_not_fit_is_refused_before_its_first_step(command, tiny, run_without, stage, flags, remedies):
    folder = run_without(stage, "prm_blind")
    arguments = (stage, *tiny, *flags, f"--run_dir={folder}")
    _, err = command(*arguments, status=2, before=SMALL)
    line = err.strip().splitlines()[-1]
    assert "needs" in line and "GiB" in line and all(remedy in line for remedy in remedies)
    assert "decoding" in remedies or not (folder / stage).exists()
    assert not any((folder / stage / name).exists() for name in ("checkpoints", "metrics.jsonl", "done.json"))
    assert f"{stage} step: " in "".join(command(*arguments))
    assert (folder / stage / "done.json").exists()
