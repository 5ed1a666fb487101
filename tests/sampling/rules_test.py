import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.sampling.rules import SamplingConfig

LOGITS = jnp.log(jnp.array([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.15, 0.05]]))


def _keys(n):
    return jax.vmap(jax.random.key)(jnp.arange(n, dtype=jnp.uint32))


def _kept(config):
    return np.isfinite(config.truncate(LOGITS)).astype(int).tolist()


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"max_new_tokens": 0}])
def test_refuses_impossible_rules(wrong):
    with pytest.raises(UserError):
        SamplingConfig(**wrong)


def test_top_k_keeps_the_k_most_probable():
    assert _kept(SamplingConfig(top_k=2)) == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert _kept(SamplingConfig(top_k=9)) == [[1] * 4] * 2


def test_top_p_keeps_the_fewest_that_reach_the_mass():
    assert _kept(SamplingConfig(top_p=0.65)) == [[0, 1, 0, 1], [1, 0, 0, 0]]
    assert _kept(SamplingConfig(top_p=0.75)) == [[0, 1, 1, 1], [1, 0, 1, 0]]
    assert _kept(SamplingConfig(top_p=1e-6)) == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_top_p_is_taken_of_what_top_k_leaves():
    # Of 0.4 and 0.3, renormalised, the first alone is 0.57.
    assert _kept(SamplingConfig(top_k=2, top_p=0.56))[0] == [0, 1, 0, 0]


def test_greedy_takes_the_most_probable_whatever_the_key():
    tokens, logprobs = SamplingConfig(greedy=True, temperature=0.5).choose(LOGITS, _keys(2), jnp.arange(2))
    assert tokens.tolist() == [1, 0]
    np.testing.assert_allclose(np.exp(logprobs), [0.16 / 0.30, 0.49 / 0.525], atol=1e-5)


def test_frequencies_follow_the_tempered_distribution():
    rows, temperature = 20_000, 0.5
    logits = jnp.tile(LOGITS[:1], (rows, 1))
    tokens, logprobs = SamplingConfig(temperature=temperature).choose(logits, _keys(rows), jnp.full(rows, 3))
    expected = np.array([0.01, 0.16, 0.04, 0.09]) / 0.30
    # Three standard errors of a share near one half are 0.011.
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / rows, expected, atol=0.011)
    np.testing.assert_allclose(np.exp(logprobs), expected[tokens], atol=1e-5)


def test_truncated_tokens_are_never_chosen_and_logprobs_ignore_truncation():
    logits = jnp.tile(LOGITS[:1], (500, 1))
    tokens, logprobs = SamplingConfig(top_k=2).choose(logits, _keys(500), jnp.arange(500))
    assert set(tokens.tolist()) == {1, 3}
    np.testing.assert_allclose(np.exp(logprobs), np.array([0.1, 0.4, 0.2, 0.3])[tokens], atol=1e-5)


def test_stop_sequences_are_texts_with_something_in_them():
    assert SamplingConfig(stop=["\nprint", "\n#"]).stop == ("\nprint", "\n#")
    assert SamplingConfig(stop="\nprint").stop == ("\nprint",)
    with pytest.raises(UserError, match="empty text"):
        SamplingConfig(stop=("\n#", ""))
