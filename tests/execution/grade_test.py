"""Problems graded through the sandbox; the references of MBPP."""

from __future__ import annotations

import dataclasses
import os

import pytest

from prm_jax.execution.grade import (
    MAX_CPU_SECONDS,
    REFERENCE_CPU_SECONDS,
    cpu_limit,
    grade,
    program_for,
    reference_limits,
)
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome
from prm_jax.problems.mbpp import MbppSource
from prm_jax.problems.problem import Problem, Test

REFERENCE = "def f(n):\n    return sum(range(n))\n"
SLOW_REFERENCE = "def f(n):\n    return sum(i for i in range(10**6)) * 0 + n\n"


def problem(identity: str, reference: str, *tests: Test) -> Problem:
    return Problem(identity, "own", "train", "prompt", "f", reference, tests)


def test_hidden_tests_only_where_asked() -> None:
    mine = problem("p", REFERENCE, Test("f(3)", "3"), Test("f(4)", "6", visible=False))
    cheat = "def f(n):\n    return 3\n"
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        assert grade([(mine, cheat), (mine, REFERENCE)], sandbox, hidden=False)[0].outcome == Outcome.PASSED
        hidden = grade([(mine, cheat), (mine, REFERENCE)], sandbox, hidden=True)
    assert [verdict.outcome for verdict in hidden] == [Outcome.WRONG_ANSWER, Outcome.PASSED]
    assert program_for(mine, cheat, hidden=False).tests == mine.visible_tests


def test_a_program_goes_on_with_its_head_or_redefines_it() -> None:
    mine = dataclasses.replace(
        problem("p", REFERENCE, Test("f(3)", "3")), head="import math\n\ndef f(n):\n    '''Sum.'''\n"
    )
    body, wrong, whole = "    return math.comb(n, 2)\n", "    return n + 1\n", "def f(n):\n    return math.comb(n, 2)\n"
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        verdicts = grade([(mine, text) for text in (body, wrong, whole)], sandbox, hidden=True)
    assert [each.outcome for each in verdicts] == [Outcome.PASSED, Outcome.WRONG_ANSWER, Outcome.PASSED]


def test_limits_follow_the_reference() -> None:
    fast, slow = problem("fast", REFERENCE, Test("f(3)", "3")), problem("slow", SLOW_REFERENCE, Test("f(3)", "3"))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        limits = reference_limits([fast, slow], sandbox)
        assert limits["fast"] < limits["slow"]
        assert limits["fast"] >= 0.1
        verdicts = grade([(fast, "def f(n):\n    while True: pass\n")], sandbox, hidden=True, limits=limits)
    assert verdicts[0].outcome == Outcome.TIMEOUT
    assert verdicts[0].cpu_seconds < limits["slow"] + 1.0


@pytest.mark.slow
def test_all_mbpp_references_pass() -> None:
    path = os.environ.get("PRM_JAX_MBPP")
    if not path:
        pytest.skip("PRM_JAX_MBPP names no file")
    problems = MbppSource(path, ("prompt", "test", "validation", "train")).load()
    # One reference needs seconds; all others are far below the usual limit.
    limits = {problem.id: REFERENCE_CPU_SECONDS for problem in problems}
    with Sandbox() as sandbox:
        verdicts = grade([(problem, problem.reference) for problem in problems], sandbox, hidden=True, limits=limits)
    failures = {p.id: v for p, v in zip(problems, verdicts, strict=True) if v.outcome != Outcome.PASSED}
    assert len(problems) == 974
    assert failures == {}


def test_a_limit_follows_the_reference_between_two_bounds():
    assert cpu_limit(0.001, factor=20.0, minimum=0.1) == 0.1
    assert cpu_limit(0.05, factor=20.0, minimum=0.1) == 1.0
    assert cpu_limit(1.0, factor=20.0, minimum=0.1) == MAX_CPU_SECONDS
    assert cpu_limit(6.0, factor=20.0, minimum=0.1) == 12.0
