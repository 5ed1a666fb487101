"""The area under the ROC curve. NumPy only.

The PRM's refresh in PPO and `evaluation/` call it. N items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def roc_auc(scores: Sequence[float] | np.ndarray, labels: Sequence[bool] | np.ndarray) -> float:
    """The area under the ROC curve: how often a positive item scores above a negative one, ties half.

    Computed from mid-ranks (the Mann-Whitney U statistic), in O(N log N).

    Args:
      scores: N finite scores, higher for what is more likely positive.
      labels: N times whether the item is positive.

    Returns:
      A number in [0, 1]; NaN where all items are of one class.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels, bool)
    right, wrong = int(positive.sum()), int((~positive).sum())
    if not right or not wrong:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2.0
    u = mid_rank[inverse][positive].sum() - right * (right + 1) / 2.0
    return float(u / (right * wrong))
