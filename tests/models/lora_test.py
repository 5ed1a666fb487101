"""Adapters: they start as nothing, they alone are trained, and added up they are the network that they were beside."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.models.cache import init_cache
from prm_jax.models.config import PROJECTIONS, LoraConfig, ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.lora import frozen, merged, trainable, whole
from prm_jax.models.policy import (
    boxed_policy,
    boxed_trainable_policy,
    init_policy,
    init_scorer,
    policy_logits,
    scores,
    with_adapters,
)
from prm_jax.models.stacking import unroll
from prm_jax.parallel.shardings import init_shapes
from prm_jax.sampling.engine import sample_many
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import sample

PLAIN = ModelConfig(
    vocab_size=19, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24, attention_bias=True, tied_embeddings=False
)
TINY = dataclasses.replace(PLAIN, lora=LoraConfig(rank=3, alpha=6.0))
KEY = jax.random.key(0)
ROWS = tuple(
    jnp.asarray(rows, jnp.int32)
    for rows in (
        [[1, 4, 9, 2, 7, 8], [3, 5, 6, 0, 0, 0]],
        [[1, 1, 1, 2, 2, 2], [1, 1, 1, 0, 0, 0]],
        [[0, 1, 2] * 2] * 2,
    )
)


logits, score = jax.jit(policy_logits, static_argnums=1), jax.jit(scores, static_argnums=1)


def moved(params):
    """The same network with adapters that do something."""
    keys = iter(jax.random.split(jax.random.key(5), 64))
    adapters = jax.tree.map(lambda x: 0.3 * jax.random.normal(next(keys), x.shape), params["adapters"])
    return {**params, "adapters": adapters}


@functools.cache
def policy(config=TINY):
    return init_policy(config, KEY)


def equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("changes", [{}, {"scan_layers": False}, {"remat": True}])
def test_new_adapters_change_no_bit(changes):
    config = dataclasses.replace(TINY, **changes)
    plain = config.without_lora()
    assert plain.lora.rank == 0 and "adapters" not in init_policy(plain, KEY)
    equal(policy(config)["trunk"], init_policy(plain, KEY)["trunk"])
    equal(logits(policy(config), config, *ROWS), logits(policy(plain), plain, *ROWS))
    # A network without adapters, under a configuration that has some: the reference, if SFT trained all parameters.
    equal(logits(policy(plain), config, *ROWS), logits(policy(plain), plain, *ROWS))


@pytest.mark.parametrize("scanned", [True, False])
def test_every_projection_is_w_plus_scaled_a_b(scanned):
    config = dataclasses.replace(TINY, scan_layers=scanned)
    params = moved(policy(config))
    copy = jax.tree.map(lambda leaf: leaf, params)
    by_hand, adapters = (unroll(copy[part], config)[0] for part in ("trunk", "adapters"))
    for block in ("blocks_0", "blocks_1"):
        found = {name: (part, a) for part, kernels in adapters[block].items() for name, a in kernels.items()}
        assert set(found) == set(PROJECTIONS)
        for name, (part, adapter) in found.items():
            kernel, low = np.asarray(by_hand[block][part][name]), np.asarray(adapter["A"]).reshape(-1, 3)
            product = (low @ np.asarray(adapter["B"]).reshape(3, -1)).reshape(kernel.shape)
            by_hand[block][part] = {**by_hand[block][part], name: kernel + 2.0 * product}
    expected = logits({"trunk": by_hand}, dataclasses.replace(PLAIN, scan_layers=False), *ROWS)
    np.testing.assert_allclose(logits(params, config, *ROWS), expected, atol=1e-4)
    assert np.abs(expected - logits(policy(config), config, *ROWS)).max() > 0.1


def test_only_the_named_projections_have_adapters():
    config = dataclasses.replace(TINY, lora=LoraConfig(rank=3, projections=("up", "query")))
    shapes = jax.eval_shape(lambda: init_policy(config, KEY))["adapters"]["blocks"]
    assert {part: set(kernels) for part, kernels in shapes.items()} == {"attention": {"query"}, "mlp": {"up"}}


def test_merged_is_the_network_without_adapters():
    params = moved(policy())
    added, config = merged(params, TINY)
    assert config == PLAIN and set(added) == {"trunk"}
    np.testing.assert_allclose(logits(added, config, *ROWS), logits(params, TINY, *ROWS), atol=1e-5)
    assert added["trunk"]["embedding"] is params["trunk"]["embedding"]
    scorer = moved(init_scorer(TINY, KEY, params))
    added, config = merged(scorer, TINY)
    np.testing.assert_allclose(score(added, config, *ROWS), score(scorer, TINY, *ROWS), atol=1e-5)


def test_decoding_with_a_cache_reads_them_and_sampling_adds_them_up():
    params = moved(policy())
    prompts = PromptBatch(np.array([[1, 4, 9], [3, 5, 0]], np.int32), np.array([3, 2], np.int32), np.arange(2))
    seeds = np.array([1, 2], np.uint32)
    rule = SamplingConfig(max_new_tokens=6)
    added, config = merged(params, TINY)
    for draw in (sample, functools.partial(sample_many, batch_size=2)):
        own = draw(params, prompts, seeds, model=TINY, config=rule, eos_id=2)
        equal(own.tokens, draw(added, prompts, seeds, model=config, config=rule, eos_id=2).tokens)
        bare = draw(policy(PLAIN), prompts, seeds, model=PLAIN, config=rule, eos_id=2)
        assert not np.array_equal(own.logprobs, bare.logprobs)
    trunk, unrolled = unroll(params["trunk"], TINY)
    adapters, _ = unroll(params["adapters"], TINY)
    row = ROWS[0][:1], jnp.ones((1, 6), jnp.int32), jnp.arange(6)[None]

    @jax.jit
    def decoded(trunk, adapters):
        variables, cache = {"params": trunk, "adapters": adapters}, init_cache(unrolled, 1, 6)
        hidden, _ = Decoder(unrolled).apply(variables, row[0], row[2], cache, 0, method="decode")
        return Decoder(unrolled).apply(variables, hidden, method="logits")

    np.testing.assert_allclose(decoded(trunk, adapters), logits(params, TINY, *row), atol=1e-4)


def test_parts_are_the_arrays_themselves():
    params = policy()
    still, own = frozen(params, TINY), trainable(params, TINY)
    assert set(still) == {"trunk"} and set(own) == {"adapters"}
    joined = whole(own, still)
    assert all(a is b for a, b in zip(jax.tree.leaves(joined), jax.tree.leaves({**still, **own}), strict=True))
    assert (frozen(params, PLAIN), trainable(params, PLAIN) is params) == ({}, True)


def test_policy_reference_and_scorer_share_one_trunk():
    reference = {"trunk": policy()["trunk"]}
    start = with_adapters(reference, TINY, jax.random.key(1))
    scorer = init_scorer(TINY, jax.random.key(2), start)
    pointers = [
        [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(each["trunk"])] for each in (reference, start, scorer)
    ]
    assert pointers[0] == pointers[1] == pointers[2]
    # The scorer starts at the policy's adapters, in buffers of its own.
    equal(scorer["adapters"], start["adapters"])
    assert not {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(scorer["adapters"])} & {
        leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(start["adapters"])
    }


def test_gradients_reach_b_first_and_the_backward_pass_keeps_no_kernels():
    params = policy()

    def loss(own, still):
        return jnp.mean(policy_logits(whole(own, still), TINY, *ROWS) ** 2)

    grads = jax.jit(jax.grad(loss))(trainable(params, TINY), frozen(params, TINY))
    for path, leaf in jax.tree.leaves_with_path(grads):
        assert np.any(leaf) == (path[-1].key == "B")  # A has none while B is zero.
    # What a scan over layers keeps has a first axis of the layers; a kernel among it would be a second trunk.
    jaxpr = jax.make_jaxpr(lambda own, still: jax.vjp(lambda own: loss(own, still), own)[1])(
        trainable(params, TINY), frozen(params, TINY)
    )
    kept = [variable for variable in jaxpr.jaxpr.outvars if variable not in jaxpr.jaxpr.invars]
    kernels = {params["trunk"]["blocks"][part][name].shape for part, name in (("mlp", "gate"), ("mlp", "down"))}
    assert kept and not kernels & {variable.aval.shape for variable in kept}


def test_adapters_are_split_as_their_kernels_are():
    mesh = AbstractMesh((1, 4, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    shapes = init_shapes(functools.partial(boxed_trainable_policy, TINY), mesh)
    attention, mlp = (shapes["adapters"]["blocks"][part] for part in ("attention", "mlp"))
    layers, rank = 2, 3
    expected = {
        "query": ((layers, 16 // 4, rank), (layers, rank, 4 // 2, 4)),
        "out": ((layers, 4 // 2, 4, rank), (layers, rank, 16 // 4)),
        "gate": ((layers, 16 // 4, rank), (layers, rank, 24 // 2)),
        "down": ((layers, 24 // 2, rank), (layers, rank, 16 // 4)),
    }
    for name, parts in expected.items():
        adapter = (attention | mlp)[name]
        assert tuple(adapter[f].sharding.shard_shape(adapter[f].shape) for f in "AB") == parts
    whole_shapes = init_shapes(functools.partial(boxed_policy, TINY), mesh)
    assert jax.tree.structure(whole_shapes["adapters"]) == jax.tree.structure(shapes["adapters"])


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"names 'q_proj'; choose among query, key, value, out, gate, up, down\.$"):
        LoraConfig(rank=2, projections=("query", "q_proj"))
    with pytest.raises(UserError, match="names nothing"):
        LoraConfig(rank=2, projections=())
    with pytest.raises(UserError, match="rank is -1"):
        LoraConfig(rank=-1)
