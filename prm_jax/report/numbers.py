"""Numbers as the report and the terminal write them; a dash where there is nothing to say."""

from __future__ import annotations

import math

from prm_jax.evaluation.bootstrap import Interval

DASH = "–"


def number(value: float, digits: int = 2) -> str:
    """A plain number with a fixed number of digits."""
    return DASH if math.isnan(value) else f"{value:,.{digits}f}"


def percent(value: float) -> str:
    """A share in percent with one digit."""
    return DASH if math.isnan(value) else f"{100 * value:.1f}"


def percent_range(interval: Interval) -> str:
    """The two ends of an interval of shares, in percent."""
    return DASH if math.isnan(interval.value) else f"{percent(interval.low)} to {percent(interval.high)}"


def points(value: float) -> str:
    """A difference of shares in percentage points, signed."""
    return DASH if math.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def points_range(interval: Interval) -> str:
    """The two ends of an interval of differences, in percentage points."""
    return DASH if math.isnan(interval.value) else f"{points(interval.low)} to {points(interval.high)}"


def seconds(value: float) -> str:
    """A duration, in the unit that a person would use."""
    if math.isnan(value):
        return DASH
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
