"""Both critics: zero at the start, alignment, a gradient that stops, and the least-squares fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy, init_scorer, policy_forward, scores
from prm_jax.ppo import critic

MODEL = ModelConfig(vocab_size=11, width=16, layers=1, heads=2, kv_heads=1, mlp_width=32)
KEY = jax.random.key(0)
TOKENS = jax.random.randint(KEY, (3, 8), 3, 11)
ROWS = (TOKENS, jnp.ones_like(TOKENS), jnp.tile(jnp.arange(8), (3, 1)))


def test_head_starts_at_zero_and_its_loss_never_reaches_the_policy():
    params, head = jax.jit(init_policy, static_argnums=0)(MODEL, KEY), critic.init_head(MODEL, 8, KEY)

    def value_sum(params, head):
        hidden, _, _ = policy_forward(params, MODEL, *ROWS, 1.0)
        values = critic.values("head", head, MODEL, hidden, *ROWS)
        return jnp.sum(jnp.square(values - 1.0)), values

    (_, values), (to_policy, to_head) = jax.value_and_grad(value_sum, argnums=(0, 1), has_aux=True)(params, head)
    assert values.dtype == jnp.float32 and not values.any()
    assert all(not leaf.any() for leaf in jax.tree.leaves(to_policy))
    assert to_head["w_out"].any()


def test_a_value_reads_only_what_came_before_its_token():
    params, head = jax.jit(init_policy, static_argnums=0)(MODEL, KEY), critic.init_head(MODEL, 8, KEY)
    head["w_out"] = jnp.ones_like(head["w_out"])

    def values(tokens):
        rows = (tokens, *ROWS[1:])
        return critic.values("head", head, MODEL, policy_forward(params, MODEL, *rows, 1.0)[0], *rows)

    changed = values(TOKENS.at[:, 5].set(3 + (TOKENS[:, 5] - 2) % 8)) != values(TOKENS)
    assert not changed[:, :6].any() and changed[:, 6].any()


def test_prm_critic_is_an_affine_map_of_the_score():
    prm = jax.jit(init_scorer, static_argnums=0)(MODEL, KEY)
    params = critic.init_from_prm(prm) | {"scale": jnp.float32(2.0), "offset": jnp.float32(0.5)}
    got = critic.values("prm", params, MODEL, jnp.zeros((3, 8, 16)), *ROWS)
    z = np.asarray(scores(prm, MODEL, *ROWS), np.float64)
    np.testing.assert_allclose(got[:, 1:], 2 * (2 / (1 + np.exp(-z)) - 1)[:, :-1] + 0.5, atol=1e-5)
    assert not got[:, 0].any()


def test_scale_is_fitted_by_least_squares_on_the_mask():
    random = np.random.default_rng(0)
    values = random.normal(size=(4, 6)).astype(np.float32)
    returns = (3 * values - 2 + random.normal(size=(4, 6))).astype(np.float32)
    mask = random.random((4, 6)) < 0.6
    fitted = critic.fit_scale(
        {"scale": jnp.float32(1.0), "offset": jnp.float32(0.0)}, jnp.asarray(values), jnp.asarray(returns), mask
    )
    slope, intercept = np.polyfit(values[mask].astype(float), returns[mask].astype(float), 1)
    assert float(fitted["scale"]) == pytest.approx(slope, abs=1e-4)
    assert float(fitted["offset"]) == pytest.approx(intercept, abs=1e-4)
