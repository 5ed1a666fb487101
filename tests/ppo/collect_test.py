"""Rollouts in chunks: the same programs and verdicts, verified while the next chunk is sampled."""

import dataclasses
import threading

import jax
import numpy as np
import pytest

from prm_jax.ppo import collect
from prm_jax.ppo.timeline import HIDDEN, Timeline, overlap, seconds_by_phase

PATIENCE = 60.0
"""Seconds until a test that waits for what never comes fails."""


@pytest.fixture
def collector(request, toy):
    """Makes a collector of so many chunks, and closes it."""

    def make(chunks, verify=toy.starts_right):
        config = dataclasses.replace(toy.CONFIG, rollout_chunks=chunks)
        made = collect.Collector(
            config, toy.MODEL, toy.PROMPTS, toy.PROBLEMS, toy.ToyTokenizer(), verify, False, Timeline()
        )
        request.addfinalizer(made.close)
        return made

    return make


@pytest.fixture
def params(toy):
    return toy.models()[0]


def test_chunks_change_neither_programs_nor_verdicts(collector, params):
    whole, chunked = (own.finish(own.begin(params, 3)) for own in (collector(1), collector(4)))
    assert len({*whole.table.texts}) > 4
    assert chunked.table.texts == whole.table.texts and chunked.verified == whole.verified
    np.testing.assert_array_equal(chunked.rollout.tokens, whole.rollout.tokens)
    np.testing.assert_array_equal(chunked.rollout.problem, whole.rollout.problem)
    np.testing.assert_array_equal(chunked.finished, whole.finished)
    np.testing.assert_allclose(chunked.rollout.logprobs, whole.rollout.logprobs, atol=1e-5)


def test_a_chunk_is_verified_while_the_next_is_sampled(collector, params, toy, monkeypatch):
    """Verification of the first chunk ends only once the second is being sampled."""
    sampled = []
    second = threading.Event()

    def noting(*args, **kwargs):
        sampled.append(threading.current_thread())
        if len(sampled) == 2:
            second.set()
        return sample(*args, **kwargs)

    def slow(problems, texts, exact):
        assert second.wait(PATIENCE)
        return toy.starts_right(problems, texts, exact)

    sample = collect.sample
    monkeypatch.setattr(collect, "sample", noting)
    own = collector(2, slow)
    own.finish(own.begin(params, 0))
    assert sampled == [threading.main_thread()] * 2
    spans = own.timeline.take()
    (first,) = (span for span in spans if (span.phase, span.chunk) == ("verification", 0))
    (next_sampling,) = (span for span in spans if (span.phase, span.chunk) == ("rollout", 1))
    assert overlap(first, next_sampling) > 0 and seconds_by_phase(spans)[HIDDEN] > 0


def test_whole_rollouts_are_verified_behind_their_sampling(collector, params):
    own = collector(1)
    own.finish(own.begin(params, 0))
    spans = {span.phase: span for span in own.timeline.take()}
    assert overlap(spans["verification"], spans["rollout"]) == 0


def test_an_error_in_any_chunk_surfaces(collector, params, toy):
    def fails(problems, texts, exact):
        if problems[0].id == toy.PROBLEMS[-1].id:
            raise RuntimeError("the sandbox is gone")
        return toy.starts_right(problems, texts, exact)

    own = collector(4, fails)
    pending = own.begin(params, 0)
    with pytest.raises(RuntimeError, match="the sandbox is gone"):
        own.finish(pending)


def test_what_was_sampled_is_verified_again_from_its_completions(collector, params):
    own = collector(2)
    pending = own.begin(params, 3)
    first, again = own.finish(pending), own.finish(own.again(pending.completions, 3))
    assert again.verified == first.verified and again.table.texts == first.table.texts
    assert all(
        np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (first.rollout, again.rollout)), strict=True)
    )
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(pending.completions)]
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(own.empty())] == shapes
