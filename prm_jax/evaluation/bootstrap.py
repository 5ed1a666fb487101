"""Bootstrap intervals over problems.

`results.py` and `prm_eval.py` call these. Samples and steps of one problem are not independent of each other, so it
is always whole problems that are resampled. All intervals are percentile intervals of seeded resamples: the same
numbers give the same interval.

P problems, N scored items, R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000
LEVEL = 0.95

# One value per problem.
Values = Sequence[float] | Float[np.ndarray, " P"]
# One group per problem: the scores of its items, and whether each item is a positive one.
Group = tuple[Sequence[float], Sequence[bool]]


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate and the bootstrap interval around it; all NaN where there was nothing to estimate from."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether the interval lies clear of a value."""
        return self.low > value or self.high < value


NOTHING = Interval(math.nan, math.nan, math.nan)


def mean_interval(values: Values, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """The mean over problems and its interval.

    Args:
      values: one value per problem; a NaN says that the problem has no value and leaves it out.
      seed: of the resamples.
      resamples: R.
      level: share of the resampled means that the interval holds.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if known.size == 0:
        return NOTHING
    counts = _resampled_counts(known.size, seed, resamples)
    return _interval(float(known.mean()), counts @ known / known.size, level)


def paired_difference_interval(
    a: Values, b: Values, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The mean over problems of a - b and its interval.

    Pairing by problem takes out how much problems differ in difficulty, which is most of the variance.

    Args:
      a: one value per problem.
      b: one value for each of the same problems, in the same order; a NaN on either side leaves the problem out.
      seed: of the resamples.
      resamples: R.
      level: share of the resampled differences that the interval holds.

    Raises:
      ValueError: where a and b differ in length.
    """
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if left.shape != right.shape:
        raise ValueError(f"paired values must be of one length; got {left.shape} and {right.shape}")
    return mean_interval(left - right, seed=seed, resamples=resamples, level=level)


def auc_interval(
    groups: Sequence[Group], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The area under the ROC curve of all items together, and its interval over problems.

    Args:
      groups: one group of items per problem.
      seed: of the resamples.
      resamples: R.
      level: share of the resampled areas that the interval holds.

    Returns:
      All NaN where the items are of one class. A resample that misses a class is left out.
    """
    value, areas = _areas(groups, seed, resamples)
    return _interval(value, areas[~np.isnan(areas)], level)


def auc_difference_interval(
    a: Sequence[Group], b: Sequence[Group], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The area of a minus that of b, and its interval over problems: two scorers of the same items.

    Args:
      a: one group of items per problem.
      b: the same items in the same order, with other scores.
      seed: of the resamples.
      resamples: R.
      level: share of the resampled differences that the interval holds.

    Returns:
      All NaN where the items are of one class.
    """
    (left, left_areas), (right, right_areas) = (_areas(groups, seed, resamples) for groups in (a, b))
    gained = left_areas - right_areas
    return _interval(left - right, gained[~np.isnan(gained)], level)


def share_interval(
    hits: Values, of: Values, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The share sum(hits) / sum(of) of all items together, and its interval over problems.

    Args:
      hits: per problem how many of its items count; the difference of two such numbers gives the interval of a
        difference of shares.
      of: per problem how many items it has.
      seed: of the resamples.
      resamples: R.
      level: share of the resampled shares that the interval holds.
    """
    counted, items = np.asarray(hits, np.float64), np.asarray(of, np.float64)
    if not items.sum():
        return NOTHING
    counts = _resampled_counts(items.size, seed, resamples)
    drawn = counts @ items
    return _interval(float(counted.sum() / items.sum()), (counts @ counted)[drawn > 0] / drawn[drawn > 0], level)


def _areas(groups: Sequence[Group], seed: int, resamples: int) -> tuple[float, Float[np.ndarray, " R"]]:
    """The area under the ROC curve, and that of each resample; NaN where a class is missing."""
    wins, positives, negatives = _wins_between_problems(groups)
    if not positives.sum() or not negatives.sum():
        return math.nan, np.full(resamples, math.nan)
    counts = _resampled_counts(len(groups), seed, resamples)
    # A resample that holds problem p w_p times holds each pair of an item of p and one of q w_p * w_q times.
    won = np.einsum("rp,rp->r", counts @ wins, counts)
    pairs = (counts @ positives) * (counts @ negatives)
    areas = np.divide(won, pairs, out=np.full(resamples, math.nan), where=pairs > 0)
    return float(wins.sum() / (positives.sum() * negatives.sum())), areas


def _wins_between_problems(
    groups: Sequence[Group],
) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """Entry (p, q): pairs of a positive of p above a negative of q, ties half; then each problem's two counts."""
    scores = [np.asarray(group_scores, np.float64) for group_scores, _ in groups]
    labels = [np.asarray(group_labels, bool) for _, group_labels in groups]
    positive_scores = np.concatenate([s[y] for s, y in zip(scores, labels, strict=True)] or [np.zeros(0)])
    positives = np.array([y.sum() for y in labels], np.float64)
    negatives = np.array([(~y).sum() for y in labels], np.float64)
    owner = np.repeat(np.arange(len(groups)), positives.astype(np.int64))
    wins = np.zeros((len(groups), len(groups)))
    for q, (s, y) in enumerate(zip(scores, labels, strict=True)):
        below = np.sort(s[~y])
        beaten = np.searchsorted(below, positive_scores, "left") + np.searchsorted(below, positive_scores, "right")
        wins[:, q] = np.bincount(owner, weights=beaten / 2, minlength=len(groups))
    return wins, positives, negatives


def _resampled_counts(problems: int, seed: int, resamples: int) -> Float[np.ndarray, "R P"]:
    """How often each resample holds each problem."""
    weights = np.full(problems, 1.0 / problems)
    return np.random.default_rng(seed).multinomial(problems, weights, size=resamples).astype(np.float64)


def _interval(value: float, resampled: Float[np.ndarray, " R"], level: float) -> Interval:
    if not resampled.size:
        return NOTHING
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
