"""Where an update's time goes: spans of work, on the main thread and beside it.

`collect.py` and `learner.py` record them, `loop.py` writes those of each update to `timeline.jsonl`, and the report
draws them. Times are seconds since the update began.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

FILE_NAME = "timeline.jsonl"
PHASES = ("rollout", "verification", "scoring", "update", "refresh")
WAITING = "waiting"
"""What the main thread does while there is nothing to do but to verify."""
HIDDEN = "verification_hidden"


@dataclasses.dataclass(frozen=True)
class Span:
    """One stretch of work: what it was, which chunk of a rollout it was on, and when."""

    phase: str
    chunk: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


class Timeline:
    """Records spans; any thread may."""

    def __init__(self) -> None:
        """The first update begins now."""
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._began = time.monotonic()

    def begin(self) -> None:
        """An update begins."""
        self._began = time.monotonic()

    @contextlib.contextmanager
    def span(self, phase: str, chunk: int = 0) -> Iterator[None]:
        """Records what is done inside, once it has been done."""
        start = time.monotonic()
        yield
        with self._lock:
            self._spans.append(Span(phase, chunk, start, time.monotonic()))

    def take(self) -> tuple[Span, ...]:
        """The spans that have ended since the last call; one that began in an earlier update starts below 0."""
        with self._lock:
            spans, self._spans = self._spans, []
        began = self._began
        return tuple(dataclasses.replace(each, start=each.start - began, end=each.end - began) for each in spans)


def seconds_by_phase(spans: Sequence[Span]) -> dict[str, float]:
    """Seconds of each of `PHASES` on the main thread, which add up to wall time, and those of `HIDDEN`.

    Of verification the main thread has what it waits for; what ran while it did something else is hidden.
    """
    on_main = {phase: sum(span.seconds for span in spans if span.phase == phase) for phase in (*PHASES, WAITING)}
    waiting = [span for span in spans if span.phase == WAITING]
    waited_for = sum(overlap(span, other) for span in spans if span.phase == "verification" for other in waiting)
    hidden = on_main["verification"] - waited_for
    return {phase: on_main[phase] for phase in PHASES} | {"verification": on_main[WAITING], HIDDEN: hidden}


def overlap(span: Span, other: Span) -> float:
    """Seconds that two spans have in common."""
    return max(0.0, min(span.end, other.end) - max(span.start, other.start))


def to_row(spans: Sequence[Span]) -> dict[str, Any]:
    """The spans as plain JSON data, to the millisecond."""
    return {"spans": [[span.phase, span.chunk, round(span.start, 3), round(span.end, 3)] for span in spans]}


def from_row(row: dict[str, Any]) -> tuple[Span, ...]:
    """The spans that `to_row` wrote."""
    return tuple(Span(*fields) for fields in row["spans"])
