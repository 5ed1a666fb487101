"""The update: one scan equals a hand-written loop, cutting rows changes nothing, and unknown rows are outside."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.ppo import critic, forward, scoring, update
from prm_jax.ppo.config import CriticConfig, PpoConfig
from prm_jax.ppo.rollout import Rollout

MODEL = ModelConfig(vocab_size=11, width=16, layers=1, heads=2, kv_heads=1, mlp_width=32)
CONFIG = PpoConfig(
    prompts_per_update=4,
    samples_per_prompt=2,
    epochs=2,
    minibatches=2,
    value_only_updates=0,
    learning_rate=1e-2,
    critic=CriticConfig(width=8),
    entropy_coefficient=0.01,
)
KEY = jax.random.key(3)


# Compiling is what these tests spend their time on, so each configuration is compiled once.
run = functools.cache(lambda config: update.make_update(config, MODEL, "head"))
gradient = functools.cache(lambda config: jax.jit(update.make_gradient(config, MODEL, "head")))
prepare = jax.jit(update.prepare, static_argnums=0)


@functools.cache
def make_rollout() -> tuple[dict, Rollout]:
    params = jax.jit(init_policy, static_argnums=0)(MODEL, KEY)
    random = np.random.default_rng(0)
    length, total = 12, np.array([5, 12, 6, 8, 12, 7, 5, 9])
    inside = np.arange(length)[None, :] < total[:, None]
    tokens = np.where(inside, random.integers(3, 11, (8, length)), 0).astype(np.int32)
    completion = inside & (np.arange(length)[None, :] >= 3)
    zeros = jnp.zeros((8, length))
    rollout = Rollout(
        tokens=jnp.asarray(tokens),
        segments=jnp.asarray(inside.astype(np.int32)),
        positions=jnp.asarray(np.where(inside, np.arange(length), 0).astype(np.int32)),
        completion=jnp.asarray(completion),
        logprobs=zeros,
        ref_logprobs=zeros,
        values=zeros,
        rewards=jnp.asarray(np.where(completion, random.normal(size=(8, length)), 0).astype(np.float32)),
        problem=jnp.arange(8) // 2,
        known=jnp.ones(8, bool),
        judged=jnp.asarray(completion),
    )
    head = critic.init_head(MODEL, 8, KEY)
    reference = jax.tree.map(lambda x: x * 1.05, params)
    logprobs, ref_logprobs, values, _ = scoring.score_policy(
        params, reference, head, rollout, model=MODEL, kind="head", temperature=1.0, batch=4
    )
    return params, rollout.replace(logprobs=logprobs, ref_logprobs=ref_logprobs, values=values)


def new_state(config, params):
    return update.init_state(config, params, critic.init_head(MODEL, 8, KEY))


def assert_trees_close(a, b, **tolerance):
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, err_msg=jax.tree_util.keystr(path), **tolerance)


@pytest.mark.slow
def test_one_scan_equals_a_hand_loop():
    params, rollout = make_rollout()
    state = new_state(CONFIG, params)
    batch, _ = prepare(CONFIG, rollout, state.kl_coefficient)
    order = forward.minibatch_rows(jnp.sum(rollout.segments, axis=1), 2, 2, KEY)
    tx, critic_tx = update.make_optimizers(CONFIG)
    policy, head = state.params, state.critic
    policy_state, head_state = tx.init(policy), critic_tx.init(head)
    for rows in order:
        part = jax.tree.map(lambda x, rows=rows: x[rows], batch)
        grads, _ = gradient(CONFIG)(policy, head, part, state.kl_coefficient)
        changes, policy_state = tx.update(grads[0], policy_state, policy)
        policy = optax.apply_updates(policy, changes)
        changes, head_state = critic_tx.update(grads[1], head_state, head)
        head = optax.apply_updates(head, changes)
    got, metrics = run(CONFIG)(state, rollout, KEY)
    assert_trees_close(got.params, policy, atol=2e-5)
    assert_trees_close(got.critic, head, atol=2e-5)
    assert float(got.kl_coefficient) == pytest.approx(0.02)
    assert int(got.step) == 1 and float(metrics["policy_grad_norm"]) > 0
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, got.params, params))
    assert float(moved) > 1e-2


@pytest.mark.slow
def test_narrow_minibatches_give_the_same_gradient():
    params, rollout = make_rollout()
    head = critic.init_head(MODEL, 8, KEY)
    batch, _ = prepare(CONFIG, rollout, jnp.float32(0.02))
    short = jax.tree.map(lambda x: x[jnp.array([0, 2, 5, 6])], batch)
    wide, _ = gradient(CONFIG)(params, head, short, jnp.float32(0.02))
    config = dataclasses.replace(CONFIG, widths=(4, 8))
    assert forward.row_widths((8, 4, 16), 12) == (4, 8, 12)
    narrow, _ = gradient(config)(params, head, short, jnp.float32(0.02))
    assert_trees_close(wide, narrow, atol=1e-6)


def test_every_row_is_taken_once_an_epoch_and_neighbours_are_of_like_length():
    lengths = jnp.array([5, 12, 6, 8, 12, 7, 5, 9])
    order = np.asarray(forward.minibatch_rows(lengths, 3, 4, KEY)).reshape(3, 4, 2)
    for epoch in order:
        assert sorted(epoch.ravel()) == list(range(8))
        assert sorted(tuple(sorted(np.asarray(lengths)[rows])) for rows in epoch) == [(5, 5), (6, 7), (8, 9), (12, 12)]


def test_unknown_rows_change_nothing():
    params, rollout = make_rollout()
    known = rollout.known.at[3].set(False)
    quiet, _ = run(CONFIG)(new_state(CONFIG, params), rollout.replace(known=known), KEY)
    loud = rollout.replace(known=known, rewards=rollout.rewards.at[3].set(1e3), values=rollout.values.at[3].set(9.0))
    got, _ = run(CONFIG)(new_state(CONFIG, params), loud, KEY)
    assert_trees_close(got.params, quiet.params, rtol=0, atol=0)
    assert_trees_close(got.critic, quiet.critic, rtol=0, atol=0)


def test_a_value_only_update_leaves_the_policy_alone_and_a_target_moves_the_coefficient():
    config = dataclasses.replace(CONFIG, value_only_updates=1, kl_target=1e-9)
    params, rollout = make_rollout()
    first, _ = run(config)(new_state(config, params), rollout, KEY)
    assert_trees_close(first.params, params, rtol=0, atol=0)
    assert int(optax.tree_utils.tree_get(first.opt_state, "count")) == 0
    assert first.critic["w_out"].any()
    assert float(first.kl_coefficient) == pytest.approx(0.02 * 1.02)
    second, _ = run(config)(first, rollout, KEY)
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, second.params, params))) > 0


def test_ratio_is_one_before_the_first_step():
    params, rollout = make_rollout()
    batch, metrics = prepare(CONFIG, rollout, jnp.float32(0.02))
    half = jax.tree.map(lambda x: x[:4], batch)
    _, got = gradient(CONFIG)(params, critic.init_head(MODEL, 8, KEY), half, jnp.float32(0.02))
    assert float(got["clip_fraction"]) == 0.0
    assert float(got["update_kl"]) == pytest.approx(0.0, abs=1e-6)
    mask = np.asarray(half.mask)
    assert float(got["policy_loss"]) == pytest.approx(-np.asarray(half.advantages)[mask].mean(), abs=1e-5)
    assert float(metrics["kl"]) > 0


def test_kl_in_the_reward_is_taken_from_every_token():
    params, rollout = make_rollout()
    config = dataclasses.replace(CONFIG, kl_in="reward", whiten=False, lam=1.0)
    coefficient = jnp.float32(0.5)
    batch, _ = prepare(config, rollout, coefficient)
    mask = np.asarray(rollout.mask)
    penalised = np.asarray(rollout.rewards) - 0.5 * np.asarray(rollout.logprobs - rollout.ref_logprobs)
    to_go = np.cumsum(np.where(mask, penalised, 0)[:, ::-1], axis=1)[:, ::-1]
    np.testing.assert_allclose(batch.returns, np.where(mask, to_go, 0), atol=1e-5)


def test_the_policys_rate_rises_over_the_warm_up_and_the_critics_does_not():
    config = PpoConfig(learning_rate=0.4, warmup_updates=1, epochs=1, minibatches=4)
    tx, critic_tx = update.make_optimizers(config)
    params = {"x": jnp.zeros(())}
    state, steps = tx.init(params), []
    for _ in range(6):
        # Adam's step on a constant gradient is the rate itself.
        change, state = tx.update({"x": jnp.ones(())}, state, params)
        steps.append(float(change["x"]))
    np.testing.assert_allclose(steps, [0, -0.1, -0.2, -0.3, -0.4, -0.4], atol=1e-5)
    change, _ = critic_tx.update({"x": jnp.ones(())}, critic_tx.init(params), params)
    assert float(change["x"]) == pytest.approx(-config.critic.learning_rate, rel=1e-4)
    with pytest.raises(UserError, match="warmup_updates is -1"):
        PpoConfig(warmup_updates=-1)
