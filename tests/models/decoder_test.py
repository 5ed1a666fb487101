import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import policy
from prm_jax.models.cache import init_cache
from prm_jax.models.config import ModelConfig, RopeScaling
from prm_jax.models.decoder import Decoder
from prm_jax.models.norm import rms_norm
from prm_jax.models.policy import init_policy
from prm_jax.models.stacking import unroll
from prm_jax.models.swiglu import swiglu

TINY = ModelConfig(vocab_size=11, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")


def random_policy(config):
    """Random parameters made by numpy: compiling an initialiser for each configuration takes seconds."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(functools.partial(init_policy, config), jax.random.key(0))
    return jax.tree.map(lambda leaf: generator.normal(0, 0.25, leaf.shape).astype(leaf.dtype), shapes)


def _rows(batch=2, length=6, seed=0):
    tokens = np.random.default_rng(seed).integers(1, 11, (batch, length))
    return jnp.asarray(tokens), jnp.ones_like(tokens), jnp.tile(jnp.arange(length), (batch, 1))


def test_a_token_reads_nothing_later():
    params, (tokens, segments, positions) = random_policy(TINY), _rows()
    changed = tokens.at[:, 4].set(tokens[:, 4] % 10 + 1)
    before, after = (policy_logits(params, TINY, t, segments, positions) for t in (tokens, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


def test_packed_rows_give_the_logits_of_each_sequence_alone():
    params, (tokens, _, _) = random_policy(TINY), _rows(1, 7)
    packed = jnp.pad(tokens, ((0, 0), (0, 2)))
    segments, positions = jnp.array([[1, 1, 1, 2, 2, 2, 2, 0, 0]]), jnp.array([[0, 1, 2, 0, 1, 2, 3, 0, 0]])
    together = policy_logits(params, TINY, packed, segments, positions)
    assert np.isfinite(together).all()
    for start, stop in ((0, 3), (3, 7)):
        part = tokens[:, start:stop]
        alone = policy_logits(params, TINY, part, jnp.ones_like(part), jnp.arange(stop - start)[None])
        np.testing.assert_allclose(together[:, start:stop], alone, atol=1e-5)


def test_scanned_equals_unrolled():
    params, rows = random_policy(TINY), _rows()
    trunk, unrolled = unroll(params["trunk"], TINY)
    assert not unrolled.scan_layers
    np.testing.assert_allclose(
        policy_logits({"trunk": trunk}, unrolled, *rows), policy_logits(params, TINY, *rows), atol=1e-5
    )
    assert unroll(trunk, unrolled)[0] is trunk


def test_unrolled_initialisation_has_the_structure_of_unroll():
    unrolled = dataclasses.replace(TINY, scan_layers=False)
    direct = random_policy(unrolled)["trunk"]
    sliced, _ = unroll(random_policy(TINY)["trunk"], TINY)
    assert jax.tree.map(jnp.shape, direct) == jax.tree.map(jnp.shape, sliced)


@pytest.mark.parametrize("scan_layers", [True, False])
def test_remat_gives_the_same_gradients(scan_layers):
    plain = dataclasses.replace(TINY, scan_layers=scan_layers)
    params, rows = random_policy(plain), _rows()

    def gradient(config):
        return jax.grad(lambda p: jnp.sum(jnp.sin(policy_logits(p, config, *rows))))(params)

    expected, remat = gradient(plain), gradient(dataclasses.replace(plain, remat=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), expected, remat)


def test_untied_embeddings_have_a_table_of_their_own():
    untied = dataclasses.replace(TINY, tied_embeddings=False)
    params, rows = random_policy(untied), _rows()
    zeroed = {"trunk": {**params["trunk"], "output": jnp.zeros((11, 16))}}
    assert np.abs(policy_logits(params, untied, *rows)).max() > 0
    assert np.abs(policy_logits(zeroed, untied, *rows)).max() == 0


YARN = RopeScaling("yarn", factor=4.0, original_context=8)


@pytest.mark.parametrize(
    "shape",
    [
        {"kv_heads": 1},
        {"kv_heads": 4},
        {"attention_bias": True, "rope_scaling": YARN},
        {"qk_norm": True},
        {"scan_layers": True, "attention_bias": True},
    ],
)
def test_cached_decoding_equals_the_whole_row(shape):
    config = dataclasses.replace(TINY, **{"scan_layers": False} | shape)
    params, (tokens, segments, positions) = random_policy(config), _rows(2, 7)
    expected = policy_logits(params, config, tokens, segments, positions)
    # The second row has two tokens less of prompt: they are left padding.
    left = jnp.stack([tokens[0, :4], jnp.array([0, 0, *tokens[1, :2]])])
    shift = jnp.array([0, 2])
    decoder, variables = Decoder(config), {"params": params["trunk"]}

    def logits(hidden):
        return decoder.apply(variables, hidden, method="logits")

    cache = init_cache(config, 2, 7)
    padded_positions = jnp.maximum(jnp.arange(4) - shift[:, None], 0)
    hidden, cache = decoder.apply(variables, left, padded_positions, cache, 0, method="decode")
    np.testing.assert_allclose(logits(hidden)[0], expected[0, :4], atol=1e-5)
    np.testing.assert_allclose(logits(hidden)[1, 2:], expected[1, :2], atol=1e-5)
    for slot in range(4, 7):
        at = slot - shift
        token = jnp.take_along_axis(tokens, at[:, None], axis=1)
        hidden, cache = decoder.apply(variables, token, at[:, None], cache, jnp.int32(slot), method="decode")
        for row in range(2):
            np.testing.assert_allclose(logits(hidden)[row, 0], expected[row, at[row]], atol=1e-5)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters_and_logits():
    config = dataclasses.replace(TINY, dtype="bfloat16")
    params, rows = random_policy(config), _rows()
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert Decoder(config).apply({"params": params["trunk"]}, *rows).dtype == jnp.bfloat16
    logits = policy_logits(params, config, *rows)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, policy_logits(params, TINY, *rows), atol=0.15)


def _gradients_agree(ours, formula, *arrays):
    def gradients(function):
        return jax.grad(lambda *given: jnp.sum(jnp.sin(function(*given))), argnums=tuple(range(len(arrays))))(*arrays)

    for found, expected in zip(gradients(ours), gradients(formula), strict=True):
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_feed_forward_layer_has_the_gradients_of_its_formula():
    rng = np.random.default_rng(0)
    arrays = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 5, 4), (4, 6), (4, 6), (6, 4)))
    _gradients_agree(swiglu, lambda x, gate, up, down: (jax.nn.silu(x @ gate) * (x @ up)) @ down, *arrays)


def test_the_norm_has_the_gradients_of_its_formula():
    rng = np.random.default_rng(0)
    x, scale = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32), jnp.asarray(rng.normal(size=5), jnp.float32)
    _gradients_agree(
        lambda x, scale: rms_norm(x, scale, 0.1),
        lambda x, scale: x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 0.1) * scale, x, scale
    )  # fmt: skip
