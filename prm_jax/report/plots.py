"""The report's charts as strings of SVG: a lines with bands, bars, stacked bars, spans of time, reliability.

`sections.py` calls these. Each takes plain numbers and gives one `<svg>` element, to stand inside the page, whose
style sheet colours it. Every mark has a tooltip with its numbers, without a script.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from markupsafe import Markup

from prm_jax.evaluation.bootstrap import Interval
from prm_jax.evaluation.ranking import Calibration
from prm_jax.report.axes import Frame, Scale, element, group, round_ticks, svg, tick_label

SERIES_COLOURS = 8
_WIDTH, _HEIGHT = 460.0, 280.0
_BOX = (52.0, 34.0, _WIDTH - 14, _HEIGHT - 46)
_MOST_POINTS = 250


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
      name: what the legend calls it.
      slot: which colour; beyond the number of colours they come again with dashes.
      x: ascending.
      y: one per x; NaN leaves a gap.
      band: low and high per x, drawn as a band; empty for none.
    """

    name: str
    slot: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    band: tuple[tuple[float, float], ...] = ()


def series_class(slot: int) -> str:
    """The CSS classes of a series."""
    return f"s{slot % SERIES_COLOURS} d{slot // SERIES_COLOURS % 3}"


def line_chart(lines: Sequence[Line], *, title: str, x_title: str, y_title: str, percent: bool = False) -> Markup:
    """Lines over one x axis; "" where there is no finite point."""
    lines = [_thinned(line) for line in lines]
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    if not points:
        return Markup("")
    edges = [edge for line in lines for pair in line.band for edge in pair if math.isfinite(edge)]
    ys = [y for _, y in points] + edges
    y_ticks = round_ticks(min(0.0, *ys), max(ys))
    xs = [x for x, _ in points]
    frame = Frame.of((min(xs), max(max(xs), min(xs) + 1)), y_ticks, _BOX)
    x_ticks = [x for x in round_ticks(frame.x.low, frame.x.high) if frame.x.low <= x <= frame.x.high]
    x_ticks = [x for x in x_ticks if x == int(x)] if len(x_ticks) > 2 else [frame.x.low, frame.x.high]
    parts = [frame.grid(x_ticks, y_ticks, (False, percent)), frame.axis_titles(x_title, y_title)]
    parts += [_band(line, frame) for line in lines if line.band]
    parts += [_polyline(line, frame) for line in lines]
    return svg(_WIDTH, _HEIGHT, title, group(parts))


def _thinned(line: Line) -> Line:
    """At most `_MOST_POINTS` points; a screen shows no more and the file stays small."""
    stride = math.ceil(len(line.x) / _MOST_POINTS) or 1
    return dataclasses.replace(line, x=line.x[::stride], y=line.y[::stride], band=line.band[::stride])


def _band(line: Line, frame: Frame) -> Markup:
    sides = zip(line.x, line.band, strict=True)
    inside = [(x, low, high) for x, (low, high) in sides if math.isfinite(low) and math.isfinite(high)]
    there = [(x, high) for x, _, high in inside]
    back = [(x, low) for x, low, _ in reversed(inside)]
    return element("polygon", points=_points(there + back, frame), class_=f"band {series_class(line.slot)}")


def _polyline(line: Line, frame: Frame) -> Markup:
    """The stretches between gaps as lines, and a mark for a point that stands alone."""
    parts = []
    pairs = list(zip(line.x, line.y, strict=True))
    for finite, stretch in itertools.groupby(pairs, key=lambda pair: math.isfinite(pair[1])):
        run = list(stretch)
        if finite and len(run) > 1:
            parts.append(element("polyline", points=_points(run, frame), class_=f"line {series_class(line.slot)}"))
        elif finite:
            parts.append(element("circle", cx=frame.x(run[0][0]), cy=frame.y(run[0][1]), r=3.5, class_=_dot(line.slot)))
    ends = [(x, y) for x, y in pairs if math.isfinite(y)]
    tip = element("title", f"{line.name}: {ends[-1][1]:.4g} at {ends[-1][0]:g}" if ends else line.name)
    return element("g", tip + group(parts))


def _points(pairs: Sequence[tuple[float, float]], frame: Frame) -> str:
    return " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in pairs)


def _dot(slot: int) -> str:
    return f"dot {series_class(slot)}"


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar with its interval; an interval whose ends are NaN draws no whisker, a NaN value no bar."""

    name: str
    slot: int
    interval: Interval


_ROW, _LABELS = 30.0, 150.0


def bar_chart(
    bars: Sequence[Bar], *, title: str, x_title: str, percent: bool = False, reference: float | None = None
) -> Markup:
    """Horizontal bars with whiskers, one below the other; `reference` is marked by a dashed line; "" without bars."""
    values = [v for bar in bars for v in dataclasses.astuple(bar.interval) if math.isfinite(v)]
    if not values:
        return Markup("")
    ticks = round_ticks(min(0.0, *values), max(values + ([reference] if reference is not None else [])))
    x = Scale(ticks[0], ticks[-1], _LABELS, _WIDTH - 48)
    bottom = 10 + _ROW * len(bars)
    parts = [_vertical_grid(x, ticks, bottom, x_title, percent)]
    for i, bar in enumerate(bars):
        parts.append(_bar(bar, x, 10 + _ROW * i, percent))
    if reference is not None:
        parts.append(element("line", x1=x(reference), x2=x(reference), y1=4, y2=bottom, class_="reference"))
    return svg(_WIDTH, bottom + 44, title, group(parts))


def _bar(bar: Bar, x: Scale, top: float, percent: bool) -> Markup:
    middle, value = top + _ROW / 2, bar.interval.value
    name = element("text", _short(bar.name), x=_LABELS - 8, y=middle + 4, text_anchor="end")
    if not math.isfinite(value):
        return name
    said = f"{100 * value:.1f}" if percent else f"{value:.3f}"
    left, right = sorted((x(0.0), x(value)))
    fill = f"bar {series_class(bar.slot)}"
    parts = [name, element("rect", x=left, y=top + 6, width=right - left, height=_ROW - 12, rx=2, class_=fill)]
    low, high = bar.interval.low, bar.interval.high
    tip = f"{bar.name}: {said}"
    whiskers_end = right
    if math.isfinite(low) and math.isfinite(high):
        ends = (x(low), x(high))
        whiskers_end = max(right, ends[1])
        parts.append(element("line", x1=ends[0], x2=ends[1], y1=middle, y2=middle, class_="whisker"))
        parts += [element("line", x1=e, x2=e, y1=middle - 4, y2=middle + 4, class_="whisker") for e in ends]
        tip += f" ({100 * low:.1f} to {100 * high:.1f})" if percent else f" ({low:.3f} to {high:.3f})"
    parts.append(element("text", said, x=whiskers_end + 6, y=middle + 4, class_="value"))
    return element("g", element("title", tip) + group(parts))


def stacked_bars(rows: Sequence[tuple[str, Sequence[tuple[str, int, float]]]], *, title: str, x_title: str) -> Markup:
    """Horizontal bars of parts; a row is a name and its (part, colour slot, amount) triples; "" without amounts."""
    totals = [sum(amount for _, _, amount in parts) for _, parts in rows]
    if not any(totals):
        return Markup("")
    ticks = round_ticks(0.0, max(totals))
    x = Scale(ticks[0], ticks[-1], _LABELS, _WIDTH - 48)
    bottom = 10 + _ROW * len(rows)
    drawn = [_vertical_grid(x, ticks, bottom, x_title, False)]
    for i, ((name, parts), total) in enumerate(zip(rows, totals, strict=True)):
        top, done = 10 + _ROW * i, 0.0
        drawn.append(element("text", _short(name), x=_LABELS - 8, y=top + _ROW / 2 + 4, text_anchor="end"))
        for part, slot, amount in parts:
            tip = element("title", f"{name}, {part}: {amount:.1f} ({100 * amount / (total or 1):.0f} %)")
            left, width = x(done), x(done + amount) - x(done)
            fill = f"bar {series_class(slot)}"
            drawn.append(element("rect", tip, x=left, y=top + 5, width=width, height=_ROW - 10, class_=fill))
            done += amount
        drawn.append(element("text", f"{total:,.0f}", x=x(total) + 6, y=top + _ROW / 2 + 4, class_="value"))
    return svg(_WIDTH, bottom + 44, title, group(drawn))


def span_chart(lanes: Sequence[tuple[str, int, Sequence[tuple[float, float]]]], *, title: str, x_title: str) -> Markup:
    """What was done when, a lane for each kind of work: name, colour slot and (start, end) pairs; "" without any."""
    ends = [end for _, _, spans in lanes for _, end in spans]
    if not ends:
        return Markup("")
    ticks = round_ticks(min(0.0, *(start for _, _, spans in lanes for start, _ in spans)), max(ends))
    x = Scale(ticks[0], ticks[-1], _LABELS, _WIDTH - 48)
    bottom = 10 + _ROW * len(lanes)
    drawn = [_vertical_grid(x, ticks, bottom, x_title, False)]
    for i, (name, slot, spans) in enumerate(lanes):
        top = 10 + _ROW * i
        drawn.append(element("text", _short(name), x=_LABELS - 8, y=top + _ROW / 2 + 4, text_anchor="end"))
        for start, end in spans:
            tip = element("title", f"{name}: {start:.2f} to {end:.2f}")
            # A hair narrower, so that neighbours can be told apart.
            width, fill = max(x(end) - x(start) - 1, 0.5), f"bar {series_class(slot)}"
            drawn.append(element("rect", tip, x=x(start), y=top + 7, width=width, height=_ROW - 14, class_=fill))
    return svg(_WIDTH, bottom + 44, title, group(drawn))


def _vertical_grid(x: Scale, ticks: Sequence[float], bottom: float, x_title: str, percent: bool) -> Markup:
    parts = []
    for tick in ticks:
        parts.append(element("line", x1=x(tick), x2=x(tick), y1=6, y2=bottom, class_="axis" if tick == 0 else "grid"))
        label = tick_label(tick, ticks[1] - ticks[0], percent)
        parts.append(element("text", label, x=x(tick), y=bottom + 17, text_anchor="middle"))
    middle = (x.start + x.end) / 2
    parts.append(element("text", x_title, x=middle, y=bottom + 36, text_anchor="middle", class_="title"))
    return group(parts)


def reliability_diagram(diagrams: Sequence[tuple[str, int, Calibration]], *, title: str) -> Markup:
    """Share of right steps against mean score, (name, colour slot, calibration) each; the diagonal is perfect.

    The area of a mark is the bin's share of the steps. "" where no diagram has a bin.
    """
    if not any(diagram.count for _, _, diagram in diagrams):
        return Markup("")
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    frame = Frame.of(ticks, ticks, _BOX)
    parts = [frame.grid(ticks, ticks, (False, True)), frame.axis_titles("score of the step", "steps that are right")]
    ends = (frame.x(0), frame.x(1), frame.y(0), frame.y(1))
    parts.append(element("line", x1=ends[0], x2=ends[1], y1=ends[2], y2=ends[3], class_="reference"))
    for name, slot, diagram in diagrams:
        parts.append(_polyline(Line(name, slot, diagram.score, diagram.right), frame))
        total = sum(diagram.count)
        for score, right, count in zip(diagram.score, diagram.right, diagram.count, strict=True):
            tip = element("title", f"{name}: score {score:.2f}, right {100 * right:.0f} %, {count:,} steps")
            radius = 2.5 + 11 * math.sqrt(count / total)
            parts.append(element("circle", tip, cx=frame.x(score), cy=frame.y(right), r=radius, class_=_dot(slot)))
    return svg(_WIDTH, _HEIGHT, title, group(parts))


def _short(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"
