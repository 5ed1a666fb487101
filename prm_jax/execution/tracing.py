"""What each executed line of an untrusted program did to its local variables.

Comes in: the frames of one call, through `sys.settrace`. Goes out: events `[line, depth, [[name, text], ...]]` and the
set of executed lines, as plain lists. Called by `child.py` around each call of a traced program. How much of the
values is looked into is limited by count, not by time, so that traces repeat.

An event is made after its line ran, so a line that calls a function of the program comes after the lines of that
function. Comprehensions, generator expressions and lambdas give no events and no depth, as Python versions disagree
on whether they have a frame.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from prm_jax.execution.encoding import canonical

PROGRAM_FILE = "<program>"
MAX_EVENTS = 400
MAX_WORK = 200_000  # Parts of values that are looked into, after which events tell lines only, so as to end in time.
MAX_LINES = 20_000  # Line events, after which even the set of executed lines is no longer kept, so as to run fast.

_SKIPPED = frozenset({"<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>", "<lambda>"})
_RETURNS = frozenset(
    opcode.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST", "YIELD_VALUE") if name in opcode.opmap
)
_SCALARS = frozenset({int, float, str, bool, bytes, complex, type(None)})
_settrace, _gettrace = sys.settrace, sys.gettrace
_type = type

Event = list[Any]
Snapshot = dict[str, tuple[Any, str]]


class _State:
    """What is known of one live frame: its depth, the line being executed and the locals before that line."""

    __slots__ = ("before", "depth", "line")

    def __init__(self, depth: int, before: Snapshot) -> None:
        self.depth = depth
        self.line = 0
        self.before = before


def _snapshot(frame: FrameType, before: Snapshot, work: list[int]) -> Snapshot:
    """Local variables with their canonical text; an unchanged scalar keeps the text it had."""
    now: Snapshot = {}
    for name, value in frame.f_locals.items():
        known = before.get(name)
        if known is not None and known[0] is value and _type(value) in _SCALARS:
            now[name] = known
        else:
            now[name] = (value, canonical(value, work))
    return now


class Tracer:
    """Traces one call.

    Attributes:
      events: the events so far, at most `MAX_EVENTS`.
      lines: the executed lines so far.
      cut: whether the events have reached their limit.
      complete: False once the events were cut or no longer tell values, or where the program ended its own trace, which
        then has no events.
    """

    def __init__(self, on_cut: Callable[[Tracer], None]) -> None:
        """`on_cut` is called once, when the events reach their limit, so that a call that never ends has a trace."""
        self.events: list[Event] = []
        self.lines: set[int] = set()
        self.cut = False
        self.complete = True
        self._on_cut = on_cut
        self._work = [MAX_WORK]
        self._entered = self._enter  # One object: methods are made anew wherever they are named.
        self._states: dict[FrameType, _State] = {}
        self._depth = 0
        self._left = MAX_LINES

    def start(self) -> None:
        """Begins to trace this thread."""
        _settrace(self._entered)

    def stop(self) -> None:
        """Ends tracing."""
        # All frames have returned, unless they or the thread were taken from the tracer.
        if not self.cut and (_gettrace() is not self._entered or self._states):
            self.complete = False
            self.events = []
        _settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename != PROGRAM_FILE or code.co_name in _SKIPPED:
            return None
        if self.cut:
            return self._count
        self._states[frame] = _State(self._depth, self._look(frame, {}))
        self._depth += 1
        return self._follow

    def _follow(self, frame: FrameType, event: str, argument: Any) -> Any:
        state = self._states.get(frame)
        if self.cut or state is None:
            return self._count(frame, event, argument)
        if event == "line":
            self._emit(frame, state, [])
            state.line = frame.f_lineno
            self.lines.add(state.line)
        elif event == "return":
            self._depth -= 1
            del self._states[frame]
            # An exception that leaves the frame arrives here too, with None for a value.
            returned = frame.f_code.co_code[frame.f_lasti] in _RETURNS
            self._emit(frame, state, [argument] if returned else [])
        return self._follow

    def _count(self, frame: FrameType, event: str, argument: Any) -> Any:
        """After the cut: only the lines, and for a while."""
        if event == "line":
            self.lines.add(frame.f_lineno)
            self._left -= 1
            if self._left <= 0:
                _settrace(None)
        return self._count

    def _look(self, frame: FrameType, before: Snapshot) -> Snapshot:
        """The local variables; `before` where they are no longer looked at."""
        return _snapshot(frame, before, self._work) if self.complete else before

    def _emit(self, frame: FrameType, state: _State, returned: list[Any]) -> None:
        """Makes the event of the line that ran; `returned` holds the value that left the frame, if one did."""
        if state.line == 0:
            return
        before, now = state.before, self._look(frame, state.before)
        changed = [[name, text] for name, (_, text) in now.items() if name not in before or before[name][1] != text]
        changed += [["return", canonical(value, self._work)] for value in returned if self.complete]
        self.complete = self.complete and self._work[0] >= 0
        state.before = now
        self.events.append([state.line, state.depth, changed if self.complete else []])
        if len(self.events) >= MAX_EVENTS:
            self.cut, self.complete = True, False
            self._states.clear()
            self._on_cut(self)
