"""What SFT says of the policy that it leaves."""

import math

import pytest

from prm_jax.stages.sft import kept_step
from prm_jax.training.loop import FitResult, _Course


@pytest.mark.parametrize(("min_delta", "kept"), [(0.0, 3), (0.05, 2), (1.0, 1)])
def test_the_step_that_is_told_is_that_of_the_parameters_that_are_kept(min_delta, kept):
    course, history, improved = _Course(), [], []
    for step, rate in enumerate((0.1, 0.2, 0.22, 0.2, 0.22), start=1):
        history.append({"step": step, "pass_at_1": rate})
        if course.improves(rate, min_delta):
            improved.append(step)
    assert improved[-1] == kept
    assert kept_step(FitResult(None, None, course.best, tuple(history), 5, False)) == kept


def test_the_last_step_is_told_where_no_program_had_a_verdict():
    history = tuple({"step": step, "pass_at_1": math.nan} for step in (2, 4))
    assert kept_step(FitResult(None, None, math.nan, history, 4, False)) == 4
