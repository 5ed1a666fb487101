"""Tests with inputs of our own, whose expected values are the reference's.

In: problems whose reference passes its own tests, and a sandbox; out: for each problem tests that the reference passes
twice, the second time in another order and with another hash seed. `label.py` runs with them what has passed the
problem's own tests: a mutant that survived, a refactoring that is not to be trusted.
"""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.labelling.inputs import generate_calls
from prm_jax.problems.problem import Problem, Test

_LONGEST = 4000
"""Characters of an expected value."""


@dataclasses.dataclass(frozen=True)
class GeneratedTests:
    """What was made for one problem.

    Attributes:
      tests: the tests; visible ones, since labels may use them.
      lines: the lines of the reference that they execute.
    """

    tests: tuple[Test, ...] = ()
    lines: frozenset[int] = frozenset()


def generate_tests(
    problems: Sequence[Problem], limits: Sequence[float], sandbox: Sandbox, count: int, seed: int, counts: Counter[str]
) -> list[GeneratedTests]:
    """Makes tests of generated calls.

    Args:
      problems: problems whose references pass.
      limits: CPU seconds that a call may take, for each.
      sandbox: runs the references.
      count: calls to each problem, at most.
      seed: of the calls.
      counts: is added to: `"made"`, `"without a value"` (the reference raised, or gave what has no literal),
        `"inexact"` (a collection that holds fractions), `"not deterministic"`, `"kept"`; `"problems without"` counts
        the problems that have no test of which calls can be made.

    Returns:
      One entry per problem.
    """
    calls = [generate_calls(problem, count, seed) for problem in problems]
    told = sandbox.run(
        [
            Program(each.reference, tuple(Test(call, "None") for call in texts), each.setup, limit, values=True)
            for each, texts, limit in zip(problems, calls, limits, strict=True)
        ]
    )
    tests = []
    for texts, verdict in zip(calls, told, strict=True):
        pairs = list(zip(texts, verdict.values or [None] * len(texts), strict=True))
        made = [_test(call, value) for call, value in pairs if value is not None and len(value) <= _LONGEST]
        tests.append([test for test in made if test is not None])
        counts["problems without"] += not texts
        counts["made"] += len(texts)
        counts["without a value"] += len(texts) - len(made)
        counts["inexact"] += len(made) - len(tests[-1])
    found = _confirmed(problems, tests, limits, sandbox)
    counts["kept"] += sum(len(each.tests) for each in found)
    counts["not deterministic"] += sum(map(len, tests)) - sum(len(each.tests) for each in found)
    return found


def _test(call: str, expected: str) -> Test | None:
    """The test that a call gives what the reference gave; None where exact equality would ask too much."""
    value = ast.literal_eval(expected)
    if isinstance(value, float) and value:
        # Another order of the same sum may give another last digit.
        return Test(f"({call},)", None, check=f"isclose(_0, {expected}, rel_tol=1e-09)")
    return None if _holds_fraction(value) else Test(call, expected)


def _holds_fraction(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_fraction, (*value, *value.values())))
    if isinstance(value, list | tuple | set):
        return any(map(_holds_fraction, value))
    return isinstance(value, float) and not value.is_integer()


def _confirmed(
    problems: Sequence[Problem], tests: Sequence[Sequence[Test]], limits: Sequence[float], sandbox: Sandbox
) -> list[GeneratedTests]:
    """The tests that the reference passes again, behind others and where sets have another order."""
    programs = [
        Program(problem.reference, tuple(reversed(own)), problem.setup, limit, trace=True)
        for problem, own, limit in zip(problems, tests, limits, strict=True)
    ]
    config = dataclasses.replace(sandbox.config, hash_seed=sandbox.config.hash_seed + 1, rerun_share=0.0)
    with Sandbox(config) as other:
        verdicts = other.run(programs)
    found = []
    for program, verdict in zip(programs, verdicts, strict=True):
        known = verdict.outcome is not Outcome.UNKNOWN
        kept = [test for test, passed in zip(program.tests, verdict.passed, strict=True) if passed and known]
        found.append(GeneratedTests(tuple(reversed(kept)), verdict.executed_lines if kept else frozenset()))
    return found
