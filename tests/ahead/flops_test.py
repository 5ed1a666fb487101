"""Counted products against sums by hand."""

import jax
import jax.numpy as jnp
import pytest

from prm_jax.ahead.flops import matmul_flops
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy, policy_logits


def count(function, *shapes, steps=0):
    arguments = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return matmul_flops(jax.make_jaxpr(function)(*arguments), steps)


def test_a_product_and_its_gradient():
    assert count(lambda x, w: x @ w, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
    gradients = jax.grad(lambda x, w: jnp.sum((x @ w) ** 2), argnums=(0, 1))
    assert count(gradients, (3, 5), (5, 7)) == 3 * 2 * 3 * 5 * 7
    assert count(lambda x, w: jnp.einsum("bij,bjk->bik", x, w), (4, 3, 5), (4, 5, 7)) == 4 * 2 * 3 * 5 * 7


def test_loops_count_as_often_as_they_run():
    def scanned(x, w):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=6)[0]

    def until_large(x, w):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 9, lambda x: x @ w, x)

    assert count(scanned, (3, 5), (5, 5)) == 6 * 150
    assert count(until_large, (3, 5), (5, 5), steps=4) == 4 * 150
    assert count(until_large, (3, 5), (5, 5)) == 0


def test_of_branches_the_costliest_counts_and_what_is_made_again_counts_again():
    def chosen(x, w):
        return jax.lax.cond(jnp.sum(x) > 0, lambda: x @ w @ w, lambda: x @ w)

    def made_again(x, w):
        return jnp.sum(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x @ w) @ w))(x))

    assert count(chosen, (3, 5), (5, 5)) == 2 * 150
    # Two products forward, both again, and one backward for each.
    assert count(jax.grad(made_again), (3, 5), (5, 5)) == 6 * 150


@pytest.mark.parametrize("scan_layers", [True, False])
def test_a_decoder_costs_what_its_shape_says(scan_layers):
    model = ModelConfig(vocab_size=24, width=16, layers=3, heads=4, kv_heads=2, mlp_width=20, scan_layers=scan_layers)
    rows, length, head = 2, 6, 4
    params = jax.eval_shape(lambda: init_policy(model, jax.random.key(0)))
    ids = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    jaxpr = jax.make_jaxpr(lambda params, *ids: policy_logits(params, model, *ids))(params, ids, ids, ids)
    weights = 16 * head * (4 + 2 + 2) + 4 * head * 16 + 3 * 16 * 20
    attention = 2 * length * 4 * head
    by_hand = 2 * rows * length * (3 * (weights + attention) + 24 * 16)
    assert matmul_flops(jaxpr) == by_hand
