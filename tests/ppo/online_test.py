"""The PRM's refresh: labels land on given tokens, the buffer is a ring, learning raises the AUC, ranks are right."""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.batches import TokenBatch
from prm_jax.labelling.labelled_program import Label
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_scorer, scores
from prm_jax.ppo import online
from prm_jax.ppo.arms import PrmRefreshConfig
from prm_jax.ppo.rollout import Rollout

N, W, R = int(Label.NEUTRAL), int(Label.WRONG), int(Label.RIGHT)
MODEL = ModelConfig(vocab_size=8, width=16, layers=1, heads=2, kv_heads=2, mlp_width=32)
CONFIG = PrmRefreshConfig(steps=30, batch_size=16, buffer_rollouts=2, learning_rate=1e-2)
KEY = jax.random.key(0)


def make_rollout(tokens: np.ndarray) -> Rollout:
    inside = tokens > 0
    zeros = np.zeros(tokens.shape, np.float32)
    positions = np.where(inside, np.arange(tokens.shape[1]), 0)
    count = len(tokens)
    return Rollout(
        tokens,
        inside.astype(int),
        positions,
        inside,
        zeros,
        zeros,
        zeros,
        zeros,
        np.arange(count),
        np.ones(count, bool),
        inside,
    )


def test_labels_land_on_the_last_token_of_each_closed_step():
    rollout = make_rollout(np.array([[1, 3, 3, 3, 2, 0], [1, 4, 4, 2, 0, 0], [1, 5, 5, 5, 5, 2]]))
    rollout = rollout.replace(known=np.array([True, True, False]))
    ends = np.array([[1, 3, 4, -1], [2, 2, 3, -1], [1, 2, 5, -1]])
    labels = np.array([[R, N, W, W], [W, R, N, N], [R, R, W, N]])
    got = online.labelled_rows(rollout, ends, labels)
    np.testing.assert_array_equal(got.labels, [[N, R, N, N, W, 0], [N, N, W, N, 0, 0], [N, N, N, N, N, N]])
    np.testing.assert_array_equal(got.tokens, rollout.tokens)


def test_the_buffer_forgets_the_oldest_rollout():
    state = online.init_refresh(CONFIG, jax.jit(init_scorer, static_argnums=0)(MODEL, KEY), batch_size=2, length=6)
    for value in (3, 4, 5):
        tokens = np.full((2, 4), value)
        state = online.remember(state, TokenBatch(tokens, tokens, tokens, tokens))
    np.testing.assert_array_equal(state.rows.tokens[:, 0], [5, 5, 4, 4])
    assert not state.rows.tokens[:, 4:].any()
    assert int(state.filled) == 6


def test_a_refresh_learns_what_the_interpreter_says():
    """Token 3 is a right step and token 4 a wrong one."""
    random = np.random.default_rng(0)
    tokens = random.integers(3, 8, (32, 6))
    labels = np.where(tokens == 3, R, np.where(tokens == 4, W, N))
    rows = TokenBatch(tokens, np.ones_like(tokens), np.tile(np.arange(6), (32, 1)), labels)
    state = online.init_refresh(CONFIG, jax.jit(init_scorer, static_argnums=0)(MODEL, KEY), batch_size=32, length=8)
    state = online.remember(state, TokenBatch(*(x.astype(np.int32) for x in rows)))
    state, metrics = online.make_refresh(CONFIG, MODEL, widths=(4,))(state, KEY)
    after = scores(state.params, MODEL, *(jnp.asarray(x) for x in rows[:3]))
    assert online.step_auc(np.asarray(after), rows) > 0.95
    assert 0 < float(metrics["loss"]) < 0.69
