"""GAE against an independent loop, whitening and explained variance against numpy on the subset."""

import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ppo import advantages


def gae_by_hand(rewards, values, mask, gamma, lam):
    """Equation 11 of the GAE paper summed forwards over each row's own tokens, in float64."""
    out = np.zeros(rewards.shape)
    for row in range(rewards.shape[0]):
        columns = np.flatnonzero(mask[row])
        r, v = rewards[row, columns].astype(float), np.append(values[row, columns].astype(float), 0.0)
        delta = r + gamma * v[1:] - v[:-1]
        for t, column in enumerate(columns):
            out[row, column] = sum((gamma * lam) ** k * delta[t + k] for k in range(len(columns) - t))
    return out


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_gae_equals_a_forward_sum_on_odd_masks(gamma, lam):
    random = np.random.default_rng(0)
    rewards, values = random.normal(size=(2, 6, 11)).astype(np.float32)
    mask = random.random((6, 11)) < 0.6
    mask[0], mask[1], mask[2] = False, True, np.arange(11) == 4
    got, returns = advantages.gae(jnp.asarray(rewards), jnp.asarray(values), jnp.asarray(mask), gamma, lam)
    expected = gae_by_hand(rewards, values, mask, gamma, lam)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(returns, np.where(mask, expected + values, 0), atol=1e-5)


def test_gae_ignores_what_stands_outside_the_mask():
    random = np.random.default_rng(1)
    rewards, values = random.normal(size=(2, 3, 7)).astype(np.float32)
    mask = np.zeros((3, 7), bool)
    mask[:, 2:5] = True
    clean = advantages.gae(jnp.asarray(rewards * mask), jnp.asarray(values * mask), jnp.asarray(mask), 1.0, 0.95)
    dirty = advantages.gae(jnp.asarray(rewards), jnp.asarray(values), jnp.asarray(mask), 1.0, 0.95)
    np.testing.assert_array_equal(clean[0], dirty[0])
    np.testing.assert_array_equal(clean[1], dirty[1])


def test_lambda_one_without_values_gives_the_reward_to_go():
    rewards = jnp.array([[9.0, 1.0, 2.0, 4.0, 9.0]])
    mask = jnp.array([[False, True, True, True, False]])
    got, _ = advantages.gae(rewards, jnp.zeros_like(rewards), mask, 1.0, 1.0)
    np.testing.assert_array_equal(got, [[0.0, 7.0, 6.0, 4.0, 0.0]])


def test_whiten_equals_the_subset_whitened():
    random = np.random.default_rng(2)
    x = random.normal(3.0, 5.0, size=(4, 9)).astype(np.float32)
    mask = random.random((4, 9)) < 0.5
    got = np.asarray(advantages.whiten(jnp.asarray(x), jnp.asarray(mask)))
    subset = x[mask].astype(float)
    np.testing.assert_allclose(got[mask], (subset - subset.mean()) / subset.std(), atol=1e-5)
    assert not got[~mask].any()


def test_whiten_of_nothing_and_of_a_constant_is_finite():
    x = jnp.full((2, 3), 4.0)
    assert not advantages.whiten(x, jnp.zeros((2, 3), bool)).any()
    assert np.isfinite(advantages.whiten(x, jnp.ones((2, 3), bool))).all()


def test_explained_variance_of_exact_constant_and_noisy_values():
    returns = jnp.array([[1.0, 2.0, 3.0, 100.0]])
    mask = jnp.array([[True, True, True, False]])
    assert float(advantages.explained_variance(returns, returns, mask)) == pytest.approx(1.0)
    assert float(advantages.explained_variance(jnp.zeros((1, 4)), returns, mask)) == pytest.approx(0.0, abs=1e-6)
    half = advantages.explained_variance(returns / 2, returns, mask)
    assert float(half) == pytest.approx(0.75, abs=1e-6)
    assert float(advantages.explained_variance(returns, jnp.ones((1, 4)), mask)) == 0.0


def test_groups_are_centred_on_their_masked_mean():
    x = jnp.array([[1.0, 2.0], [3.0, 100.0], [5.0, 5.0], [7.0, 7.0]])
    mask = jnp.array([[True, True], [True, False], [True, True], [False, False]])
    got = advantages.center_groups(x, mask, 2)
    np.testing.assert_allclose(got, [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=1e-6)
