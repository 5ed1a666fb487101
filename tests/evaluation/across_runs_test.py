"""Several runs as one result, on counts small enough to check by hand."""

import math

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.across_runs import across_runs
from prm_jax.evaluation.results import policy_result
from prm_jax.evaluation.samples import GradedSample
from prm_jax.execution.verdict import Outcome


def policy(name, *passing, prefix="p"):
    """A policy with so many of ten samples right on each problem."""
    samples = [
        GradedSample(f"{prefix}/{i}", 4, "x", Outcome.PASSED if s < right else Outcome.WRONG_ANSWER, False, 40, 5, 1)
        for i, right in enumerate(passing)
        for s in range(10)
    ]
    return policy_result(name, samples, resamples=10)


def test_means_and_differences_are_those_of_the_runs_that_have_the_policy():
    first = [policy("sft", 1, 3), policy("outcome", 3, 5), policy("arm", 9, 5)]
    second = [policy("sft", 3, 5), policy("outcome", 5, 7)]
    sft, outcome, arm = across_runs([first, second])
    assert (sft.name, sft.runs) == ("sft", (0.2, 0.4))
    assert sft.pass_at_1.value == pytest.approx(0.3) and sft.differences.keys() == {"outcome"}
    # Twenty points on every problem, so no resample differs.
    assert (outcome.differences["sft"].low, outcome.differences["sft"].high) == pytest.approx((0.2, 0.2))
    assert arm.runs[0] == pytest.approx(0.7) and math.isnan(arm.runs[1])
    assert arm.differences["sft"].value == pytest.approx(0.5)
    assert arm.differences["outcome"].value == pytest.approx(0.3)


def test_runs_on_different_problems_are_refused():
    with pytest.raises(UserError, match="different problems"):
        across_runs([[policy("sft", 1)], [policy("sft", 1, prefix="q")]])
