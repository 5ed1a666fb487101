"""The journal of reading: an interrupted mining goes on at the files that it had not read.

Comes in: `FileReport`s as they arrive. Goes out: those that an earlier run noted of files that are still the same.
Called by `stages/mine.py`. One JSON object per line of an append-only file; what a crash tore is read again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
from collections.abc import Sequence
from typing import Any

from etils import epath

from prm_jax.mining.functions import FileReport
from prm_jax.mining.walk import SourceFile
from prm_jax.problems.problem import Problem, Test
from prm_jax.spool import Spool


class ReportJournal:
    """What files hold, kept in a file.

    Attributes:
      known: the reports of those of the files that were noted and have not changed since, by size and time.
    """

    def __init__(self, path: epath.PathLike, files: Sequence[SourceFile]) -> None:
        """Opens or creates the journal at `path` for mining `files`."""
        path = epath.Path(path)
        self._spool = Spool(path.parent, path.name)
        self._path, self._stamps = self._spool.folder / path.name, {file.path: _stamp(file) for file in files}
        noted = self._load()
        self.known = {file: noted[file.path] for file in files if file.path in noted}
        self._file = self._path.open("a", encoding="utf-8", buffering=1)

    def __enter__(self) -> ReportJournal:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: types.TracebackType | None
    ) -> None:
        """Closes the file."""
        self._file.close()
        self._spool.close()

    def note(self, file: SourceFile, report: FileReport) -> None:
        """Keeps what a file holds."""
        row = {"path": file.path, "stamp": self._stamps[file.path], "report": dataclasses.asdict(report)}
        self._file.write(json.dumps(row) + "\n")

    def _load(self) -> dict[str, FileReport]:
        if not self._path.exists():
            return {}
        noted = {}
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        os.truncate(self._path, whole)
        for line in data[:whole].splitlines():
            try:
                row = json.loads(line)
                if row["stamp"] == self._stamps.get(row["path"]):
                    noted[row["path"]] = _from_json(row["report"])
            except (ValueError, KeyError, TypeError):
                continue
        return noted


def _stamp(file: SourceFile) -> list[int]:
    """Size and time of the last change; nothing where the file is gone."""
    try:
        found = os.stat(file.path, follow_symlinks=False)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _from_json(row: dict[str, Any]) -> FileReport:
    counts = {name: tuple((why, count) for why, count in row[name]) for name in ("dropped", "not_in_corpus")}
    problems = {name: tuple(_problem_from_json(each) for each in row[name]) for name in ("problems", "corpus")}
    return FileReport(**{**row, **counts, **problems})


def _problem_from_json(row: dict[str, Any]) -> Problem:
    return Problem(**{**row, "tests": tuple(Test(**test) for test in row["tests"])})
