"""Tallies survive their files and add up."""

import json
from collections import Counter

from prm_jax.labelling.tally import Tally
from prm_jax.problems.problem import Test

ONE = Tally(
    {"a": "flaky"}, Counter(flaky=2), Counter(variants=5), Counter(kept=1), Counter(same=1), {"p": (Test("f(1)", "2"),)}
)


def test_a_tally_comes_back_from_its_file():
    assert Tally.from_json(json.loads(json.dumps(ONE.as_json()))) == ONE


def test_tallies_add_up():
    both = Tally(dropped=Counter(flaky=1, unknown=1), tests={"q": (Test("(f(1),)", None, check="_0 > 1"),)})
    both.add(ONE)
    assert (
        both.dropped == {"flaky": 3, "unknown": 1} and both.runs == {"variants": 5} and both.skipped == {"a": "flaky"}
    )
    assert both.inputs == {"kept": 1} and both.agreement == {"same": 1} and list(both.tests) == ["q", "p"]
