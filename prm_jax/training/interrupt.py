"""Stopping long work in good order: Ctrl-C and SIGTERM finish the step in hand, save, and leave.

`loop.fit` and the PPO loop use it, and raise `prm_jax.errors.Interrupted` when they have saved.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


class StopRequest:
    """While entered, the first SIGINT or SIGTERM is noted rather than obeyed; a second one acts as ever.

    Outside the main thread, where Python lets nobody handle signals, it never asks to stop.

    Attributes:
      requested: whether this process was asked to stop.
      preempted: whether by SIGTERM; after `agreed`, whether any host was.
    """

    def __init__(self) -> None:
        """Not yet listening."""
        self.requested = False
        self.preempted = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Hand the signals back to whoever had them."""
        self._restore()

    def agreed(self) -> bool:
        """Whether any host was asked to stop. With several hosts all must call it at the same step: it waits."""
        if jax.process_count() == 1:
            return self.requested
        told = multihost_utils.process_allgather(np.array([self.requested, self.preempted]))
        self.preempted = bool(np.any(told[:, 1]))
        return bool(np.any(told[:, 0]))

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.requested, self.preempted = True, number == signal.SIGTERM
        self._restore()
        # Not print: a handler may run in the middle of a buffered write.
        os.write(2, b"\nstopping after this step; once more to stop at once\n")

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
