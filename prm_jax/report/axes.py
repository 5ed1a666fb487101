"""The ground that the plots are drawn on: round ticks, a linear scale, SVG elements with escaped text.

`plots.py` builds every chart on this. Colours are CSS classes of the page (`s0` … `s7` for series, `grid`, `axis`),
so that one drawing serves light and dark.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape


def element(tag: str, content: str | Markup = "", **attributes: str | float) -> Markup:
    """An SVG element. Content that is no `Markup` is escaped; `class_` stands for `class`, `_` in names for `-`."""
    written = "".join(f' {name.strip("_").replace("_", "-")}="{_attribute(v)}"' for name, v in attributes.items())
    return Markup(f"<{tag}{written}>{escape(content)}</{tag}>")


def group(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return Markup("").join(parts)


def svg(width: float, height: float, title: str, content: Markup) -> Markup:
    """A whole drawing with a title for screen readers; it takes the width of what holds it."""
    inner = element("title", title) + content
    return element("svg", inner, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=title)


def _attribute(value: str | float) -> Markup:
    # Three significant decimals are a thousandth of a pixel, and keep the file small.
    return escape(value) if isinstance(value, str) else Markup(f"{value:.2f}".rstrip("0").rstrip("."))


def round_ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """About `wanted` ticks at multiples of 1, 2 or 5 times a power of ten; the first and last enclose [low, high]."""
    # A span that rounding could have made is none: there the ticks would be noise, and could fall together.
    if high - low <= max(1e-12, 1e-9 * max(abs(low), abs(high))):
        high = low + (abs(low) if abs(low) > 1e-9 else 1.0)
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(i * step for i in range(first, last + 1))


def tick_label(value: float, step: float, percent: bool = False) -> str:
    """A tick's value with as many digits as its neighbours need."""
    if percent:
        value, step = 100 * value, 100 * step
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    text = f"{value:,.{min(digits, 6)}f}"
    return ("0" if float(text.replace(",", "")) == 0 else text.replace("-", "−")) + ("%" if percent else "")


@dataclasses.dataclass(frozen=True)
class Scale:
    """A linear map from data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclasses.dataclass(frozen=True)
class Frame:
    """The rectangle between the axes of a chart with two linear scales, y upwards."""

    x: Scale
    y: Scale

    @classmethod
    def of(cls, x_ticks: Sequence[float], y_ticks: Sequence[float], box: tuple[float, float, float, float]) -> Frame:
        """A frame from the first to the last tick within `box` = (left, top, right, bottom)."""
        left, top, right, bottom = box
        return cls(Scale(x_ticks[0], x_ticks[-1], left, right), Scale(y_ticks[0], y_ticks[-1], bottom, top))

    def grid(self, x_ticks: Sequence[float], y_ticks: Sequence[float], percent: tuple[bool, bool]) -> Markup:
        """Grid lines with their tick labels; `percent` says so for x and y."""
        parts = []
        for value in y_ticks:
            y = self.y(value)
            parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=y, y2=y, class_="grid"))
            label = tick_label(value, y_ticks[1] - y_ticks[0], percent[1])
            parts.append(element("text", label, x=self.x.start - 7, y=y + 4, text_anchor="end"))
        for value in x_ticks:
            label = tick_label(value, x_ticks[1] - x_ticks[0], percent[0])
            parts.append(element("text", label, x=self.x(value), y=self.y.start + 18, text_anchor="middle"))
        bottom = self.y.start
        parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=bottom, y2=bottom, class_="axis"))
        return group(parts)

    def axis_titles(self, x_title: str, y_title: str) -> Markup:
        """The x title below the middle of the axis, the y title above the top of its own, where it can be read."""
        middle = (self.x.start + self.x.end) / 2
        below = element("text", x_title, x=middle, y=self.y.start + 36, text_anchor="middle", class_="title")
        return below + element("text", y_title, x=4, y=self.y.end - 12, class_="title")
