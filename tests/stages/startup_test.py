"""A stage whose programs are compiled already starts quickly."""

import resource

import pytest

pytestmark = pytest.mark.slow

LIMIT = 20.0
"""Seconds of the processors, which a busy machine does not stretch; on two cores the time on the clock is less."""


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("stage", "options"), [("sft", ()), ("ppo", ("--arm=outcome",))])
def test_a_compiled_stage_starts_within_twenty_seconds(command, tiny, run_without, stage, options):
    """The tiny run has compiled it; the few steps of the stage are within the limit too."""
    folder = run_without("sft" if stage == "sft" else "ppo/outcome")
    before = processor_seconds()
    command(stage, *tiny, *options, f"--run_dir={folder}")
    assert processor_seconds() - before < LIMIT
