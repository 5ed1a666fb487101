"""The optimiser: its schedule, which parameters decay, clipping, accumulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.training.optimizer import OptimizerConfig, decay_mask, make_optimizer, schedule


def rates(config: OptimizerConfig, updates: int) -> np.ndarray:
    return np.array([schedule(config)(update) for update in range(updates)])


def test_warmup_is_linear_and_learns_from_the_first_update():
    config = OptimizerConfig(0.8, warmup_steps=4, total_steps=4, decay="constant")
    np.testing.assert_allclose(rates(config, 6), [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


@pytest.mark.parametrize(("decay", "half_way"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_decay_starts_at_the_peak_and_ends_where_it_should(decay, half_way):
    config = OptimizerConfig(2.0, warmup_steps=2, total_steps=12, decay=decay)
    end = 1.0 if decay == "constant" else 0.0
    found = rates(config, 20)
    np.testing.assert_allclose(found[[2, 7, 12, 19]], [2.0, 2.0 * half_way, 2.0 * end, 2.0 * end], atol=1e-6)
    assert np.all(np.diff(found[2:]) <= 0)


def test_schedule_counts_calls_of_the_train_step_when_gradients_accumulate():
    each = OptimizerConfig(1.0, warmup_steps=8, total_steps=40, decay="linear")
    fourth = OptimizerConfig(1.0, warmup_steps=8, total_steps=40, decay="linear", accumulate=4)
    np.testing.assert_allclose(rates(fourth, 3), [0.5, 1.0, 1.0])
    np.testing.assert_allclose(rates(fourth, 10)[2:], rates(each, 40)[8::4], rtol=1e-6)


def test_only_matrices_decay_even_where_layers_are_stacked():
    params = {
        "dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "layers": {
            "norm": {"scale": jnp.ones((3, 2))},
            "mlp": {"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))},
        },
    }
    assert decay_mask(params) == {
        "dense": {"kernel": True, "bias": False},
        "layers": {"norm": {"scale": False}, "mlp": {"kernel": True, "bias": False}},
    }
    tx = make_optimizer(OptimizerConfig(0.1, decay="constant", weight_decay=0.5))
    zeros = {"dense": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}}
    updates, _ = tx.update(zeros, tx.init({"dense": params["dense"]}), {"dense": params["dense"]})
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.1 * 0.5, rtol=1e-6)
    assert not np.any(updates["dense"]["bias"])


@pytest.mark.parametrize("scanned", [False, True])
def test_no_bias_and_no_norm_of_a_policy_decays(scanned):
    config = ModelConfig(
        vocab_size=8, width=8, layers=2, heads=2, kv_heads=2, mlp_width=16,
        attention_bias=True, qk_norm=True, scan_layers=scanned,
    )  # fmt: skip
    params = jax.eval_shape(functools.partial(init_policy, config), jax.random.key(0))
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for path, decays in jax.tree.leaves_with_path(decay_mask(params)):
        found[decays].add(path[-1].key)
    assert found[False] == {"scale", "query_bias", "key_bias", "value_bias"}
    assert found[True] == {"embedding", "query", "key", "value", "out", "gate", "up", "down"}


def test_clipping_makes_the_length_of_large_gradients_irrelevant():
    params, gradient = {"kernel": jnp.zeros((2, 2))}, {"kernel": jnp.array([[3.0, -1.0], [2.0, 5.0]])}

    # Adam forgets the scale of a constant gradient, so a change of scale between two updates shows the clip.
    def after_two(clip_norm, factor):
        tx = make_optimizer(OptimizerConfig(0.1, decay="constant", clip_norm=clip_norm))
        state = tx.init(params)
        _, state = tx.update(gradient, state, params)
        return tx.update({"kernel": factor * gradient["kernel"]}, state, params)[0]["kernel"]

    np.testing.assert_allclose(after_two(1.0, 1.0), after_two(1.0, 50.0), rtol=1e-5)
    assert not np.allclose(after_two(0.0, 1.0), after_two(0.0, 50.0), rtol=1e-2)


def test_accumulated_batches_equal_a_big_one():
    params = {"kernel": jnp.ones((3, 2))}
    gradients = [{"kernel": jnp.asarray(np.random.default_rng(i).normal(size=(3, 2)), jnp.float32)} for i in range(4)]
    small = make_optimizer(OptimizerConfig(0.1, decay="constant", weight_decay=0.1, accumulate=4))
    big = make_optimizer(OptimizerConfig(0.1, decay="constant", weight_decay=0.1))
    state, moved = small.init(params), params
    for i, gradient in enumerate(gradients):
        updates, state = small.update(gradient, state, moved)
        assert np.any(updates["kernel"]) == (i == 3)
        moved = optax.apply_updates(moved, updates)
    mean = {"kernel": sum(gradient["kernel"] for gradient in gradients) / 4}
    updates, _ = big.update(mean, big.init(params), params)
    np.testing.assert_allclose(moved["kernel"], optax.apply_updates(params, updates)["kernel"], rtol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"decay": "cosin"}, {"learning_rate": 0.0}, {"accumulate": 0}, {"warmup_steps": 11, "total_steps": 10}]
)
def test_what_cannot_be_meant_is_refused_by_name(wrong):
    with pytest.raises(UserError, match=f"OptimizerConfig.{next(iter(wrong))}"):
        OptimizerConfig(**wrong)
