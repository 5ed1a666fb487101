"""How many bytecode instructions of an untrusted program one call executes.

Comes in: the frames of one call, through `sys.settrace`. Goes out: a count. Called by `child.py` around each call of a
program that is to be counted. Every instruction of the program's own text counts, comprehensions and lambdas included;
builtins and modules are one instruction, whatever they do. The count is the same in every run of one Python version.
A program can stop it from within (`sys.settrace`), so it is for reports and never enters a reward.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from prm_jax.execution.tracing import PROGRAM_FILE

MAX_OPCODES = 500_000  # After which nothing is counted any more, so that a long call ends in time.

_settrace, _getframe = sys.settrace, sys._getframe


class OpcodeCounter:
    """Counts during one call.

    Attributes:
      count: instructions so far, at most `MAX_OPCODES`.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.count = 0

    def start(self) -> None:
        """Begins to count in this thread."""
        # Python 3.12 looks only here whether any frame asks for its instructions.
        _getframe().f_trace_opcodes = True
        _settrace(self._enter)

    def stop(self) -> None:
        """Ends counting."""
        _settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != PROGRAM_FILE:
            return None
        frame.f_trace = self._count  # Without which Python 3.13 does not heed the next line.
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._count

    def _count(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.count += 1
            if self.count >= MAX_OPCODES:
                _settrace(None)
        return self._count
