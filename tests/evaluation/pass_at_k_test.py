"""pass@k against counting every way to draw k of n."""

import itertools
import math

import pytest

from prm_jax.evaluation.pass_at_k import pass_at_k


@pytest.mark.parametrize("n", range(1, 8))
def test_equals_the_share_of_draws_that_hold_a_passing_sample(n):
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        passed = [True] * c + [False] * (n - c)
        draws = [any(draw) for draw in itertools.combinations(passed, k)]
        assert pass_at_k(n, c, k) == pytest.approx(sum(draws) / len(draws), abs=1e-12)


def test_large_numbers_stay_finite():
    n, c, k = 200_000, 3, 100
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-6)


def test_too_few_samples_say_nothing_and_nonsense_is_refused():
    assert math.isnan(pass_at_k(9, 4, 10))
    for n, c, k in [(3, 4, 1), (3, -1, 1), (3, 1, 0)]:
        with pytest.raises(ValueError, match="pass@k needs"):
            pass_at_k(n, c, k)
