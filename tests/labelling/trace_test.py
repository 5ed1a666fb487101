"""The first wrong step of hand-made candidates, judged against hand-made references in the real sandbox."""

import textwrap

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.labelling.trace import FirstError, first_wrong_step
from prm_jax.problems.problem import Test

REFERENCE = """
def solve(xs):
    xs = [x + 1 for x in xs]
    total = sum(xs)
    total = total * 2
    return str(total)
"""
LOOP = """
def solve(xs):
    out = []
    for x in xs:
        if x > 2:
            out.append(x * x)
    return sorted(out)
"""
HELPER = """
def double(x):
    return x * 2

def solve(xs):
    total = 0
    for x in xs:
        total += double(x)
    return total
"""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as box:
        yield box


def judge(sandbox: Sandbox, reference: str, candidate: str) -> FirstError:
    reference, candidate = (textwrap.dedent(text).lstrip() for text in (reference, candidate))
    namespace: dict = {}
    exec(reference, namespace)
    calls = ["solve([3, 1, 4])", "solve([5, 9, 2, 6])"]
    tests = tuple(Test(call, repr(eval(call, namespace))) for call in calls)
    programs = [Program(text, tests, trace=True, cpu_seconds=0.2) for text in (candidate, reference)]
    mine, theirs = sandbox.run(programs)
    assert theirs.outcome is Outcome.PASSED
    return first_wrong_step(candidate, mine, reference, theirs)


def body(*lines: str) -> str:
    return "def solve(xs):\n" + "".join(f"    {line}\n" for line in lines)


CASES = {
    "passes": (REFERENCE, body("return str(2 * sum(xs) + 2 * len(xs))"), -1),
    "wrong operand": (
        REFERENCE,
        body("xs = [x + 2 for x in xs]", "total = sum(xs)", "total = total * 2", "return str(total)"),
        1,
    ),
    "wrong operand later": (
        REFERENCE,
        body("xs = [x + 1 for x in xs]", "total = sum(xs)", "total = total * 3", "return str(total)"),
        3,
    ),
    "steps swapped": (
        REFERENCE,
        body("xs = [x + 1 for x in xs]", "total = len(xs) * 2", "total = total + sum(xs)", "return str(total)"),
        2,
    ),
    "missing step": (REFERENCE, body("xs = [x + 1 for x in xs]", "total = sum(xs)", "return str(total)"), 3),
    "missing return": (
        REFERENCE,
        body("xs = [x + 1 for x in xs]", "total = sum(xs)", "total = total * 2", "str(total)"),
        5,
    ),
    "another surface form, then wrong": (
        REFERENCE,
        body("ys = []", "for y in xs:", "    ys.append(1 + y)", "result = sum(ys) * 2", "return result"),
        5,
    ),
    "a detour that comes back": (
        REFERENCE,
        body("ys = xs[::-1]", "ys = [y + 1 for y in ys[::-1]]", "total = sum(ys)", "return str(total * 4)"),
        4,
    ),
    "raises": (
        REFERENCE,
        body("xs = [x + 1 for x in xs]", "total = sum(xs)", "total = total + xs", "return str(total)"),
        3,
    ),
    "unknown name": (REFERENCE, body("xs = [x + 1 for x in xs]", "total = sum(ys)", "return str(total)"), 2),
    "syntax error": (REFERENCE, body("xs = [x + 1 for x in xs]", "total = = 2", "return str(total)"), 2),
    "loop body": (
        LOOP,
        body("out = []", "for x in xs:", "    if x > 2:", "        out.append(x + x)", "return sorted(out)"),
        4,
    ),
    "loop condition never true": (
        LOOP,
        body("out = []", "for x in xs:", "    if x > 20:", "        out.append(x * x)", "return sorted(out)"),
        3,
    ),
    "return inside the loop": (
        LOOP,
        body("out = []", "for x in xs:", "    out.append(x * x)", "    return out"),
        4,
    ),
    "right loop, wrong return": (
        LOOP,
        body("res = []", "for y in xs:", "    if 2 < y:", "        res += [y ** 2]", "return res[0]"),
        5,
    ),
    "case": (
        REFERENCE,
        body(
            "xs = [x + 1 for x in xs]",
            "total = sum(xs)",
            "match len(xs):",
            "    case 0:",
            "        total = 0",
            "    case _:",
            "        total = total * 4",
            "return str(total)",
        ),
        7,
    ),
    "case that guards": (
        REFERENCE,
        body("match xs:", "    case []:", "        return '0'", "return str(sum(xs))"),
        4,
    ),
    "case never met": (
        LOOP,
        body("out = []", "match xs:", "    case [x]:", "        out.append(x * x)", "return sorted(out)"),
        3,
    ),
    "group of exceptions": (
        REFERENCE,
        body(
            "xs = [x + 1 for x in xs]",
            "total = sum(xs)",
            "try:",
            "    total = total * 4",
            "except* ValueError:",
            "    pass",
            "return str(total)",
        ),
        4,
    ),
    "endless loop": (LOOP, body("i = 0", "while i < len(xs):", "    j = 1", "return xs"), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_first_wrong_step(sandbox, name):
    reference, candidate, step = CASES[name]
    assert judge(sandbox, reference, candidate).step == step


def test_the_rest_of_a_wrong_loop_stays_open(sandbox):
    reference, candidate, _ = CASES["loop body"]
    assert judge(sandbox, reference, candidate).neutral == {2, 3}


def test_python_names_the_step(sandbox):
    for name in ("unknown name", "syntax error"):
        reference, candidate, _ = CASES[name]
        assert judge(sandbox, reference, candidate).method == "diagnostics"
    assert judge(sandbox, REFERENCE, CASES["raises"][1]).method == "trace"


def test_a_wrong_helper_leaves_the_blame_open(sandbox):
    error = judge(sandbox, HELPER, HELPER.replace("x * 2", "x * 3"))
    assert error.step == -1
    assert len(error.neutral) == 9  # Eight lines and the end: nothing is labelled.


def test_a_right_helper_takes_no_blame(sandbox):
    assert judge(sandbox, HELPER, HELPER.replace("total += double(x)", "total -= double(x)")).step == 6


def test_a_nested_helper_is_judged_as_any_other(sandbox):
    nested = body("def f(x):", "    return x * 2", "ys = [f(x) for x in xs]", "return sum(ys)")
    assert judge(sandbox, nested, nested.replace("x * 2", "x * 3")).step == -1
    assert judge(sandbox, nested, nested.replace("f(x) for x in xs", "-f(x) for x in xs")).step == 3


def test_values_that_are_not_plain_data_decide_nothing(sandbox):
    candidate = body("ys = map(str, xs)", "total = len(xs) - 7", "return total")
    assert judge(sandbox, REFERENCE, candidate).step == 2


def test_an_exception_inside_a_helper_marks_its_line(sandbox):
    assert judge(sandbox, HELPER, HELPER.replace("x * 2", "x[0]")).step == 1


def test_a_recursion_leaves_the_blame_open(sandbox):
    reference = """
        def solve(xs):
            if not xs:
                return 0
            return xs[0] + solve(xs[1:])
    """
    assert judge(sandbox, reference, reference.replace("return 0", "return 1")).step == -1


def test_unknown_and_memory_label_nothing():
    for outcome in (Outcome.UNKNOWN, Outcome.MEMORY, Outcome.KILLED):
        error = first_wrong_step(body("return 1"), Verdict(outcome), body("return 2"), Verdict(Outcome.PASSED))
        assert error == FirstError(-1, frozenset({0, 1, 2}))
