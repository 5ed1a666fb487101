import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ahead import memory
from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.models import policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.sampling import engine
from prm_jax.sampling.engine import sample_many
from prm_jax.sampling.rules import SamplingConfig, gumbel_noise
from prm_jax.sampling.sample import sample

MODEL = ModelConfig(vocab_size=11, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24)
EOS = 2
RULE = SamplingConfig(max_new_tokens=12)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")


@pytest.fixture(scope="module")
def params():
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(functools.partial(init_policy, MODEL), jax.random.key(0))
    return jax.tree.map(lambda leaf: generator.normal(0, 0.25, leaf.shape).astype(leaf.dtype), shapes)


def _prompts(rows, samples=1, width=20, seed=0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, width + 1, rows)
    tokens = generator.integers(3, 11, (rows, width))
    tokens[np.arange(width) >= lengths[:, None]] = 0
    batch = PromptBatch(tokens.astype(np.int32), lengths.astype(np.int32), np.arange(rows, dtype=np.int32))
    return PromptBatch(*(np.repeat(field, samples, axis=0) for field in batch))


def _seeds(rows):
    return np.arange(100, 100 + rows, dtype=np.uint32)


def _many(params, prompts, slots, rule=RULE, **more):
    seeds = _seeds(len(prompts.lengths))
    return sample_many(params, prompts, seeds, model=MODEL, config=rule, eos_id=EOS, batch_size=slots, **more)


def _one_batch(params, prompts, rule=RULE):
    seeds = _seeds(len(prompts.lengths))
    return jax.device_get(sample(params, prompts, seeds, model=MODEL, config=rule, eos_id=EOS))


def _assert_chosen(params, prompts, found, rule):
    """Every token has the largest perturbed logit of those that the rule allows, up to rounding."""
    rows, longest = found.tokens.shape
    step = np.arange(longest)
    whole = np.zeros((rows, prompts.tokens.shape[1] + longest), np.int32)
    whole[:, : prompts.tokens.shape[1]] = prompts.tokens
    # A row's token of a step stands where its prompt ends, so many tokens further.
    place = prompts.lengths[:, None] + step
    np.put_along_axis(whole, place, found.tokens, axis=1)
    at = np.arange(whole.shape[1])
    inside = at < (prompts.lengths + found.lengths)[:, None]
    logits = policy_logits(params, MODEL, whole, inside.astype(np.int32), np.where(inside, at, 0))
    logits = np.take_along_axis(np.asarray(logits), place[..., None] - 1, axis=1) / rule.temperature
    keys = jax.vmap(jax.random.key)(np.repeat(_seeds(rows), longest))
    noise = gumbel_noise(keys, jnp.asarray(place.ravel()), MODEL.vocab_size).reshape(logits.shape)
    if rule.top_k:
        (least, next_one), near = np.moveaxis(np.sort(logits)[..., [-rule.top_k, -rule.top_k - 1]], -1, 0), 1e-4
        allowed, surely = logits >= least[..., None] - near, logits > next_one[..., None] + near
    else:
        allowed = surely = np.ones(logits.shape, bool)
    chosen = found.tokens[..., None]
    best = np.where(surely, logits + noise, -np.inf).max(axis=-1)
    short = best - np.take_along_axis(logits + noise, chosen, axis=-1)[..., 0]
    sampled = step < found.lengths[:, None]
    assert sampled.sum() > rows and (short[sampled] < 1e-4).all()
    assert np.take_along_axis(allowed, chosen, axis=-1)[..., 0][sampled].all()


def _assert_equal(params, prompts, ours, theirs):
    """Same completions; only a near tie of the two largest perturbed logits may fall otherwise, and what follows it."""
    assert (theirs.finished.sum() > 0) and not theirs.finished.all(), "the test needs rows of both kinds"
    _assert_chosen(params, prompts, ours, RULE)
    _assert_chosen(params, prompts, theirs, RULE)
    same = (ours.tokens == theirs.tokens).all(axis=1)
    assert same.mean() > 0.9
    np.testing.assert_array_equal(ours.lengths[same], theirs.lengths[same])
    np.testing.assert_array_equal(ours.finished[same], theirs.finished[same])
    np.testing.assert_allclose(ours.logprobs[same], theirs.logprobs[same], atol=1e-5)


@pytest.mark.parametrize(("rows", "samples", "slots"), [(40, 1, 8), (13, 5, 24), (3, 7, 64)])
def test_equals_sample_in_the_order_of_the_prompts(params, rows, samples, slots):
    prompts = _prompts(rows, samples)
    ours = _many(params, prompts, slots)
    assert isinstance(ours.tokens, np.ndarray) and ours.tokens.shape == (rows * samples, RULE.max_new_tokens)
    _assert_equal(params, prompts, ours, _one_batch(params, prompts))


def test_a_ring_that_turns_many_times_changes_nothing(params):
    # Four slots and 60 requests: every slot is filled some fifteen times.
    prompts = _prompts(60, seed=1)
    _assert_equal(params, prompts, _many(params, prompts, 4), _one_batch(params, prompts))


def test_fewer_slots_at_the_end_change_nothing(params, monkeypatch):
    prompts = _prompts(48, seed=2)
    sizes, kept = [], engine.kept
    monkeypatch.setattr(engine, "_FEWEST_SLOTS", 2)
    monkeypatch.setattr(engine, "kept", lambda slots, rows: sizes.append(len(rows)) or kept(slots, rows))
    _assert_equal(params, prompts, _many(params, prompts, 16), _one_batch(params, prompts))
    assert sizes == [8, 4]


def test_truncation_and_temperature_are_the_rules(params):
    rule = SamplingConfig(temperature=0.7, top_k=5, max_new_tokens=12)
    prompts = _prompts(30)
    _assert_chosen(params, prompts, _many(params, prompts, 8, rule), rule)
    _assert_chosen(params, prompts, _one_batch(params, prompts, rule), rule)


def test_a_prompts_samples_share_its_reading(params, monkeypatch):
    read, refill = [], engine.refill

    def counted(trunk, slots, new, **more):
        read.append(new.prompt.max() + 1)
        return refill(trunk, slots, new, **more)

    monkeypatch.setattr(engine, "refill", counted)
    _many(params, _prompts(4, 16), 64)
    # Sixteen samples of a prompt go into the slots eight at a time.
    assert sum(read) == 8


def test_progress_tells_each_completion_once(params):
    seen = []
    _many(params, _prompts(30), 8, progress=seen.append)
    assert sum(seen) == 30 and min(seen) > 0 and len(seen) > 3


def test_an_empty_list_and_no_slots_are_refused(params):
    with pytest.raises(UserError, match="0 prompts"):
        _many(params, _prompts(0), 3)
    with pytest.raises(UserError, match="0 slots"):
        _many(params, _prompts(2), 0)


def test_prompts_are_padded_to_few_widths():
    assert {engine._bucket(length) for length in range(1, 130)} == {16, 24, 32, 48, 64, 96, 128, 192}
    assert all(engine._bucket(length) >= length for length in range(1, 1000))


# Id 2 ends a row; the stop begins within one token and may span three.
BYTES = [b"", b"", b"", b"\n", b"a\n", b"d", b"de", b"ef", b"f ", b" ", b"x"]


def test_a_stop_sequence_ends_a_completion_and_no_other(params):
    rule = SamplingConfig(max_new_tokens=40, stop=("\nde", "ef\n"))
    prompts = _prompts(60, seed=3)
    ours = _many(params, prompts, 8, rule, token_bytes=BYTES.__getitem__)
    stopped = []
    for row, length in enumerate(ours.lengths):
        whole = [b"".join(BYTES[i] for i in ours.tokens[row, :count]) for count in range(length + 1)]
        holds = [any(stop.encode() in text for stop in rule.stop) for text in whole]
        assert not any(holds[:-1])
        assert ours.finished[row] == (ours.tokens[row, length - 1] == EOS)
        assert holds[-1] or ours.finished[row] or length == 40
        assert not ours.tokens[row, length:].any() and not ours.logprobs[row, length:].any()
        stopped.append(holds[-1])
    assert 10 < sum(stopped) < 50, "the test needs rows of both kinds"
    _assert_chosen(params, prompts, ours, rule)


def test_stop_sequences_need_the_bytes_of_tokens(params):
    with pytest.raises(ValueError, match="token_bytes"):
        _many(params, _prompts(2), 2, SamplingConfig(stop=("\n",)))


def test_what_decoding_needs_is_told_and_refused_where_it_is_not_there(params, monkeypatch):
    told, prompts = [], _prompts(6)
    _many(params, prompts, 4, say=told.append)
    assert len(told) == 1 and told[0].startswith("decoding 4 programs: ") and "GiB" in told[0]
    monkeypatch.setattr(memory, "capacity", lambda: 2.0**10)
    with pytest.raises(UserError, match=r"decoding 4 programs: .* needs .*: set SamplingConfig\.max_new_tokens"):
        _many(params, prompts, 4, say=told.append)
    assert len(told) == 1
