"""What a trace says of each line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import CallTrace, Outcome, Program, Verdict
from prm_jax.problems.problem import Test


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, text: str, *tests: tuple[str, str]) -> Verdict:
    return sandbox.run([Program(text, tuple(Test(*test) for test in tests), cpu_seconds=0.1, trace=True)])[0]


def events(trace: CallTrace | None) -> list[tuple[int, int, dict[str, str]]]:
    assert trace is not None
    return [(event.line, event.depth, dict(event.changed)) for event in trace.events]


def test_bindings_mutations_and_returns(sandbox: Sandbox) -> None:
    text = "def f(x):\n    y = [x]\n    y.append(2)\n    if x:\n        x = {'k': y}\n    return y\n"
    verdict = run(sandbox, text, ("f(1)", "[1, 2]"), ("f(0)", "[0, 2]"))
    assert verdict.outcome == Outcome.PASSED
    assert events(verdict.traces[0]) == [
        (2, 0, {"y": "[1]"}),
        (3, 0, {"y": "[1, 2]"}),
        (4, 0, {}),
        (5, 0, {"x": "{'k': [1, 2]}"}),
        (6, 0, {"return": "[1, 2]"}),
    ]
    assert [line for line, _, _ in events(verdict.traces[1])] == [2, 3, 4, 6]
    assert verdict.executed_lines == {2, 3, 4, 5, 6}


def test_inner_calls_are_deeper_and_come_before_their_caller(sandbox: Sandbox) -> None:
    text = "def g(a):\n    a.append(1)\n\ndef f():\n    b = []\n    g(b)\n    return b\n"
    verdict = run(sandbox, text, ("f()", "[1]"))
    assert events(verdict.traces[0]) == [
        (5, 0, {"b": "[]"}),
        (2, 1, {"a": "[1]", "return": "None"}),
        (6, 0, {"b": "[1]"}),
        (7, 0, {"return": "[1]"}),
    ]


def test_comprehensions_and_lambdas_add_nothing(sandbox: Sandbox) -> None:
    text = (
        "def h(i):\n    return i\n\ndef f(n):\n    a = [h(i) for i in range(n)]\n    b = sorted(a, key=lambda v: -v)\n"
        "    return sum(x for x in b)\n"
    )
    trace = events(run(sandbox, text, ("f(2)", "1")).traces[0])
    assert trace == [
        (2, 1, {"return": "0"}),
        (2, 1, {"return": "1"}),
        (5, 0, {"a": "[0, 1]"}),
        (6, 0, {"b": "[1, 0]"}),
        (7, 0, {"return": "1"}),
    ]


def test_an_exception_is_no_return(sandbox: Sandbox) -> None:
    text = (
        "def g(x):\n    return 1 // x\n\ndef f(x):\n    try:\n        y = g(x)\n"
        "    except ZeroDivisionError:\n        y = 9\n    return y\n"
    )
    verdict = run(sandbox, text, ("f(0)", "9"), ("g(0)", "9"))
    assert (2, 1, {}) in events(verdict.traces[0])
    assert (8, 0, {"y": "9"}) in events(verdict.traces[0])
    assert events(verdict.traces[1]) == [(2, 0, {})]
    assert verdict.line == 2


def test_an_endless_loop_leaves_a_cut_trace(sandbox: Sandbox) -> None:
    verdict = run(sandbox, "def f(x):\n    while True:\n        x += 1\n", ("f(0)", "1"), ("f(0)", "1"))
    assert verdict.outcome == Outcome.TIMEOUT
    assert verdict.traces[0] is not None
    assert not verdict.traces[0].complete
    assert len(verdict.traces[0].events) == 400
    assert verdict.traces[1] is None
    assert verdict.executed_lines == {2, 3}


def test_lines_are_kept_after_the_cut(sandbox: Sandbox) -> None:
    verdict = run(
        sandbox, "def f(n):\n    for i in range(n):\n        pass\n    n = 1\n    return n\n", ("f(900)", "1")
    )
    assert verdict.outcome == Outcome.PASSED
    assert verdict.traces[0] is not None and not verdict.traces[0].complete
    assert verdict.executed_lines == {2, 3, 4, 5}


DEEP = "def f(x):\n    return f(x - 1) + 1 if x else 0\n"
LARGE = """
def f(n):
    a, b, c, d, e = ([k] * 1900 for k in range(5))
    g, h, i, j, k = ([k] * 1900 for k in range(5))
    for x in range(n):
        a[x] = x
    return a[-1]
"""
LONG = "def f(n):\n    a = ['x' * 10**6] * 1900\n    for x in range(n):\n        a[x] = ''\n    return 0\n"


@pytest.mark.parametrize(
    ("text", "sizes"), [(DEEP, (100, 10**6)), (LARGE, (300, 100)), (LONG, (300, 2))], ids=("deep", "large", "long")
)
def test_tracing_changes_no_verdict(sandbox: Sandbox, text: str, sizes: tuple[int, int]) -> None:
    tests = tuple(Test(f"f({size})", "100" if size == 100 and text == DEEP else "0") for size in sizes)
    programs = [Program(text, tests, cpu_seconds=0.1, trace=trace) for trace in (True, False)]
    traced, plain = sandbox.run(programs)
    assert (traced.outcome, traced.passed) == (plain.outcome, plain.passed)
    assert plain.outcome == (Outcome.RUNTIME_ERROR if text == DEEP else Outcome.PASSED)
    assert plain.traces == ()
    assert plain.executed_lines == frozenset()


def test_lines_are_told_where_values_are_too_many_to_look_into(sandbox: Sandbox) -> None:
    verdict = run(sandbox, LARGE, ("f(100)", "0"))
    (trace,) = verdict.traces
    assert trace is not None and not trace.complete
    assert [line for line, _, _ in events(trace)] == [3, 4, *[5, 6] * 100, 5, 7]
    seen = [bool(changed) for _, _, changed in events(trace)]
    assert seen[:3] == [True] * 3 and not any(seen[-100:])
    assert run(sandbox, LARGE, ("f(100)", "0")).traces == verdict.traces
    assert verdict.executed_lines == {3, 4, 5, 6, 7}


def test_lines_are_told_where_a_trace_is_too_long() -> None:
    text = "def f(a):\n    a += 'b'\n    a += 'c'\n    return 0\n"
    program = Program(text, (Test("f('a' * 150)", "0"), Test("f('')", "0")), trace=True)
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0, output_bytes=200)) as sandbox:
        long, short = sandbox.run([program])[0].traces
    assert events(long) == [(2, 0, {}), (3, 0, {}), (4, 0, {})] and not long.complete
    assert events(short)[0] == (2, 0, {"a": "'b'"}) and short.complete


@pytest.mark.parametrize(
    "ended",
    [
        "sys.settrace(None)",
        "sys.settrace(lambda *_: None)",
        "sys._getframe().f_trace = None",
        "del sys._getframe().f_trace",
    ],
)
def test_a_trace_that_its_program_ends_has_no_events(sandbox: Sandbox, ended: str) -> None:
    text = f"import sys\ndef f(x):\n    {ended}\n    x = 1\n    return x\n"
    verdict = run(sandbox, text, ("f(0)", "1"), ("1", "1"))
    assert verdict.outcome == Outcome.PASSED
    ended_trace, other = verdict.traces
    assert ended_trace == CallTrace((), complete=False)
    assert other == CallTrace((), complete=True)


def test_generators_and_exceptions_end_no_trace(sandbox: Sandbox) -> None:
    text = (
        "def g():\n    try:\n        yield 1\n        yield 2\n    finally:\n        pass\n\n"
        "def f():\n    suspended, closed = g(), g()\n    a = next(suspended) + next(closed)\n    closed.close()\n"
        "    try:\n        suspended.throw(ValueError)\n    except ValueError:\n        return a, list(g())\n"
    )
    verdict = run(sandbox, text, ("f()", "(2, [1, 2])"), ("next(g())", "1"))
    assert verdict.outcome == Outcome.PASSED
    assert all(trace is not None and trace.complete and trace.events for trace in verdict.traces)
