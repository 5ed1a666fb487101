"""Which mined problems hold: their references pass in the sandbox, always, and a program that does nothing fails.

Comes in: `Problem`s. Goes out: those that hold, with the tests that hold. Called by `stages/mine.py`. A docstring may
be out of date, an example may show what is random, and a set-up may lack what nobody foresaw: execution decides.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.mining.config import MiningConfig
from prm_jax.problems.problem import Problem

_SETUP = "set-up code: "
"""How the sandbox begins when it was not the program that failed."""


@dataclasses.dataclass(frozen=True)
class Checked:
    """What became of some problems.

    Attributes:
      executable: how many have enough examples that hold.
      problems: those of them that pass every time and that an empty function fails, in order.
      dropped: why the others were left out, with counts.
    """

    executable: int
    problems: tuple[Problem, ...]
    dropped: collections.Counter[str]


def check(problems: Sequence[Problem], sandboxes: Sequence[Sandbox], config: MiningConfig) -> Checked:
    """Runs the references once in each sandbox, of which no two have one hash seed, then empty functions in the first.

    The order of a set of strings is the same in every program of one sandbox, so that it would seem to be determined.
    """
    dropped: collections.Counter[str] = collections.Counter()
    executable = []
    for problem, verdict in zip(problems, _run(problems, sandboxes[0], config), strict=True):
        held = [test for test, passed in zip(problem.tests, verdict.passed, strict=True) if passed]
        if len(held) < config.min_tests:
            dropped[_reason(verdict)] += 1
        else:
            executable.append(dataclasses.replace(problem, tests=tuple(held)))
    kept = executable
    for sandbox in sandboxes[1:]:
        verdicts = _run(kept, sandbox, config)
        kept = [p for p, verdict in zip(kept, verdicts, strict=True) if _passes(verdict)]
    dropped["not the same in every run"] = len(executable) - len(kept)
    empty = [dataclasses.replace(problem, reference=_empty(problem)) for problem in kept]
    verdicts = _run(empty, sandboxes[0], config)
    telling = [p for p, verdict in zip(kept, verdicts, strict=True) if not _passes(verdict)]
    dropped["an empty function passes"] = len(kept) - len(telling)
    return Checked(len(executable), tuple(telling), +dropped)


def _run(problems: Sequence[Problem], sandbox: Sandbox, config: MiningConfig) -> list[Verdict]:
    return sandbox.run([Program(p.reference, p.tests, p.setup, config.cpu_seconds) for p in problems])


def _passes(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.PASSED and not verdict.flaky


def _reason(verdict: Verdict) -> str:
    """Few reasons, so that a count of them tells something: a wrong value, or the name of the first exception."""
    exception = verdict.exception or ""
    if exception.startswith(_SETUP):
        return f"its module raises {exception.removeprefix(_SETUP).split(':')[0]}"
    if verdict.outcome is Outcome.RUNTIME_ERROR and exception:
        return f"raises {exception.split(':')[0]}"
    return f"reference fails: {verdict.outcome}".replace("_", " ")


def _empty(problem: Problem) -> str:
    return f"def {problem.entry_point}(*args, **kwargs):\n    return None\n"
