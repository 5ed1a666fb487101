"""Cost against the reference: by hand on made-up traces, and in the sandbox on programs whose order is known."""

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import CallTrace, Outcome, Program, TraceEvent, Verdict
from prm_jax.problems.problem import Problem, Test
from prm_jax.quality.cost import cost, cost_by_size


def verdict(*lines, cpu_seconds=0.0, cut=()):
    """A verdict whose calls executed so many lines; None for a call that did not happen."""
    event = TraceEvent(1, 0, ())
    traces = tuple(None if n is None else CallTrace((event,) * n, index not in cut) for index, n in enumerate(lines))
    return Verdict(Outcome.PASSED, traces=traces, cpu_seconds=cpu_seconds)


def test_the_formulas_by_hand():
    # Twice the lines on the small test, four times on the large one.
    found = cost(verdict(4, 80, cpu_seconds=0.005), verdict(2, 20, cpu_seconds=0.001))
    assert found.lines == pytest.approx(22 / 84)
    assert found.growth == pytest.approx(2 / 4)
    assert found.cpu == pytest.approx(0.002 / 0.006)


def test_cheaper_than_the_reference_is_as_good_as_the_reference():
    found = cost(verdict(2, 5), verdict(4, 30, cpu_seconds=1.0))
    assert (found.lines, found.growth, found.cpu) == (1.0, 1.0, 1.0)


def test_what_cannot_be_compared_is_left_out():
    reference = verdict(3, 10, 400, cut={2})
    assert cost(verdict(3, 20, 400, cut={2}), reference).lines == pytest.approx(13 / 23)
    assert cost(verdict(3, None, None), reference).lines == 1.0
    # A cut trace counts with the lines that it has.
    assert cost(verdict(3, 400, 1, cut={1}), reference).lines == pytest.approx(13 / 403)
    assert cost(verdict(None, None, 400), reference) is None
    assert cost(Verdict(Outcome.PASSED), reference) is None


@pytest.mark.parametrize("lines", [(0, 20, 9), (3, 0, 9), (0, 0, None)])
def test_a_program_that_ends_its_own_trace_is_as_dear_as_can_be(lines):
    ended = {index for index, each in enumerate(lines) if each == 0}
    found = cost(verdict(*lines, cut=ended), verdict(3, 10, 400, cut={2}))
    assert (found.lines, found.growth) == (0.0, 0.0)
    # Nothing ran: `f` is not the program's own.
    assert cost(verdict(0, 0, 0), verdict(3, 10, 400, cut={2})).lines == 1.0


LINEAR = "def count(items):\n    total = 0\n    for item in items:\n        total += 1\n    return total\n"
SQUARE = """\
def count(items):
    total = 0
    for item in items:
        for other in items:
            total += item is other
    return total
"""


def test_a_program_of_a_higher_order_is_dearer_and_grows():
    tests = (Test("count([1, 2])", "2"), Test("count(list(range(12)))", "12"))
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        linear, square = sandbox.run([Program(text, tests, trace=True) for text in (LINEAR, SQUARE)])
    assert linear.outcome == square.outcome == Outcome.PASSED
    found = cost(square, linear)
    assert found.lines < 0.5 and found.growth < 0.5
    assert cost(linear, square).lines == cost(linear, linear).growth == 1.0


COMPREHENSION = "def count(items):\n    return sum([1 for item in items for other in items if item is other])\n"
FAILING = LINEAR.replace("+= 1", "+= 2")


def counting(reference: str = LINEAR) -> Problem:
    tests = (Test("count(range(3))", "3"), Test("count([])", "0"), Test("count(range(12))", "12"))
    return Problem("count", "hand", "train", "Count.", "count", reference, tests)


def test_what_is_dear_on_large_inputs_only_is_seen_there():
    programs = [(text, counting()) for text in (SQUARE, COMPREHENSION, LINEAR, FAILING)]
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        square, comprehension, same, failing = cost_by_size(programs, sandbox)
    small, large = square
    assert (small.test.call, large.test.call) == ("count([])", "count(range(12))")
    assert small.lines == 1.0 and small.opcodes > 0.9
    assert large.lines < 0.15 and large.opcodes < 0.15
    # On one line, so that lines see nothing; instructions do.
    assert comprehension[1].lines == 1.0 and comprehension[1].opcodes < 0.15
    assert [(each.lines, each.opcodes) for each in same] == [(1.0, 1.0)] * 2
    assert all(0.0 < each.cpu <= 1.0 for pair in (square, comprehension, same) for each in pair)
    assert failing is None


def test_ending_the_trace_or_choking_it_with_values_is_not_cheap():
    ends = SQUARE.replace("    total = 0", "    total = __import__('sys').settrace(None) or 0")
    chokes = SQUARE.replace("    total = 0", "    total, large = 0, [[0] * 1500 for _ in range(2)]")
    problem = counting()
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        tests = problem.visible_tests
        linear, *found = sandbox.run([Program(text, tests, trace=True) for text in (LINEAR, ends, chokes)])
        (sizes,) = cost_by_size([(ends, problem)], sandbox)
    ended, choked = (cost(each, linear) for each in found)
    assert (ended.lines, ended.growth) == (0.0, 0.0)
    assert 0.0 < choked.lines < 0.5
    assert [each.lines for each in sizes] == [0.0, 0.0]


def test_a_reference_that_is_too_long_to_be_counted_is_no_measure():
    problem = counting()
    long = Problem(**{**vars(problem), "tests": (Test("count(range(200_000))", "200000"),)})
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        (sizes,) = cost_by_size([(LINEAR, long)], sandbox)
        assert cost_by_size([(LINEAR, counting(FAILING))], sandbox) == [None]
    assert [(each.lines, each.opcodes) for each in sizes] == [(None, None)] * 2
