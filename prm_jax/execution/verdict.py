"""`Program` and `Verdict`: what goes into the sandbox and what comes out.

Labelling, PPO and evaluation build programs; `sandbox.py` returns one verdict for each.
"""

from __future__ import annotations

import dataclasses
import enum

from prm_jax.problems.problem import Test


class Outcome(enum.StrEnum):
    """How a program ended. `UNKNOWN` means that the sandbox, not the program, was in trouble."""

    SYNTAX_ERROR = "syntax_error"
    RUNTIME_ERROR = "runtime_error"
    WRONG_ANSWER = "wrong_answer"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    KILLED = "killed"
    PASSED = "passed"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Program:
    """One program to run on some tests.

    Attributes:
      text: the untrusted source text.
      tests: the checks, in order.
      setup: trusted code executed before `text` in the same namespace.
      cpu_seconds: the CPU limit of each call.
      trace: whether to record, for each call, what every executed line did to the variables.
      values: whether the verdict is to hold what each call gave.
      opcodes: whether to count the bytecode instructions of each call; not together with `trace`.
    """

    text: str
    tests: tuple[Test, ...]
    setup: str = ""
    cpu_seconds: float = 1.0
    trace: bool = False
    values: bool = False
    opcodes: bool = False


@dataclasses.dataclass(frozen=True)
class TraceEvent:
    """One executed line of the program.

    Attributes:
      line: 1-based line of the program's text.
      depth: 0 in the function that the test called, 1 in a function called from there, and so on.
      changed: `(name, value)` for each local variable that this line bound, rebound or mutated; the value as
        canonical text of plain built-in data, or `"?"` for anything else. A return is named `"return"`.
    """

    line: int
    depth: int
    changed: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class CallTrace:
    """What one call did, in order.

    Attributes:
      events: the executed lines.
      complete: False where the trace was cut at its length limit, where later events tell no values as there were too
        many to look into, or where the program ended the trace, which then has no events.
    """

    events: tuple[TraceEvent, ...]
    complete: bool


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the sandbox found.

    Attributes:
      outcome: `PASSED` only if every test passed; else the kind of the first failure.
      passed: one entry per test.
      line: 1-based line of the program's text that raised, or that the syntax error names.
      exception: `"TypeError: message"`, cut to 200 characters.
      cpu_seconds: CPU time of the child over all calls.
      flaky: whether two runs of the same program disagreed; such a verdict labels nothing.
      executed_lines: the 1-based lines that at least one call executed; only filled when traced.
      traces: one per test, only when asked for; None for a call that did not happen.
      values: one per test, only when asked for: the literal of what the call gave; None where it raised, did not
        happen or gave what has no literal.
      opcodes: one per test, only when asked for: executed bytecode instructions, at most `opcodes.MAX_OPCODES`; None
        for a call that did not happen.
    """

    outcome: Outcome
    passed: tuple[bool, ...] = ()
    line: int | None = None
    exception: str | None = None
    cpu_seconds: float = 0.0
    flaky: bool = False
    executed_lines: frozenset[int] = frozenset()
    traces: tuple[CallTrace | None, ...] = ()
    values: tuple[str | None, ...] = ()
    opcodes: tuple[int | None, ...] = ()

    @property
    def tests_passed(self) -> int:
        """Number of tests passed."""
        return sum(self.passed)
