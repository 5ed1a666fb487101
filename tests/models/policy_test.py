import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.policy import init_policy, init_scorer

TINY = ModelConfig(vocab_size=11, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")
token_logprobs = jax.jit(policy.token_logprobs, static_argnames="config")
scores = jax.jit(policy.scores, static_argnames="config")


def random_policy(config):
    """Random parameters made by numpy: compiling an initialiser for each configuration takes seconds."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(functools.partial(init_policy, config), jax.random.key(0))
    return jax.tree.map(lambda leaf: generator.normal(0, 0.25, leaf.shape).astype(leaf.dtype), shapes)


TOKENS = jnp.array([[3, 5, 7, 2, 9, 4, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8]])
SEGMENTS = jnp.array([[1, 1, 1, 2, 2, 2, 0, 0], [1] * 8])
POSITIONS = jnp.array([[0, 1, 2, 0, 1, 2, 0, 0], list(range(8))])
ROWS = (TOKENS, SEGMENTS, POSITIONS)


def test_token_logprobs_are_those_of_the_shifted_log_softmax():
    params = random_policy(TINY)
    table = jax.nn.log_softmax(policy_logits(params, TINY, *ROWS) / 0.7, axis=-1)
    logprobs, entropy = token_logprobs(params, TINY, *ROWS, temperature=0.7)
    for row in range(2):
        for t in range(8):
            if t == 0 or SEGMENTS[row, t] == 0 or SEGMENTS[row, t] != SEGMENTS[row, t - 1]:
                assert logprobs[row, t] == 0 and entropy[row, t] == 0
                continue
            distribution = table[row, t - 1]
            np.testing.assert_allclose(logprobs[row, t], distribution[TOKENS[row, t]], atol=1e-5)
            np.testing.assert_allclose(entropy[row, t], -np.sum(np.exp(distribution) * distribution), atol=1e-5)


@pytest.mark.parametrize("shape", [{}, {"tied_embeddings": False, "remat": True}])
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_logits_in_chunks_change_neither_what_is_said_nor_its_gradient(shape, chunk):
    whole = dataclasses.replace(TINY, **shape)
    chunked, params = dataclasses.replace(whole, logit_chunk=chunk), random_policy(whole)
    weights = jnp.linspace(-1, 1, 16).reshape(2, 8)

    def said(params, config):
        logprobs, entropy = policy.token_logprobs(params, config, *ROWS, temperature=0.7)
        return jnp.sum(weights * (logprobs + entropy**2)), (logprobs, entropy)

    compared = [jax.jit(jax.value_and_grad(said, has_aux=True), static_argnums=1)(params, c) for c in (whole, chunked)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *compared)


def test_gradients_are_finite_where_a_row_is_all_padding():
    params = random_policy(TINY)
    segments = SEGMENTS.at[0].set(0)
    gradient = jax.grad(lambda p: sum(jnp.sum(x) for x in token_logprobs(p, TINY, TOKENS, segments, POSITIONS)))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_parameters_are_plain_dicts_of_arrays():
    params = init_scorer(TINY, jax.random.key(0))
    assert type(params) is dict and type(params["trunk"]["blocks"]) is dict
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))


def test_scorer_starts_from_the_policy():
    config = dataclasses.replace(TINY, tied_embeddings=False)
    policy = random_policy(config)
    scorer = init_scorer(config, jax.random.key(1), trunk=policy["trunk"])
    assert jax.tree.structure(scorer) == jax.tree.structure(
        jax.eval_shape(functools.partial(init_scorer, config), jax.random.key(1))
    )
    hidden = Decoder(config).apply({"params": policy["trunk"]}, *ROWS)
    expected = hidden @ scorer["head"]["kernel"] + scorer["head"]["bias"]
    z = scores(scorer, config, *ROWS)
    assert z.dtype == jnp.float32 and np.abs(z).max() > 0
    np.testing.assert_allclose(z, expected, atol=1e-5)


@pytest.mark.parametrize("reads_surprise", [False, True])
def test_a_zero_head_scores_nothing(reads_surprise):
    config = dataclasses.replace(TINY, reads_surprise=reads_surprise)
    scorer = init_scorer(config, jax.random.key(0), zero_head=True)
    assert np.abs(scores(scorer, config, *ROWS)).max() == 0


def test_a_scorer_that_reads_its_surprise_sees_a_token_through_its_probability():
    """With a trunk that embeds all tokens alike, only their probabilities tell two programs apart."""
    config = dataclasses.replace(TINY, reads_surprise=True, tied_embeddings=False)
    policy = random_policy(config)
    policy["trunk"]["embedding"] = jnp.ones_like(policy["trunk"]["embedding"])
    other = TOKENS.at[:, -1].set((TOKENS[:, -1] + 1) % config.vocab_size)
    scorer = init_scorer(config, jax.random.key(1), trunk=policy["trunk"])
    z, z_other = (scores(scorer, config, tokens, SEGMENTS, POSITIONS) for tokens in (TOKENS, other))
    np.testing.assert_array_equal(z[:, :-1], z_other[:, :-1])
    plain = dataclasses.replace(config, reads_surprise=False)
    blind = init_scorer(plain, jax.random.key(1), trunk=policy["trunk"])
    assert abs(z[1, -1] - z_other[1, -1]) > 0 and SEGMENTS[0, -1] == 0
    np.testing.assert_array_equal(
        scores(blind, plain, TOKENS, SEGMENTS, POSITIONS), scores(blind, plain, other, SEGMENTS, POSITIONS)
    )
