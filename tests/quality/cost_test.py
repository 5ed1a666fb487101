"""Cost against the reference: by hand on made-up traces, and in the sandbox on programs whose order is known."""

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import CallTrace, Outcome, Program, TraceEvent, Verdict
from prm_jax.problems.problem import Test
from prm_jax.quality.cost import cost


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
