"""The train step: what it advances, what it gives away, what its keys depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import create
from prm_jax.training.step import make_train_step


def test_a_step_is_value_and_grad_and_one_update(toy):
    tx = optax.sgd(0.5)
    params, batch = toy.init(), toy.batch_at(0)
    key = jax.random.fold_in(jax.random.key(3), 0)
    (loss, _), gradient = jax.value_and_grad(toy.loss_fn, has_aux=True)(params, batch, key)
    state, metrics = make_train_step(toy.loss_fn, tx, seed=3)(create(toy.init(), tx), batch)
    assert state.step == 1 and state.step.dtype == jnp.int32
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.params, expected)


def test_the_state_passed_in_is_given_away(toy):
    state, train_step = toy.make()
    train_step(state, toy.batch_at(0))
    assert state.params["embed"]["embedding"].is_deleted()


def test_keys_depend_on_seed_and_step_only(toy):
    tx = optax.sgd(0.0)

    def noise(seed, steps):
        def loss_fn(params, batch, key):
            return jnp.sum(params) * 0, {"noise": jax.random.uniform(key)}

        train_step, state = make_train_step(loss_fn, tx, seed=seed), create(jnp.ones(1), tx)
        found = []
        for _ in range(steps):
            state, metrics = train_step(state, None)
            found.append(float(metrics["noise"]))
        return found

    assert noise(0, 3) == noise(0, 3)
    assert len({*noise(0, 3), *noise(1, 3)}) == 6


def test_accumulated_steps_equal_one_on_the_big_batch(toy):
    """All rows predict equally many tokens, so that the mean of the means is the mean."""

    def loss_fn(params, batch, key):
        return toy.sft_from_logits(toy.logits(params, batch.tokens), batch)

    batch = toy.batch_at(0)
    state, train_step = toy.make(OptimizerConfig(1e-2, decay="constant", accumulate=toy.BATCH), loss=loss_fn)
    for row in range(toy.BATCH):
        state, _ = train_step(state, jax.tree.map(lambda field, row=row: field[row : row + 1], batch))
    big, train_big = toy.make(OptimizerConfig(1e-2, decay="constant"), loss=loss_fn)
    big, _ = train_big(big, batch)
    # Adam's first update is near the sign of the gradient, so gradients near 0 amplify rounding: hence atol.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state.params, big.params)


def test_eight_devices_step_as_one_does(toy):
    def loss_fn(params, batch, key):
        return toy.sft_from_logits(toy.logits(params, batch.tokens), batch)

    tx = make_optimizer(OptimizerConfig(1e-2))
    batch = jax.tree.map(lambda *rows: np.concatenate(rows), *(toy.batch_at(step) for step in range(4)))
    one, one_metrics = make_train_step(loss_fn, tx)(create(toy.init(), tx), batch)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.P())
    state = jax.device_put(create(toy.init(), tx), everywhere)
    spread = jax.device_put(batch, jax.sharding.NamedSharding(mesh, jax.P("data")))
    shardings = jax.tree.map(lambda _: everywhere, state)
    many, many_metrics = make_train_step(loss_fn, tx, state_shardings=shardings)(state, spread)
    np.testing.assert_allclose(one_metrics["loss"], many_metrics["loss"], rtol=1e-6)
    assert many.params["embed"]["embedding"].sharding == everywhere
    np.testing.assert_allclose(one_metrics["grad_norm"], many_metrics["grad_norm"], rtol=1e-5)
