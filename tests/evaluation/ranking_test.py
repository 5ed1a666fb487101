"""Ranking against counting pairs; localisation and calibration on cases worked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_jax.evaluation.ranking import calibration, first_wrong_accuracy, predicted_first_wrong
from prm_jax.training.auc import roc_auc

NAN = math.nan


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=30))
def test_area_equals_counted_pairs(items):
    pairs = [(p > n) + 0.5 * (p == n) for p, right in items if right for n, other in items if not other]
    area = roc_auc([score for score, _ in items], [right for _, right in items])
    if pairs:
        assert area == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert math.isnan(area)


def test_the_first_step_below_the_threshold_is_suspected_else_the_lowest():
    assert predicted_first_wrong([0.9, NAN, 0.4, 0.1], 0.5) == 2
    assert predicted_first_wrong([0.9, NAN, 0.6, 0.7], 0.5) == 2
    assert predicted_first_wrong([NAN, NAN], 0.5) == -1


def test_localisation_counts_failing_programs_and_states_chance():
    scores = [[0.9, 0.2, 0.1], [0.4, 0.2, NAN, 0.6, 0.1], [0.1, 0.1], [0.5, NAN]]
    found = first_wrong_accuracy(scores, [1, 1, -1, 1])
    assert found.programs == 2
    assert found.accuracy == 0.5
    assert found.chance == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert math.isnan(first_wrong_accuracy([], []).accuracy)


def test_calibration_by_hand():
    result = calibration([0.05, 0.15, 0.9, 0.95, 1.0], [False, True, True, True, False], bins=2)
    assert result.count == (2, 3)
    assert result.score == pytest.approx((0.1, 0.95))
    assert result.right == pytest.approx((0.5, 2 / 3))
    assert result.error == pytest.approx((2 * 0.4 + 3 * (0.95 - 2 / 3)) / 5)
    assert math.isnan(calibration([], []).error)
