"""The card, on rows made by hand."""

import dataclasses
from collections import Counter

import pytest

from prm_jax.labelling import card as module
from prm_jax.labelling.card import card
from prm_jax.labelling.card_text import markdown, summary
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.tally import Tally
from prm_jax.problems.problem import Test

GOOD = "def f(items):\n    return items\n"
ONE_LETTER = "def f(x):\n    return x\n"


def row(text, operator):
    return LabelledProgram("p/1", "toy", "train", "", text, (), (Label.RIGHT,), True, operator, "mutation", "passed")


def test_measures_of_quality_are_means_by_operator(monkeypatch):
    rows = [row(GOOD, "rename"), row(ONE_LETTER, "rename"), row("def f(:", "break"), row(GOOD, "reference")]
    found = card(rows, Tally())["quality"]
    # The name of the function is one letter too.
    naming = {"rename": (2**-0.25 + 2**-0.5) / 2, "break": 0.0, "reference": 2**-0.25}
    assert {name: entry["naming"] for name, entry in found.items()} == pytest.approx(naming)
    assert found["rename"]["structure"] == found["rename"]["calls"] == 1.0 and found["break"]["calls"] == 0.0
    monkeypatch.setattr(module, "QUALITY_PROGRAMS", 1)
    assert card(rows, Tally())["quality"]["rename"] == {
        "programs": 1,
        "structure": 1.0,
        "naming": 2**-0.25,
        "calls": 1.0,
    }


def audited():
    right = row(GOOD, "off_by_one")
    killed = dataclasses.replace(right, passed=False, outcome="wrong_answer", labels=(Label.WRONG,), failing_test=0)
    late = dataclasses.replace(killed, failing_test=1, by_generated=True)
    other = dataclasses.replace(killed, problem_id="p/2", outcome="timeout")
    rows = [right, killed, late, late, other, row(GOOD, "rename_local"), row(GOOD, "reference")]
    tally = Tally(
        dropped=Counter(flaky=1, unknown=2), runs=Counter(variants=8, references=2), inputs=Counter(kept=9),
        agreement=Counter({"trace against mutation: same step": 3, "trace against mutation: later": 1}),
        tests={"p/1": (Test("f(1)", "2"),)},
    )  # fmt: skip
    return card(rows, tally)


def test_survivors_of_own_tests_and_of_generated_ones():
    found = audited()["surviving_mutants"]
    assert (found["own_tests"], found["share"], found["tests_added"]) == (3 / 5, 1 / 5, 1)
    assert found["problems"] == {"p/1": {"own_tests": 3 / 4, "share": 1 / 4, "tests_added": 1}}


def test_operators_have_kinds_and_verdicts():
    found = audited()
    assert found["operators"]["off_by_one"] == {
        "kind": "mutant", "programs": 5, "passed": 1, "by_generated": 2, "right": 1, "wrong": 4,
        "outcomes": {"passed": 1, "timeout": 1, "wrong_answer": 3},
    }  # fmt: skip
    assert found["operators"]["rename_local"]["kind"] == "refactoring"
    assert {name: own["programs"] for name, own in found["quality_by_kind"].items()} == {
        "mutant": 5, "refactoring": 1, "reference": 1,
    }  # fmt: skip


def test_shares_are_of_all_programs_run():
    assert audited()["shares"] == {"flaky": 0.1, "unknown": 0.2}
    assert card([], Tally())["shares"] == {"flaky": 0.0, "unknown": 0.0}


def test_the_card_in_words():
    text = markdown(audited(), "toy")
    assert text.startswith("# Step labels: toy\n")
    assert "| off_by_one | mutant | 5 | 1 | 2 | 1 | 4 | 0 | passed 1, timeout 1, wrong_answer 3 |" in text
    assert "| p/1 | 75.0 % | 25.0 % | 1 |" in text
    assert "| trace against mutation | 4 | 75.0 % | 0.0 % | 0.0 % | 25.0 % | 0.0 % |" in text
    assert summary(audited())[1:] == [
        "mutants that pass their problem's own tests: 60.0 %, the generated ones too: 20.0 %; 1 tests added",
        "wrong step by trace against mutation: same step 3, later 1",
        "flaky 10.0 %, unknown 20.0 % of the programs run",
    ]
    assert not any("generated" in line for line in summary(card([row(GOOD, "off_by_one")], Tally())))
    bare = card([row(GOOD, "reference")], Tally())
    assert len(summary(bare)) == 2 and "Weak tests" not in markdown(bare, "bare")
