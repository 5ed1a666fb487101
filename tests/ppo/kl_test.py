"""The adaptive controller moves the coefficient the right way, and by a bounded amount."""

import jax.numpy as jnp
import pytest

from prm_jax.ppo.kl import adapt_coefficient


@pytest.mark.parametrize(("kl", "expected"), [(0.1, 0.02), (0.11, 0.02 * 1.01), (9.0, 0.02 * 1.02), (0.0, 0.02 * 0.98)])
def test_coefficient_by_hand(kl, expected):
    got = adapt_coefficient(jnp.float32(0.02), jnp.float32(kl), 0.1, 0.1)
    assert float(got) == pytest.approx(expected, rel=1e-5)
    assert got.dtype == jnp.float32
