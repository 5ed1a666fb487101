"""Metrics of a run: TensorBoard events and `metrics.jsonl`, a file that a resumed run continues to the same bytes.

`loop.fit` and the PPO loop write them; the report and the tests read them with `read_metrics`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from etils import epath
from tensorboardX import SummaryWriter

from prm_jax.spool import Spool

FILE_NAME = "metrics.jsonl"


def _encode(value: float) -> float | str:
    """The number; NaN and infinities, which JSON has not, as `"nan"`, `"inf"`, `"-inf"`."""
    value = float(value)
    return value if math.isfinite(value) else str(value)


def read_rows(path: epath.PathLike) -> list[dict[str, Any]]:
    """The rows that a `StepRows` wrote. Empty where there is no file; a last line that a kill cut short is left out."""
    path = epath.Path(path)
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def read_metrics(directory: epath.PathLike) -> list[dict[str, Any]]:
    """The rows of `<directory>/metrics.jsonl`: `step` (int) and the metrics (float). Empty where there is no file."""
    rows = read_rows(epath.Path(directory) / FILE_NAME)
    return [{name: row[name] if name == "step" else float(row[name]) for name in row} for row in rows]


class StepRows:
    """A file of JSON lines, each with its `step`, that a resumed run goes on with."""

    def __init__(self, path: epath.PathLike, resume_step: int) -> None:
        """Opens the file, dropping what was written after `resume_step`; 0 starts afresh."""
        home = epath.Path(path)
        self._spool = Spool(home.parent, home.name)
        path = self._spool.folder / home.name
        # A run from the start writes its step 0 again.
        kept = [row for row in read_rows(path) if row["step"] <= resume_step] if resume_step else []
        # Written beside and moved, so that a kill between the two loses no line.
        rewritten = path.parent / (path.name + ".tmp")
        rewritten.write_text("".join(json.dumps(row) + "\n" for row in kept))
        rewritten.replace(path)
        self._file = path.open("a")

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """Adds the row of a step; several may share one."""
        self._file.write(json.dumps({"step": step, **row}) + "\n")
        self._file.flush()

    def flush(self) -> None:
        """Puts the rows into the run directory where that is a bucket; call it before a checkpoint."""
        self._spool.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._spool.close()


class MetricsWriter:
    """Writes metrics of one directory; a context manager."""

    def __init__(self, directory: epath.PathLike, resume_step: int = 0, *, enabled: bool = True) -> None:
        """Open the directory, dropping what was written after `resume_step`.

        Args:
          directory: made where it is missing; TensorBoard reads it too.
          resume_step: the step from which the run goes on; 0 starts afresh.
          enabled: False writes nothing: on every host but the first.
        """
        self._enabled = enabled
        if not enabled:
            return
        directory = epath.Path(directory)
        self._rows = StepRows(directory / FILE_NAME, resume_step)
        self._spool = Spool(directory)
        self._board = SummaryWriter(str(self._spool.folder), purge_step=resume_step + 1 if resume_step else 0)

    def write(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Write the metrics of a step.

        Args:
          step: the step; several writes may share one.
          metrics: name to value; what a rerun would reproduce.
          timings: name to value; what it would not (seconds, rates). They go to TensorBoard only.
        """
        if not self._enabled:
            return
        self._rows.write(step, {name: _encode(value) for name, value in metrics.items() if name != "step"})
        for name, value in {**metrics, **(timings or {})}.items():
            self._board.add_scalar(name, float(value), step)

    def flush(self) -> None:
        """Puts both files into the run directory where that is a bucket; call it before a checkpoint."""
        if self._enabled:
            self._rows.flush()
            self._board.flush()
            self._spool.flush()

    def close(self) -> None:
        """Flush and close both files."""
        if self._enabled:
            self._rows.close()
            self._board.close()
            self._spool.close()

    def __enter__(self) -> MetricsWriter:
        """This object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
