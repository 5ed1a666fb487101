"""Numbers as people read them."""

import math

from prm_jax.evaluation.bootstrap import NOTHING, Interval
from prm_jax.report import numbers


def test_shares_and_differences():
    assert numbers.percent(0.1234) == "12.3"
    assert numbers.points(-0.05) == "−5.0" and numbers.points(0.05) == "+5.0"
    assert numbers.percent_range(Interval(0.5, 0.25, 0.75)) == "25.0 to 75.0"
    assert numbers.number(1234.5, 1) == "1,234.5"


def test_durations():
    assert [numbers.seconds(s) for s in (0.04, 59.94, 61, 3599.6, 7322)] == [
        "0.0 s",
        "59.9 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 02 min",
    ]


def test_nothing_is_a_dash():
    assert {numbers.percent(math.nan), numbers.points(math.nan), numbers.seconds(math.nan)} == {"–"}
    assert {numbers.percent_range(NOTHING), numbers.points_range(NOTHING)} == {"–"}
