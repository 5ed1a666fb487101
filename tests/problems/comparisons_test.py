"""Comparisons made from the parsed test agree with Python's own, and what cannot be made stays whole."""

import ast
import time

import pytest

from prm_jax.problems.asserts import split_assert
from prm_jax.problems.comparisons import FUNCTIONS, holds

SPLIT = [
    ("not f(1)", "(f(1),)", [0, 1, [], [0], None]),
    ("f(1)", "(f(1),)", [0, 1, "", "x"]),
    ("f(1) is True", "(f(1),)", [True, 1]),
    ("f(1) != 2", "(f(1),)", [2, 2.0, 3, "2"]),
    ("abs(f(1) - 2.5) < 1e-6", "(f(1),)", [2.5, 2.5000001, 2.6, "2.5", [2.5], True]),
    ("abs(f(1) - 2.5) < 10 ** -6", "(f(1),)", [2.5, 2.6]),
    ("math.isclose(f(1), math.pi, rel_tol=1e-3)", "(f(1),)", [3.1416, 3.2, None]),
    ("isclose(0.3, f(1), abs_tol=0.01)", "(f(1),)", [0.305, 0.32]),
    ("set(f(1)) == {1, 2}", None, []),
    ("set(f(1)) == set([1, 2])", "(f(1),)", [[2, 1], (1, 2, 2), [1], 5]),
    ("sorted(f(1), reverse=True) == sorted([1, 2])[:]", None, []),
    ("sorted(f(1)) == sorted([2, 1])", "(f(1),)", [[2, 1], [1, 1, 2], "12", None]),
    ("len(f(1)) > 2 and f(1)", "(f(1), f(1))", [[1, 2, 3], [1], 7]),
    ("0 <= f(1) < 3", "(f(1),)", [0, 3, -1, 2.5, "1"]),
    ("f(1) in (1, 2) or f(1) is None", "(f(1), f(1))", [1, None, 3]),
    ("f(1) == [float('inf'), -1, {'a': (2,)}]", "(f(1),)", [[float("inf"), -1, {"a": (2,)}], [1]]),
    ("isinstance(f(1), int)", "(f(1),)", [1, 1.0]),
    ("f(1) + f(2) == [1] + [2]", "(f(1), f(2))", [[1, 2], []]),
    ("-f(1) == -3", None, []),
    ("f(1) == f(2)", "(f(1), f(2))", [1, "x"]),
    ("round(f(1), 2) == round(2.675, 2)", "(f(1),)", [2.675, 2.68, 3]),
    ("f(Tree(1)) == [1] * 3", "(f(Tree(1)),)", [[1, 1, 1]]),
]


@pytest.mark.parametrize(("text", "call", "values"), SPLIT)
def test_the_parent_finds_what_python_finds(text, call, values):
    test = split_assert(f"assert {text}")
    if call is None:  # Equality with a literal, or outside the language.
        assert test.check is None
        return
    assert (test.call, test.expected, test.in_child) == (call, None, False)
    parts = len(ast.parse(call, mode="eval").body.elts)
    for value in values:
        names = {"f": lambda *_, value=value: value, "Tree": lambda *_: None}
        try:
            python = bool(eval(text, {**names, "math": __import__("math"), "isclose": FUNCTIONS["isclose"]}))
        except TypeError:
            python = False
        if text.startswith("f(Tree"):  # A product of what is no number is not made.
            python = False
        assert holds(test.check, (value,) * parts) == python, value


@pytest.mark.parametrize(
    "text",
    [
        "f(1) == g(1)",
        "isclose(f(1), math.sqrt(2))",
        "all(x > 0 for x in f(1))",
        "f(1)[0] == g",
        "f(1).name != 'x'",
        "math.floor(f(1)) != 2",
        "len([1]) < 2",
        "x < 2",
        "max(f(1), key=len) != 2",
        "2 ** f(1) < 9",
        "2 ** 100000 > f(1)",
        "round(2.5, f(1)) > 2",
        "(lambda: f(1))() > 2",
        "f'{f(1)}' > 'a'",
        "{**f(1)} != {}",
        "[*f(1)] != []",
    ],
)
def test_what_cannot_be_split_runs_in_the_child(text):
    test = split_assert(f"assert {text}")
    assert test.in_child and test.call == f"assert {text}"


def test_hostile_values_cost_little_and_prove_nothing():
    text, number = "x" * 10**6, 1 << (1 << 20)
    start = time.process_time()
    for check in ("_0 * 1000000 == 1", "_0 % 5 == 7", "_0 * _0 < 5", "_0 + 'a' == 1", "int(_0) == 1", "str(_0) == ''"):
        for value in (text, "%999999999d", [1] * 10**5, number, float("nan"), object(), None):
            assert not holds(check, (value,))
    assert time.process_time() - start < 1
