"""The area under the ROC curve, by hand."""

import numpy as np
import pytest

from prm_jax.training.auc import roc_auc


def test_auc_by_hand():
    positive = np.array([True, False, True, False])
    assert roc_auc(np.array([0.9, 0.1, 0.8, 0.2]), positive) == 1.0
    assert roc_auc(np.array([0.1, 0.9, 0.2, 0.8]), positive) == 0.0
    assert roc_auc(np.array([0.5, 0.5, 0.9, 0.1]), positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert np.isnan(roc_auc(np.array([0.5]), np.array([True])))
