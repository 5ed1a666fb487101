"""Spans of work: what they add up to, by hand."""

import pytest

from prm_jax.ppo.timeline import HIDDEN, WAITING, Span, Timeline, from_row, overlap, seconds_by_phase, to_row


def test_verification_is_waited_for_or_hidden():
    """The second chunk is sampled from 2 to 5 while the first is verified until 3; then the second is waited for."""
    spans = (
        Span("rollout", 0, 0.0, 2.0),
        Span("verification", 0, 2.0, 3.0),
        Span("rollout", 1, 2.0, 5.0),
        Span("verification", 1, 5.0, 6.5),
        Span(WAITING, 0, 5.25, 6.5),
        Span("scoring", 0, 6.5, 7.0),
        Span("update", 0, 7.0, 10.0),
    )
    assert seconds_by_phase(spans) == {
        "rollout": 5.0, "verification": 1.25, "scoring": 0.5, "update": 3.0, "refresh": 0, HIDDEN: 1.25,
    }  # fmt: skip
    assert from_row(to_row(spans)) == spans


def test_what_spans_have_in_common():
    assert overlap(Span("a", 0, 0.0, 2.0), Span("b", 0, 1.5, 3.0)) == 0.5
    assert overlap(Span("a", 0, 0.0, 1.0), Span("b", 0, 2.0, 3.0)) == 0.0


def test_each_span_is_taken_once_and_relative_to_the_update():
    timeline = Timeline()
    with timeline.span("rollout", 3):
        timeline.begin()
    (span,) = timeline.take()
    assert (span.phase, span.chunk) == ("rollout", 3) and span.start <= 0 <= span.end
    with pytest.raises(KeyError), timeline.span("scoring"):
        raise KeyError
    assert timeline.take() == ()
