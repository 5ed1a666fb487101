"""Intervals: what they estimate, that they cover it, and what they leave out."""

import math

import numpy as np
import pytest

from prm_jax.evaluation.bootstrap import (
    Interval,
    auc_difference_interval,
    auc_interval,
    mean_interval,
    paired_difference_interval,
    share_interval,
)
from prm_jax.training.auc import roc_auc


def test_a_95_percent_interval_covers_the_mean_about_95_times_in_100():
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.binomial(20, 0.3, 100) / 20, seed=i, resamples=500) for i in range(300)]
    covered = sum(interval.low <= 0.3 <= interval.high for interval in intervals)
    # 285 expected, standard error 3.8.
    assert 268 <= covered <= 298


def test_the_interval_is_as_wide_as_the_normal_approximation():
    values = np.random.default_rng(0).normal(2.0, 1.0, 400)
    interval = mean_interval(values, resamples=8000)
    width = 2 * 1.96 * values.std() / math.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(width, rel=0.05)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_nan_leaves_a_problem_out():
    assert mean_interval([1.0, math.nan, 3.0]) == mean_interval([1.0, 3.0])
    assert math.isnan(mean_interval([math.nan]).value)
    assert math.isnan(mean_interval([]).low)


def test_pairing_takes_out_the_difficulty_of_the_problems():
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(0, 1, 200)
    a, b = difficulty + 0.05 + rng.normal(0, 0.01, 200), difficulty + rng.normal(0, 0.01, 200)
    difference = paired_difference_interval(a, b)
    assert difference.low < 0.05 < difference.high
    assert difference.excludes(0.0)
    assert difference.high - difference.low < 0.2 * (mean_interval(a).high - mean_interval(a).low)
    with pytest.raises(ValueError, match="one length"):
        paired_difference_interval([1.0], [1.0, 2.0])


def test_excludes_holds_on_either_side_and_not_for_nothing():
    assert Interval(2.0, 1.0, 3.0).excludes(0.5) and Interval(2.0, 1.0, 3.0).excludes(3.5)
    assert not Interval(2.0, 1.0, 3.0).excludes(1.0)
    assert not Interval(math.nan, math.nan, math.nan).excludes(0.0)


def test_the_area_of_the_groups_is_that_of_all_items_ties_included():
    rng = np.random.default_rng(3)
    groups = [(rng.integers(0, 6, n).tolist(), (rng.random(n) < 0.4).tolist()) for n in (7, 1, 0, 12, 30)]
    scores = [s for group, _ in groups for s in group]
    labels = [y for _, group in groups for y in group]
    assert auc_interval(groups).value == pytest.approx(roc_auc(scores, labels))


def test_each_resample_is_the_area_of_the_resampled_problems():
    rng = np.random.default_rng(4)
    groups = [(rng.integers(0, 6, 8).tolist(), [True, False] * 4) for _ in range(5)]
    counts = np.random.default_rng(7).multinomial(5, np.full(5, 0.2), size=50)
    areas = []
    for row in counts:
        drawn = [groups[p] for p, times in enumerate(row) for _ in range(times)]
        areas.append(roc_auc([s for g, _ in drawn for s in g], [y for _, g in drawn for y in g]))
    interval = auc_interval(groups, seed=7, resamples=50)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])))


def test_one_class_has_no_area():
    assert math.isnan(auc_interval([([0.1, 0.2], [True, True])]).value)
    assert math.isnan(auc_interval([]).value)


def test_a_difference_of_areas_is_narrower_than_either_area():
    rng = np.random.default_rng(5)
    truth = [rng.random(12) < 0.5 for _ in range(60)]
    first = [(y * 1.0 + rng.normal(0, 1, 12) + rng.normal(0, 1)).tolist() for y in truth]
    better = [(np.array(s) + 0.3 * y).tolist() for s, y in zip(first, truth, strict=True)]
    a, b = ([(s, y.tolist()) for s, y in zip(scores, truth, strict=True)] for scores in (better, first))
    gain, own = auc_difference_interval(a, b), auc_interval(b)
    assert gain.value == pytest.approx(auc_interval(a).value - own.value)
    assert gain.low > 0 and gain.high - gain.low < 0.7 * (own.high - own.low)
    assert auc_difference_interval(b, b) == Interval(0.0, 0.0, 0.0)
    assert math.isnan(auc_difference_interval([([0.1], [True])], [([0.2], [True])]).value)


def test_a_share_is_that_of_all_items_and_its_interval_is_over_problems():
    hits, of = [1, 0, 3, 2, 0], [2, 0, 4, 3, 1]
    counts = np.random.default_rng(7).multinomial(5, np.full(5, 0.2), size=50)
    shares = [row @ hits / (row @ of) for row in counts if row @ of]
    found = share_interval(hits, of, seed=7, resamples=50)
    assert found.value == 0.6
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])))
    assert math.isnan(share_interval([], []).value) and math.isnan(share_interval([0], [0]).low)
