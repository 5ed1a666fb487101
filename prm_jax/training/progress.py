"""A progress bar for long work: a bar on a terminal, a line every tenth of the way elsewhere.

The training loop, the PPO loop and any stage that a person waits for use it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


def _summary(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


class Progress:
    """Shows how far the work is; a context manager."""

    def __init__(self, label: str, total: int, start: int = 0, console: Console | None = None) -> None:
        """Nothing is shown before it is entered.

        Args:
          label: what is going on, in a word or two.
          total: number of steps of the whole work.
          start: steps done before this run.
          console: where to show it; standard error by default, so that results can be piped.
        """
        self._label, self._total, self._done = label, total, start
        self._console = console or Console(stderr=True)
        self._bar: RichProgress | None = None

    def __enter__(self) -> Progress:
        """Show the bar, on a terminal."""
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[metrics]}"),
            )
            self._bar = RichProgress(*columns, console=self._console)
            self._task = self._bar.add_task(self._label, total=self._total, completed=self._done, metrics="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, metrics: Mapping[str, float] | None = None) -> None:
        """Show that `done` steps of the whole work are done, and the metrics next to it."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
            if metrics:
                self._bar.update(self._task, metrics=_summary(metrics))
        elif 10 * done // max(self._total, 1) > 10 * self._done // max(self._total, 1):
            self.say(f"{self._label}: {done} of {self._total}  {_summary(metrics or {})}".rstrip())
        self._done = done

    def add(self, steps: int) -> None:
        """Show that `steps` more are done."""
        self.update(self._done + steps)

    def say(self, text: str) -> None:
        """A line of words above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
