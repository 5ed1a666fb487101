"""Ticks, labels, scales and escaping."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prm_jax.report.axes import Scale, element, round_ticks, tick_label


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
@example(1e6, 1e-6)
@example(0.0, 5e-324)
def test_ticks_are_few_evenly_spaced_and_enclose_the_data(low, span):
    ticks = round_ticks(low, low + span)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 9
    assert ticks[0] <= low + 1e-6 * step and ticks[-1] >= low + span - 1e-6 * step
    assert all(b - a == pytest.approx(step, rel=1e-3) for a, b in zip(ticks, ticks[1:], strict=False))


def test_ticks_of_a_single_value_still_span_something():
    assert len(round_ticks(0.0, 0.0)) >= 2
    assert round_ticks(0, 1) == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1.0))


def test_labels_have_the_digits_that_their_neighbours_need():
    assert [tick_label(v, 0.05) for v in (0.0, 0.05, -0.1)] == ["0", "0.05", "−0.10"]
    assert tick_label(0.25, 0.05, percent=True) == "25%"
    assert tick_label(12000, 2000) == "12,000"


def test_a_scale_may_run_downwards():
    assert [Scale(0, 10, 200, 100)(v) for v in (0, 5, 10)] == [200, 150, 100]


def test_text_and_attributes_are_escaped_and_numbers_short():
    drawn = element("text", '<a> & "b"', aria_label='"<x>', x=1 / 3, class_="c")
    parsed = ET.fromstring(drawn)
    assert parsed.text == '<a> & "b"'
    assert parsed.attrib == {"aria-label": '"<x>', "x": "0.33", "class": "c"}
