"""Ruff on several programs in one call."""

import pytest

from prm_jax.errors import UserError
from prm_jax.quality.finding import score
from prm_jax.quality.lint import lint

GOOD = "def first(items):\n    return items[0]\n"
MUTABLE = "def add(item, items=[]):\n    items.append(item)\n    return items\n"
LONG_WAY = "def is_even(number):\n    if number % 2 == 0:\n        return True\n    else:\n        return False\n"


def test_each_program_has_its_own_findings():
    good, mutable, broken, long_way = lint([GOOD, MUTABLE, "def f(:\n", LONG_WAY])
    assert good == ()
    assert [(finding.rule, finding.line) for finding in mutable] == [("B006", 1)]
    assert {finding.rule for finding in broken} == {"invalid-syntax"}
    assert "SIM103" in {finding.rule for finding in long_way}
    assert score(mutable) == 2**-0.25


def test_rules_can_be_chosen_and_mistakes_in_them_are_told():
    assert lint([MUTABLE], rules=("N",)) == [()]
    assert lint([]) == []
    with pytest.raises(UserError, match="NOSUCH"):
        lint([GOOD], rules=("NOSUCH",))


def test_a_program_cannot_silence_ruff():
    ((finding,),) = lint(["# ruff: noqa\nimport os  # noqa\n"])
    assert (finding.rule, finding.line) == ("F401", 2)
