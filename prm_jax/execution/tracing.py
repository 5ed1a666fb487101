"""What each executed line of an untrusted program did to its local variables.

Comes in: the frames of one call, through `sys.settrace`. Goes out: events `[line, depth, [[name, text], ...]]` and the
set of executed lines, as plain lists. Called by `child.py` around each call of a traced program.

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
MAX_LINES = 20_000  # Line events, after which even the set of executed lines is no longer kept, so as to run fast.

_SKIPPED = frozenset({"<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>", "<lambda>"})
_RETURNS = frozenset(
    opcode.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST", "YIELD_VALUE") if name in opcode.opmap
)
_SCALARS = frozenset({int, float, str, bool, bytes, complex, type(None)})
_settrace = sys.settrace
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


def _snapshot(frame: FrameType, before: Snapshot) -> Snapshot:
    """Local variables with their canonical text; an unchanged scalar keeps the text it had."""
    now: Snapshot = {}
    for name, value in frame.f_locals.items():
        known = before.get(name)
        if known is not None and known[0] is value and _type(value) in _SCALARS:
            now[name] = known
        else:
            now[name] = (value, canonical(value))
    return now


class Tracer:
    """Traces one call.

    Attributes:
      events: the events so far, at most `MAX_EVENTS`.
      lines: the executed lines so far.
      complete: False once the events were cut.
    """

    def __init__(self, on_cut: Callable[[Tracer], None]) -> None:
        """`on_cut` is called once, when the events reach their limit, so that a call that never ends has a trace."""
        self.events: list[Event] = []
        self.lines: set[int] = set()
        self.complete = True
        self._on_cut = on_cut
        self._states: dict[FrameType, _State] = {}
        self._depth = 0
        self._left = MAX_LINES

    def start(self) -> None:
        """Begins to trace this thread."""
        _settrace(self._enter)

    def stop(self) -> None:
        """Ends tracing."""
        _settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename != PROGRAM_FILE or code.co_name in _SKIPPED:
            return None
        if not self.complete:
            return self._count
        self._states[frame] = _State(self._depth, _snapshot(frame, {}))
        self._depth += 1
        return self._follow

    def _follow(self, frame: FrameType, event: str, argument: Any) -> Any:
        state = self._states.get(frame)
        if not self.complete or state is None:
            return self._count(frame, event, argument)
        if event == "line":
            self._emit(frame, state, None)
            state.line = frame.f_lineno
            self.lines.add(state.line)
        elif event == "return":
            self._depth -= 1
            del self._states[frame]
            # An exception that leaves the frame arrives here too, with None for a value.
            returned = frame.f_code.co_code[frame.f_lasti] in _RETURNS
            self._emit(frame, state, canonical(argument) if returned else None)
        return self._follow

    def _count(self, frame: FrameType, event: str, argument: Any) -> Any:
        """After the cut: only the lines, and for a while."""
        if event == "line":
            self.lines.add(frame.f_lineno)
            self._left -= 1
            if self._left <= 0:
                _settrace(None)
        return self._count

    def _emit(self, frame: FrameType, state: _State, returned: str | None) -> None:
        if state.line == 0:
            return
        before, now = state.before, _snapshot(frame, state.before)
        changed = [[name, text] for name, (_, text) in now.items() if name not in before or before[name][1] != text]
        if returned is not None:
            changed.append(["return", returned])
        state.before = now
        self.events.append([state.line, state.depth, changed])
        if len(self.events) >= MAX_EVENTS:
            self.complete = False
            self._states.clear()
            self._on_cut(self)
