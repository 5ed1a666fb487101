"""The journal of verdicts: a resumed run replays what an interrupted one found, to the same bits.

Comes in: programs and verdicts. Goes out: the verdict known for a program. Called by `sandbox.py`. One JSON object per
line of an append-only file; the key is the SHA-256 of everything that a verdict depends on. An unknown verdict says
nothing of its program, so it is not kept: the program is run again. A line torn by a crash is dropped when the journal
is opened again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.execution.verdict import CallTrace, Outcome, Program, TraceEvent, Verdict
from prm_jax.spool import Spool


def program_key(program: Program, conditions: Iterable[str] = ()) -> str:
    """SHA-256 (hexadecimal) of text, tests, set-up and limit, of what is recorded, and of the sandbox's conditions."""
    tests = [[test.call, test.expected, *([test.check] if test.check else [])] for test in program.tests]
    parts = [program.text, tests, program.setup, program.cpu_seconds, program.trace]
    parts += ["values"] * program.values + ["opcodes"] * program.opcodes
    parts += conditions
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Journal:
    """Verdicts by program, kept in a file; the first verdict on a program stands."""

    def __init__(self, path: epath.PathLike) -> None:
        """Opens or creates the file at `path`; raises `UserError` where that cannot be done."""
        path = epath.Path(path)
        self._known: dict[str, Verdict] = {}
        try:
            self._spool = Spool(path.parent, path.name)
            self._path = self._spool.folder / path.name
            self._load()
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise UserError(f"cannot open the journal {path}: {error.strerror}; name a writable file") from None

    def _load(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self._path, whole)
        for line in data[:whole].splitlines():
            try:
                row = json.loads(line)
                self._keep(row["key"], _from_json(row["verdict"]))
            except (ValueError, KeyError, TypeError):
                continue

    def _keep(self, key: str, verdict: Verdict) -> bool:
        """Whether there is something to be kept."""
        is_news = verdict.outcome is not Outcome.UNKNOWN and key not in self._known
        if is_news:
            self._known[key] = verdict
        return is_news

    def __len__(self) -> int:
        """Number of programs with a known verdict."""
        return len(self._known)

    def get(self, program: Program, conditions: Iterable[str] = ()) -> Verdict | None:
        """The verdict found before under these conditions (`SandboxConfig.conditions`), or None."""
        return self._known.get(program_key(program, conditions))

    def put(self, program: Program, verdict: Verdict, conditions: Iterable[str] = ()) -> None:
        """Records a verdict, unless it is unknown; a program that has one keeps it."""
        key = program_key(program, conditions)
        if self._keep(key, verdict):
            self._file.write(json.dumps({"key": key, "verdict": _to_json(verdict)}) + "\n")

    def flush(self) -> None:
        """Puts what was recorded into the run directory where that is a bucket; call it before a checkpoint."""
        self._spool.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._spool.close()


def _to_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome.value,
        "passed": [int(passed) for passed in verdict.passed],
        "line": verdict.line,
        "exception": verdict.exception,
        "cpu_seconds": verdict.cpu_seconds,
        "flaky": verdict.flaky,
        "executed_lines": sorted(verdict.executed_lines),
        "traces": [trace and [[[e.line, e.depth, e.changed] for e in trace.events], trace.complete]
                   for trace in verdict.traces],
        **({"values": verdict.values} if verdict.values else {}),
        **({"opcodes": verdict.opcodes} if verdict.opcodes else {}),
    }  # fmt: skip


def _from_json(row: dict[str, Any]) -> Verdict:
    return Verdict(
        outcome=Outcome(row["outcome"]),
        passed=tuple(bool(passed) for passed in row["passed"]),
        line=row["line"],
        exception=row["exception"],
        cpu_seconds=row["cpu_seconds"],
        flaky=row["flaky"],
        executed_lines=frozenset(row["executed_lines"]),
        traces=tuple(trace and _trace_from_json(*trace) for trace in row["traces"]),
        values=tuple(row.get("values", ())),
        opcodes=tuple(row.get("opcodes", ())),
    )


def _trace_from_json(events: list[Any], complete: bool) -> CallTrace:
    return CallTrace(
        tuple(TraceEvent(line, depth, tuple((n, t) for n, t in changed)) for line, depth, changed in events), complete
    )
