"""Problems graded through the sandbox; the references of MBPP."""

from __future__ import annotations

import ast
import json
import os
import time
from pathlib import Path

import pytest

from prm_jax.execution.grade import grade, program_for, reference_limits
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome
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


def test_limits_follow_the_reference() -> None:
    fast, slow = problem("fast", REFERENCE, Test("f(3)", "3")), problem("slow", SLOW_REFERENCE, Test("f(3)", "3"))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        limits = reference_limits([fast, slow], sandbox)
        assert limits["fast"] < limits["slow"]
        assert limits["fast"] >= 0.1
        verdicts = grade([(fast, "def f(n):\n    while True: pass\n")], sandbox, hidden=True, limits=limits)
    assert verdicts[0].outcome == Outcome.TIMEOUT
    assert verdicts[0].cpu_seconds < limits["slow"] + 1.0


def _mbpp(path: str) -> list[Problem]:
    problems = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row["code"].replace("\r\n", "\n").replace("\t", "    ")
        tests = []
        for statement in row["test_list"]:
            check = ast.parse(statement.strip()).body[0]
            assert isinstance(check, ast.Assert)
            call, expected = check.test, None
            if isinstance(call, ast.Compare) and isinstance(call.ops[0], ast.Eq):
                try:
                    ast.literal_eval(call.comparators[0])
                    expected = ast.unparse(call.comparators[0])
                except ValueError:
                    pass
            # Its set-up code uses the program's own classes, so it has to run after the program.
            setup = (row.get("test_setup_code") or "").replace("\r\n", "\n")
            if expected is None or setup:
                tests.append(Test(f"{setup}\n{statement.strip()}", None))
            elif isinstance(call, ast.Compare):
                tests.append(Test(ast.unparse(call.left), expected))
        problems.append(Problem(f"mbpp/{row['task_id']}", "mbpp", "", "", "", text, tuple(tests)))
    return problems


@pytest.mark.slow
def test_all_mbpp_references_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    path = os.environ.get("PRM_JAX_MBPP")
    if not path:
        pytest.skip("PRM_JAX_MBPP names no file")
    problems = _mbpp(path)
    start, before = time.monotonic(), sum(os.times()[:4])
    with Sandbox(SandboxConfig(workers=2)) as sandbox:
        samples = [(problem, problem.reference) for problem in problems]
        verdicts = grade(samples, sandbox, hidden=True, limits={problem.id: 5.0 for problem in problems})
    wall = time.monotonic() - start
    # What two cores need that do nothing else, so that a loaded machine does not fail the test.
    cpu = sum(os.times()[:4]) - before
    failures = {p.id: v for p, v in zip(problems, verdicts, strict=True) if v.outcome != Outcome.PASSED}
    with capsys.disabled():
        print(f"\n{len(problems)} references, {len(failures)} fail, {wall:.1f} s, CPU {cpu:.1f} s")
        for identity, verdict in failures.items():
            print(f"  {identity}: {verdict.outcome} line {verdict.line} {verdict.exception} {verdict.passed}")
    assert len(failures) <= len(problems) // 100
    assert min(wall, cpu / 2) < 10
