"""The card's measures of quality, on rows made by hand."""

import pytest

from prm_jax.labelling import card as module
from prm_jax.labelling.card import card
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.tally import Tally

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
