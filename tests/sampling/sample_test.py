import dataclasses
import functools

import jax
import numpy as np
import pytest

from prm_jax.batches import PromptBatch
from prm_jax.models import policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import sample

MODEL = ModelConfig(vocab_size=11, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")
token_logprobs = jax.jit(policy.token_logprobs, static_argnames="config")


def random_policy(config):
    """Random parameters made by numpy: compiling an initialiser for each configuration takes seconds."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(functools.partial(init_policy, config), jax.random.key(0))
    return jax.tree.map(lambda leaf: generator.normal(0, 0.25, leaf.shape).astype(leaf.dtype), shapes)


EOS = 2
RULE = SamplingConfig(temperature=0.8, max_new_tokens=12)


@pytest.fixture(scope="module")
def params():
    return random_policy(MODEL)


def _prompts(rows, width=7, seed=0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, width + 1, rows)
    tokens = generator.integers(3, 11, (rows, width))
    tokens[np.arange(width) >= lengths[:, None]] = 0
    return PromptBatch(tokens.astype(np.int32), lengths.astype(np.int32), np.zeros(rows, np.int32))


def _sample(params, prompts, seeds, rule=RULE, model=MODEL):
    return jax.device_get(sample(params, prompts, np.asarray(seeds, np.uint32), model=model, config=rule, eos_id=EOS))


def _joined(prompts, completions):
    """Whole rows, right-padded, and where each completion starts."""
    rows = [
        [*prompts.tokens[i, : prompts.lengths[i]], *completions.tokens[i, : completions.lengths[i]]]
        for i in range(len(prompts.lengths))
    ]
    width = max(map(len, rows))
    tokens = np.array([[*row, *[0] * (width - len(row))] for row in rows], np.int32)
    inside = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    return tokens, inside.astype(np.int32), np.where(inside, np.arange(width), 0)


def test_logprobs_equal_the_trainers(params):
    prompts = _prompts(9)
    completions = _sample(params, prompts, np.arange(9))
    logprobs, _ = token_logprobs(params, MODEL, *_joined(prompts, completions), temperature=RULE.temperature)
    for row, (start, length) in enumerate(zip(prompts.lengths, completions.lengths, strict=True)):
        np.testing.assert_allclose(completions.logprobs[row, :length], logprobs[row, start : start + length], atol=1e-4)


def test_lengths_and_finished(params):
    completions = _sample(params, _prompts(40), np.arange(40))
    assert 0 < completions.finished.sum() < 40, "the test needs rows of both kinds"
    for row, (tokens, logprobs, length, finished) in enumerate(
        zip(completions.tokens, completions.logprobs, completions.lengths, completions.finished, strict=True)
    ):
        ends = np.flatnonzero(tokens == EOS)
        assert finished == (len(ends) > 0), row
        assert length == (ends[0] + 1 if finished else RULE.max_new_tokens)
        assert (tokens[length:] == 0).all() and (logprobs[length:] == 0).all()
        assert (logprobs[:length] < 0).all()


def test_greedy_follows_the_largest_logit(params):
    prompts = _prompts(4)
    completions = _sample(params, prompts, np.zeros(4), dataclasses.replace(RULE, greedy=True))
    logits = policy_logits(params, MODEL, *_joined(prompts, completions))
    for row, (start, length) in enumerate(zip(prompts.lengths, completions.lengths, strict=True)):
        expected = np.argmax(logits[row, start - 1 : start + length - 1], axis=-1)
        np.testing.assert_array_equal(completions.tokens[row, :length], expected)


def test_a_row_does_not_depend_on_neighbours_order_or_padding(params):
    prompts, seeds = _prompts(6), np.arange(100, 106)
    together = _sample(params, prompts, seeds)
    order = np.array([3, 0, 5])
    apart = PromptBatch(*(field[order] for field in prompts))
    apart = apart._replace(tokens=np.pad(apart.tokens, ((0, 0), (0, 4))))
    alone = _sample(params, apart, seeds[order])
    np.testing.assert_array_equal(alone.tokens, together.tokens[order])
    np.testing.assert_allclose(alone.logprobs, together.logprobs[order], atol=1e-5)


def test_seeds_make_different_completions_of_one_prompt(params):
    prompts = PromptBatch(*(np.repeat(field[:1], 8, axis=0) for field in _prompts(1)))
    same, different = _sample(params, prompts, np.zeros(8)), _sample(params, prompts, np.arange(8))
    assert len({row.tobytes() for row in same.tokens}) == 1
    assert len({row.tobytes() for row in different.tokens}) > 4


@pytest.mark.parametrize("scanned", [False, True])
def test_samples_that_share_a_prompt_are_those_of_prompts_apart(params, scanned):
    model = dataclasses.replace(MODEL, scan_decoding=scanned)
    prompts, seeds = _prompts(3), np.arange(12)
    apart = PromptBatch(*(np.repeat(field, 4, axis=0) for field in prompts))
    shared, alone = (_sample(params, asked, seeds, model=model) for asked in (prompts, apart))
    np.testing.assert_array_equal(shared.tokens, alone.tokens)
    np.testing.assert_array_equal(shared.lengths, alone.lengths)
    np.testing.assert_allclose(shared.logprobs, alone.logprobs, atol=1e-5)


def test_prompts_with_unequal_numbers_of_seeds_are_refused(params):
    with pytest.raises(ValueError, match="7 seeds are no multiple of 3 prompts"):
        _sample(params, _prompts(3), np.arange(7))


def test_shrinking_batches_change_nothing(params, monkeypatch):
    prompts, seeds = _prompts(24, seed=1), np.arange(24)
    whole = _sample(params, prompts, seeds)
    monkeypatch.setattr("prm_jax.sampling.sample._FEWEST_ROWS", 2)
    # A rule that compares unequal, so that the function is traced again.
    shrinking = _sample(params, prompts, seeds, dataclasses.replace(RULE, top_k=MODEL.vocab_size))
    assert (whole.finished.sum() > 12) and not whole.finished.all(), "the test needs more than half to finish early"
    np.testing.assert_array_equal(shrinking.tokens, whole.tokens)
    np.testing.assert_array_equal(shrinking.lengths, whole.lengths)
    np.testing.assert_allclose(shrinking.logprobs, whole.logprobs, atol=1e-5)


def test_one_new_token_needs_no_loop(params):
    completions = _sample(params, _prompts(3), np.arange(3), SamplingConfig(max_new_tokens=1))
    assert completions.tokens.shape == (3, 1) and completions.lengths.tolist() == [1, 1, 1]


def test_scanned_decoding_samples_the_same(params, monkeypatch):
    """In batches that shrink, whose cache has the rows as its second axis."""
    prompts, seeds = _prompts(24, seed=1), np.arange(24)
    unrolled = _sample(params, prompts, seeds)
    monkeypatch.setattr("prm_jax.sampling.sample._FEWEST_ROWS", 2)
    scanned = _sample(params, prompts, seeds, model=dataclasses.replace(MODEL, scan_decoding=True))
    np.testing.assert_array_equal(scanned.tokens, unrolled.tokens)
    np.testing.assert_array_equal(scanned.lengths, unrolled.lengths)
    np.testing.assert_allclose(scanned.logprobs, unrolled.logprobs, atol=1e-5)


def test_unrolled_parameters_sample_the_same(params):
    from prm_jax.models.stacking import unroll

    trunk, model = unroll(params["trunk"], MODEL)
    prompts = _prompts(3)
    np.testing.assert_array_equal(
        _sample({"trunk": trunk}, prompts, np.arange(3), model=model).tokens,
        _sample(params, prompts, np.arange(3)).tokens,
    )
