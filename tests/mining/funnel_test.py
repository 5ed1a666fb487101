"""The funnel counts, and says why."""

from prm_jax.mining.functions import FileReport
from prm_jax.mining.funnel import STAGES, Funnel


def test_the_funnel_adds_up_and_is_printed_from_wide_to_narrow():
    funnel = Funnel()
    funnel.add(FileReport(lines=1000, functions=9, documented=5, with_examples=2, dropped=(("too short", 2),)))
    funnel.add(FileReport(lines=500, functions=1, dropped=(("too short", 1), ("too long", 1))))
    funnel.add(FileReport(skipped="null bytes"))
    funnel.counts["kept"] = 1
    funnel.packages["p"] = 1
    lines = funnel.lines()
    assert [line.split()[-1] for line in lines[:5]] == ["2", "1,500", "10", "5", "2"]
    assert [line[:14].strip() for line in lines[: len(STAGES)]] == list(STAGES.values())
    assert lines[len(STAGES) :] == [
        "files skipped: null bytes 1",
        "functions dropped: too short 3, too long 1",
        "kept of: p 1",
    ]
    assert funnel.plain()["files"] == 2 and funnel.plain()["skipped"] == {"null bytes": 1}


def test_reasons_that_did_not_occur_are_not_told():
    funnel = Funnel()
    funnel.skipped["link"] += 0
    assert len(funnel.lines()) == len(STAGES)
