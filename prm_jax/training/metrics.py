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

FILE_NAME = "metrics.jsonl"


def _encode(value: float) -> float | str:
    """The number; NaN and infinities, which JSON has not, as `"nan"`, `"inf"`, `"-inf"`."""
    value = float(value)
    return value if math.isfinite(value) else str(value)


def _decode(line: str) -> dict[str, Any]:
    row = json.loads(line)
    return {name: row[name] if name == "step" else float(row[name]) for name in row}


def read_metrics(directory: epath.PathLike) -> list[dict[str, Any]]:
    """The rows of `<directory>/metrics.jsonl`: `step` (int) and the metrics (float). Empty where there is no file.

    A last line that a kill cut short is left out.
    """
    path = epath.Path(directory) / FILE_NAME
    text = path.read_text() if path.exists() else ""
    return [_decode(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


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
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE_NAME
        # A run from the start writes its step 0 again.
        kept = [row for row in read_metrics(directory) if row["step"] <= resume_step] if resume_step else []
        # Written beside and moved, so that a kill between the two loses no line.
        rewritten = directory / (FILE_NAME + ".tmp")
        rewritten.write_text("".join(self._line(row["step"], row) for row in kept))
        rewritten.replace(path)
        self._file = path.open("a")
        self._board = SummaryWriter(str(directory), purge_step=resume_step + 1 if resume_step else 0)

    @staticmethod
    def _line(step: int, metrics: Mapping[str, float]) -> str:
        row = {name: _encode(value) for name, value in metrics.items() if name != "step"}
        return json.dumps({"step": step, **row}) + "\n"

    def write(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Write the metrics of a step.

        Args:
          step: the step; several writes may share one.
          metrics: name to value; what a rerun would reproduce.
          timings: name to value; what it would not (seconds, rates). They go to TensorBoard only.
        """
        if not self._enabled:
            return
        self._file.write(self._line(step, metrics))
        self._file.flush()
        for name, value in {**metrics, **(timings or {})}.items():
            self._board.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Flush and close both files."""
        if self._enabled:
            self._file.close()
            self._board.close()

    def __enter__(self) -> MetricsWriter:
        """This object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
