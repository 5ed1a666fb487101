"""Every chart is valid XML, shows what it was given at the place where it belongs, and stays small."""

import math
import xml.etree.ElementTree as ET

import pytest

from prm_jax.evaluation.bootstrap import Interval
from prm_jax.evaluation.ranking import Calibration
from prm_jax.report.plots import Bar, Line, bar_chart, line_chart, reliability_diagram, series_class, stacked_bars

NAN = math.nan
NAMES = {"title": "<t>", "x_title": "x & y"}


def with_class(drawing, name):
    return [node for node in ET.fromstring(drawing).iter() if name in node.get("class", "").split()]


def coordinates(node):
    return [tuple(map(float, pair.split(","))) for pair in node.get("points").split()]


def test_lines_break_at_gaps_and_higher_values_stand_higher():
    drawing = line_chart([Line("<a>", 1, (1, 2, 3, 4, 5), (0.1, 0.3, NAN, 0.2, NAN))], y_title="y", **NAMES)
    (line,) = with_class(drawing, "line")
    (x1, y1), (x2, y2) = coordinates(line)
    assert x1 < x2 and y1 > y2
    assert len(with_class(drawing, "dot")) == 1
    assert "NaN" not in drawing and "nan" not in drawing
    assert "<a>: 0.2 at 4" in [node.text for node in ET.fromstring(drawing).iter("title")]


def test_bands_enclose_their_line():
    drawing = line_chart([Line("a", 0, (0, 1), (0.5, 0.6), ((0.4, 0.6), (0.5, 0.7)))], y_title="y", **NAMES)
    band, line = coordinates(with_class(drawing, "band")[0]), coordinates(with_class(drawing, "line")[0])
    for x, y in line:
        edges = [edge for at, edge in band if at == x]
        assert min(edges) < y < max(edges)


def test_a_single_point_and_negative_values_can_be_drawn():
    assert with_class(line_chart([Line("a", 0, (3,), (0.0,))], y_title="y", **NAMES), "dot")
    ET.fromstring(line_chart([Line("a", 0, (0, 9), (-5.0, -1.0))], y_title="y", **NAMES))


def test_long_runs_are_thinned():
    n = 100_000
    assert len(line_chart([Line("a", 0, tuple(range(n)), (1.0,) * n)], y_title="y", **NAMES)) < 20_000


def test_bars_are_as_long_as_their_values_and_whiskers_as_their_intervals():
    bars = [
        Bar("a", 0, Interval(0.2, 0.1, 0.3)),
        Bar("b", 1, Interval(0.4, NAN, NAN)),
        Bar("c", 2, Interval(NAN, NAN, NAN)),
    ]
    drawing = bar_chart(bars, percent=True, reference=0.5, **NAMES)
    short, long = [float(node.get("width")) for node in with_class(drawing, "bar")]
    assert long == pytest.approx(2 * short, abs=0.05)
    whisker = with_class(drawing, "whisker")[0]
    assert float(whisker.get("x2")) - float(whisker.get("x1")) == pytest.approx(short, abs=0.05)
    assert len(with_class(drawing, "whisker")) == 3
    assert len(with_class(drawing, "reference")) == 1


def test_stacked_parts_follow_each_other():
    drawing = stacked_bars([("s<", [("a", 0, 1.0), ("b", 1, 3.0)]), ("idle", [])], **NAMES)
    a, b = with_class(drawing, "bar")
    assert float(b.get("x")) == pytest.approx(float(a.get("x")) + float(a.get("width")), abs=0.05)
    assert float(b.get("width")) == pytest.approx(3 * float(a.get("width")), abs=0.1)


def test_a_perfect_diagram_lies_on_the_diagonal():
    perfect = Calibration((0.1, 0.5, 0.9), (0.1, 0.5, 0.9), (10, 10, 20), 0.0)
    drawing = reliability_diagram([("prm", 0, perfect)], title="t")
    (diagonal,) = with_class(drawing, "reference")
    x1, x2, y1, y2 = (float(diagonal.get(name)) for name in ("x1", "x2", "y1", "y2"))
    dots = with_class(drawing, "dot")
    assert len(dots) == 3
    for dot in dots:
        share = (float(dot.get("cx")) - x1) / (x2 - x1)
        assert float(dot.get("cy")) == pytest.approx(y1 + share * (y2 - y1), abs=0.02)
    assert float(dots[2].get("r")) > float(dots[0].get("r"))


def test_nothing_to_draw_draws_nothing():
    assert line_chart([Line("a", 0, (1,), (NAN,))], y_title="y", **NAMES) == ""
    assert line_chart([], y_title="y", **NAMES) == ""
    assert bar_chart([], **NAMES) == ""
    assert stacked_bars([], **NAMES) == ""
    assert reliability_diagram([("prm", 0, Calibration((), (), (), NAN))], title="t") == ""


def test_series_beyond_the_palette_differ_from_those_in_it():
    assert len({series_class(slot) for slot in range(16)}) == 16
