"""From what a child wrote to a `Verdict`: the only place where an expected value meets a program's value.

Comes in: the program, the report of its zygote (see `frames.py`, `zygote.py`, `child.py`). Goes out: a verdict. Called
by `sandbox.py` in the parent. A report is hostile data: it is parsed as JSON, never evaluated or unpickled, and any
record that is out of order, of another shape or missing fails tests; none can make one pass but by the right value.

Equality is Python's `==` between plain built-in values, as the published asserts mean it: `1 == 1.0 == True`. Another
comparison than equality (`Test.check`) is made here as well, on the plain values that the calls gave.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from prm_jax.errors import UserError
from prm_jax.execution.frames import RECORD, REPORT, STATUSES
from prm_jax.execution.verdict import CallTrace, Outcome, Program, TraceEvent, Verdict
from prm_jax.problems.comparisons import holds
from prm_jax.problems.literals import literal
from prm_jax.problems.problem import Test

# A comparison may build sets of what a program returns: of few parts, as its numbers may all have one hash.
MAX_CHECKED_PARTS = 5_000

_MALFORMED = (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError)


class _Opaque:
    """Equals nothing but itself."""


def decode(data: Any) -> Any:
    """Comparable form of what `encoding.encode` gave; the same form as `freeze`'s. Raises on malformed data."""
    if data is None or isinstance(data, int | float | str):
        return freeze(data)
    tag, *parts = data
    match tag:
        case "l" | "t":
            return (tag, tuple(decode(part) for part in parts))
        case "s" | "z":
            return ("s", frozenset(decode(part) for part in parts))
        case "d":
            return ("d", frozenset(zip(map(decode, parts[::2]), map(decode, parts[1::2]), strict=True)))
        case "i":
            return int(parts[0], 16)
        case "b":
            return bytes.fromhex(parts[0])
        case "c":
            return complex(*parts)
        case "o":
            return _Opaque()
    raise ValueError(f"unknown tag {tag!r}")


def restore(data: Any) -> Any:
    """The plain Python value that `encoding.encode` gave `data` for. Raises on malformed data."""
    if data is None or isinstance(data, int | float | str):
        return data
    tag, *parts = data
    match tag:
        case "l" | "t" | "s" | "z":
            return _CONTAINERS[tag](restore(part) for part in parts)
        case "d":
            return dict(zip(map(restore, parts[::2]), map(restore, parts[1::2]), strict=True))
    return decode(data)


_CONTAINERS: dict[str, type] = {"l": list, "t": tuple, "s": set, "z": frozenset}


def freeze(value: Any) -> Any:
    """Hashable form of plain data in which `==` is the grading equality."""
    if isinstance(value, list | tuple):
        return ("l" if isinstance(value, list) else "t", tuple(freeze(item) for item in value))
    if isinstance(value, set | frozenset):
        return ("s", frozenset(freeze(item) for item in value))
    if isinstance(value, dict):
        return ("d", frozenset((freeze(key), freeze(item)) for key, item in value.items()))
    return value


class Expected(NamedTuple):
    """A value that a test expects.

    Attributes:
      value: its comparable form.
      parts: how many values it consists of, itself included.
    """

    value: Any
    parts: int


def is_expected(data: Any, expected: Expected) -> bool:
    """Whether the value that the child wrote as `data` equals the expected one; raises on malformed data.

    Equal values have equally many parts. They are counted first, since building a set of numbers that a hostile
    program chose to have one hash takes time quadratic in its size.
    """
    return count_parts(data, expected.parts) == expected.parts and decode(data) == expected.value


def count_parts(data: Any, most: int) -> int:
    """How many values the child wrote in `data`, containers included; any larger number where more than `most`."""
    left, count = [data], 0
    while left and count <= most:
        item = left.pop()
        count += 1
        if isinstance(item, list) and item[0] in ("l", "t", "s", "z", "d"):
            left.extend(item[1:])
    return count


def _parts(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_parts(part) for pair in value.items() for part in pair)
    return 1 + sum(map(_parts, value)) if isinstance(value, list | tuple | set | frozenset) else 1


@functools.lru_cache(maxsize=1 << 16)
def expected_value(literal: str) -> Expected:
    """A test's expected literal; raises `UserError` where it is not one."""
    try:
        value = ast.literal_eval(literal)
        return Expected(freeze(value), _parts(value))
    except (SyntaxError, *_MALFORMED):
        raise UserError(
            f"a test expects {literal[:80]!r}, which is not a Python literal; give a literal or an in-child assert"
        ) from None


@dataclasses.dataclass
class _Findings:
    """What the records of one child say so far."""

    passed: list[bool] = dataclasses.field(default_factory=list)
    traces: list[CallTrace | None] = dataclasses.field(default_factory=list)
    values: list[str | None] = dataclasses.field(default_factory=list)
    opcodes: list[int | None] = dataclasses.field(default_factory=list)
    lines: set[int] = dataclasses.field(default_factory=set)
    failure: tuple[Outcome, int | None, str | None] | None = None
    stopped: bool = False

    def fail(self, outcome: Outcome, line: int | None = None, exception: str | None = None) -> None:
        """Keeps the first failure."""
        if self.failure is None:
            self.failure = (outcome, line, exception)


def judge(program: Program, report: bytes) -> Verdict:
    """The verdict on `program`, given its zygote's report."""
    number, cpu_seconds = REPORT.unpack_from(report)
    status = STATUSES[number]
    if status in ("trouble", "unconfined"):
        return unknown(program, f"sandbox: {status}")
    findings = _Findings()
    count = len(program.tests)
    try:
        _read(program, report[REPORT.size :], findings)
    except _MALFORMED:
        findings = _Findings(stopped=True)
        findings.fail(Outcome.KILLED, None, "records were forged or damaged")
    if not findings.stopped:
        # Whoever writes all results but not the end is not the harness.
        del findings.passed[max(count - 1, 0) :]
        findings.fail(*_ENDINGS[status])
    missing = count - len(findings.passed)
    outcome, line, exception = findings.failure or (Outcome.PASSED, None, None)
    return Verdict(
        outcome=outcome,
        passed=(*findings.passed, *[False] * missing),
        line=line,
        exception=exception,
        cpu_seconds=cpu_seconds,
        executed_lines=frozenset(findings.lines),
        traces=(*findings.traces, *[None] * count)[:count] if program.trace else (),
        values=(*findings.values, *[None] * count)[:count] if program.values else (),
        opcodes=(*findings.opcodes, *[None] * count)[:count] if program.opcodes else (),
    )


_ENDINGS: dict[str, tuple[Outcome, int | None, str | None]] = {
    "timeout": (Outcome.TIMEOUT, None, None),
    "output": (Outcome.KILLED, None, "returned more data than the limit"),
    "ended": (Outcome.KILLED, None, "the process ended before its last call did"),
}


def unknown(program: Program, why: str) -> Verdict:
    """The verdict where the sandbox itself was in trouble."""
    return Verdict(Outcome.UNKNOWN, (False,) * len(program.tests), exception=why)


def _records(data: bytes) -> Iterator[tuple[bytes, Any]]:
    position = 0
    while len(data) >= position + RECORD.size:
        length, kind = RECORD.unpack_from(data, position)
        position += RECORD.size + length
        if position > len(data):
            return
        yield kind, json.loads(data[position - length : position])


def _read(program: Program, data: bytes, findings: _Findings) -> None:
    """Walks through the records in the one order that the harness writes; raises one of `_MALFORMED` otherwise."""
    phases = 0
    trace: CallTrace | None = None
    for kind, payload in _records(data):
        if findings.stopped:
            raise ValueError("a record after the end")
        if kind == b"P" and phases < 2:
            phases += 1
        elif kind == b"X" and phases < 2:
            _stop(findings, payload, _STAGES[phases])
        elif kind == b"T" and phases == 2 and program.trace and len(findings.passed) < len(program.tests):
            trace = _trace(payload, trace, findings)
            findings.traces[len(findings.passed) :] = [trace]
        elif kind == b"O" and phases == 2 and program.opcodes and len(findings.opcodes) == len(findings.passed):
            findings.opcodes.append(int(payload))
        elif kind == b"R" and phases == 2:
            if program.values:
                findings.values.append(_value(payload))
            _result(program.tests[len(findings.passed)], payload, findings)
            trace = None
        elif kind == b"D" and phases == 2 and len(findings.passed) == len(program.tests):
            findings.stopped = True
        else:
            raise ValueError("a record out of order")


# Where a program can have ended after so many phases. One that claims its set-up to have failed would be excused.
_STAGES = (("setup",), ("syntax", "import"))


def _stop(findings: _Findings, payload: Any, stages: tuple[str, ...]) -> None:
    """The program ended before its first call."""
    stage, exception, line, is_memory = payload
    if stage not in stages:
        raise ValueError("an end that cannot be")
    findings.stopped = True
    line, exception = _line(line), _told(exception)
    if stage == "setup":
        findings.fail(Outcome.UNKNOWN, None, f"set-up code: {exception}"[:200])
    elif stage == "syntax":
        findings.fail(Outcome.SYNTAX_ERROR, line, exception)
    else:
        findings.fail(Outcome.MEMORY if is_memory else Outcome.RUNTIME_ERROR, line, exception)


def _result(test: Test, payload: Any, findings: _Findings) -> None:
    kind, *rest = payload
    if kind == "e":
        exception, line, is_memory = rest
        outcome = Outcome.MEMORY if is_memory else Outcome.RUNTIME_ERROR
        findings.fail(outcome, _line(line), _told(exception))
        findings.passed.append(False)
        return
    if kind != ("a" if test.in_child else "v"):
        raise ValueError("a value where a comparison was due, or the other way round")
    if test.expected is not None:
        passed = is_expected(rest[0], expected_value(test.expected))
    elif test.check is not None:
        passed = count_parts(rest[0], MAX_CHECKED_PARTS) <= MAX_CHECKED_PARTS and holds(test.check, restore(rest[0]))
    else:
        passed = rest[0] is True
    if not passed:
        findings.fail(Outcome.WRONG_ANSWER)
    findings.passed.append(passed)


def _value(payload: Any) -> str | None:
    """The literal of what a call gave, None where there is none."""
    kind, value, *_ = payload
    if kind != "v":
        return None
    try:
        return literal(restore(value))
    except ValueError:
        return None


def _trace(payload: Any, known: CallTrace | None, findings: _Findings) -> CallTrace:
    """A call's trace; where it was cut, its events came first and only the lines come at the end."""
    events, complete, lines = payload
    findings.lines.update(int(line) for line in lines)
    if events is None:
        if known is None:
            raise ValueError("a trace without events")
        return known
    trace = tuple(
        TraceEvent(int(line), int(depth), tuple((str(name), str(text)) for name, text in changed))
        for line, depth, changed in events
    )
    findings.lines.update(event.line for event in trace)
    return CallTrace(trace, complete is True)


def _told(exception: Any) -> str:
    """An exception's text as it may be shown: control characters could take over a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in str(exception)[:200])


def _line(line: Any) -> int | None:
    return line if isinstance(line, int) else None
