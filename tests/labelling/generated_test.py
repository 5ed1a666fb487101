"""Generated tests: the reference's values, without those that it does not give twice."""

from collections import Counter

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.generated import generate_tests
from prm_jax.problems.problem import Problem, Test


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as box:
        yield box


def made(sandbox, reference, *tests, count=12):
    problem = Problem("p", "hand", "train", "", "f", reference, tuple(Test(*test) for test in tests))
    counts = Counter()
    (found,) = generate_tests([problem], [0.5], sandbox, count, 0, counts)
    return found, counts


def test_the_reference_tells_what_is_expected(sandbox):
    found, counts = made(sandbox, "def f(x):\n    if x > 4:\n        return [x]\n    return [-x]\n", ("f(4)", "[-4]"))
    assert len(found.tests) == counts["kept"] > 5
    for test in found.tests:
        argument = int(test.call.removeprefix("f(").removesuffix(")"))
        assert test.expected == (f"[{argument}]" if argument > 4 else f"[{-argument}]")
        assert test.visible and not test.in_child
    assert found.lines >= {2, 3, 4}


def test_inputs_on_which_the_reference_raises_are_dropped(sandbox):
    found, counts = made(sandbox, "def f(x):\n    return [7, 8, 9, 10, 11][x]\n", ("f(4)", "11"))
    calls = {test.call for test in found.tests}
    assert calls and calls <= {"f(1)", "f(2)", "f(3)"}
    assert counts["without a value"] == counts["made"] - len(calls) > 0


def test_values_that_depend_on_the_hash_seed_or_on_earlier_calls_are_dropped(sandbox):
    found, counts = made(sandbox, "def f(x):\n    return list(set(x))\n", ("f('abcdefgh')", "[]"))
    assert counts["not deterministic"] > 3
    found, counts = made(sandbox, "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)\n", ("f(1)", "1"))
    assert len(found.tests) <= 1 and counts["not deterministic"] > 3


def test_fractions_are_compared_with_a_tolerance_or_not_at_all(sandbox):
    found, _ = made(sandbox, "def f(x):\n    return x / 3\n", ("f(1)", "0.3"))
    assert {test.check for test in found.tests if test.call == "(f(2),)"} == {
        "isclose(_0, 0.6666666666666666, rel_tol=1e-09)"
    }
    found, counts = made(sandbox, "def f(x):\n    return {'a': [x / 64]}\n", ("f(1)", "0"))
    assert not found.tests and counts["inexact"] == counts["made"]


def test_a_problem_without_plain_calls_has_none(sandbox):
    found, counts = made(sandbox, "def f(x):\n    return x\n", ("f(len('a'))", "1"))
    assert found.tests == () and +counts == {"problems without": 1} and found.lines == frozenset()
