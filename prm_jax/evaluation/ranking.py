"""How well scores rank and how well they are calibrated: pure functions of scores and labels.

`prm_eval.py` calls these. N items; the positive class is *right*.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


def predicted_first_wrong(scores: Sequence[float], threshold: float) -> int:
    """The step that a PRM takes for the first wrong one of a program known to fail.

    Args:
      scores: one score per step, NaN on steps that are not scored.
      threshold: a score below it calls a step wrong.

    Returns:
      The first step below the threshold; where no step is below it, the lowest one, since some step must be wrong;
      -1 where no step is scored.
    """
    values = np.asarray(scores, np.float64)
    if not (~np.isnan(values)).any():
        return -1
    below = np.flatnonzero(values < threshold)
    return int(below[0]) if below.size else int(np.nanargmin(values))


@dataclasses.dataclass(frozen=True)
class Localisation:
    """How often the first wrong step of a failing program is found.

    Attributes:
      programs: failing programs that were looked at.
      accuracy: share of them whose first wrong step was the predicted one; NaN where there are none.
      chance: what a guess with equal weight on every scored step gets.
    """

    programs: int
    accuracy: float
    chance: float


def first_wrong_accuracy(
    scores: Sequence[Sequence[float]], first_wrong: Sequence[int], threshold: float = 0.5
) -> Localisation:
    """How often `predicted_first_wrong` names the first wrong step.

    Args:
      scores: per program one score per step, NaN on steps that are not scored.
      first_wrong: per program the index of its first wrong step. A program is left out where this is -1, or where
        that step is not scored.
      threshold: see `predicted_first_wrong`.
    """
    hits, chances = [], []
    for row, truth in zip(scores, first_wrong, strict=True):
        if truth < 0 or math.isnan(row[truth]):
            continue
        hits.append(predicted_first_wrong(row, threshold) == truth)
        chances.append(1.0 / sum(not math.isnan(score) for score in row))
    if not hits:
        return Localisation(0, math.nan, math.nan)
    return Localisation(len(hits), float(np.mean(hits)), float(np.mean(chances)))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A reliability diagram: bins of equal width over [0, 1]; empty bins are left out.

    Attributes:
      score: mean score of each bin.
      right: share of right items in each bin.
      count: items of each bin.
      error: expected calibration error: mean over items of |score - right| of their bin (Naeini et al. 2015).
    """

    score: tuple[float, ...]
    right: tuple[float, ...]
    count: tuple[int, ...]
    error: float


def calibration(scores: Sequence[float], labels: Sequence[bool], bins: int = 10) -> Calibration:
    """Compares probabilities with what happened.

    Args:
      scores: N probabilities of being right.
      labels: N times whether the item was right.
      bins: number of bins.
    """
    p, right = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    index = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    filled = count > 0
    count = count[filled]
    score = np.bincount(index, weights=p, minlength=bins)[filled] / count
    share = np.bincount(index, weights=right, minlength=bins)[filled] / count
    error = float((np.abs(score - share) * count).sum() / p.size) if p.size else math.nan
    return Calibration(tuple(score.tolist()), tuple(share.tolist()), tuple(count.tolist()), error)
