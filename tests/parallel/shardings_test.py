import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from prm_jax.errors import UserError
from prm_jax.models import policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import boxed_policy, init_policy
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.parallel.shardings import (
    batch_sharding,
    constrain,
    param_shardings,
    partition_spec,
    shard_batch,
    sharded_init,
    state_shardings,
)

MODEL = ModelConfig(vocab_size=12, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")


def random_policy(config):
    """Random parameters made by numpy: compiling an initialiser for each configuration takes seconds."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(functools.partial(init_policy, config), jax.random.key(0))
    return jax.tree.map(lambda leaf: generator.normal(0, 0.25, leaf.shape).astype(leaf.dtype), shapes)


INIT = functools.partial(boxed_policy, MODEL)


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


def _rows():
    tokens = np.random.default_rng(0).integers(1, 12, (8, 6)).astype(np.int32)
    return tokens, np.ones_like(tokens), np.tile(np.arange(6, dtype=np.int32), (8, 1))


def test_a_mesh_axis_serves_once_and_only_where_it_divides(mesh):
    assert partition_spec(("batch", "length", "embed"), (8, 5, 16), mesh) == PartitionSpec(("data", "fsdp"), None, None)
    assert partition_spec(("embed", "mlp"), (16, 24), mesh) == PartitionSpec(("fsdp",), ("tensor",))
    assert partition_spec(("embed", "kv_heads"), (16, 1), mesh) == PartitionSpec(("fsdp",), None)
    assert partition_spec(("batch",), (2,), mesh) == PartitionSpec(("data",))


def test_constrain_gives_back_its_input_without_a_mesh():
    x = jnp.ones((8, 4))
    assert constrain(x, "batch", "embed") is x


def test_constrain_splits_an_activation_under_jit(mesh):
    @jax.jit
    def double(x):
        # No output sharding is asked for: what comes out is what `constrain` made.
        return constrain(2 * x, "batch", "length", "mlp")

    with jax.set_mesh(mesh):
        y = double(np.ones((8, 3, 4), np.float32))
    assert y.sharding.shard_shape(y.shape) == (2, 3, 2)


def test_the_models_logits_are_split_over_batch_and_vocabulary(mesh):
    with jax.set_mesh(mesh):
        params = _sharded_policy(mesh)
        logits = policy_logits(params, MODEL, *shard_batch(_rows(), mesh))
    assert logits.sharding.shard_shape(logits.shape) == (2, 6, 6)


def test_parameters_are_born_sharded_and_plain(mesh):
    params = sharded_init(INIT, jax.random.key(0), mesh)
    query = params["trunk"]["blocks"]["attention"]["query"]
    assert query.shape == (2, 16, 4, 4)
    assert query.sharding.shard_shape(query.shape) == (2, 8, 2, 4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, init_policy(MODEL, jax.random.key(0))
    )


def test_optimiser_moments_are_split_like_their_parameters(mesh):
    shardings = param_shardings(jax.eval_shape(INIT, jax.random.key(0)), mesh)
    abstract = jax.eval_shape(lambda key: optax.adam(1e-3).init(nn.unbox(INIT(key))), jax.random.key(0))
    of_state = state_shardings(abstract, shardings, mesh)
    assert of_state[0].mu == shardings and of_state[0].nu == shardings
    assert of_state[0].count.spec == PartitionSpec()


def test_shard_batch_splits_rows_and_refuses_a_remainder(mesh):
    tokens, *_ = shard_batch(_rows(), mesh)
    assert tokens.sharding.is_equivalent_to(batch_sharding(mesh), 2)
    assert tokens.sharding.shard_shape(tokens.shape) == (2, 6)
    with pytest.raises(UserError, match="6 rows"):
        shard_batch(np.zeros((6, 3), np.int32), mesh)


def _sharded_policy(mesh):
    return jax.device_put(random_policy(MODEL), param_shardings(jax.eval_shape(INIT, jax.random.key(0)), mesh))
