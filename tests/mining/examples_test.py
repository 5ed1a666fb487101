"""What docstrings show, as tests: a call and a literal."""

import textwrap

import pytest

from prm_jax.mining.examples import find_examples
from prm_jax.problems.problem import Test


def pairs(docstring: str, name: str = "f") -> list[tuple[str, str]]:
    return [(test.call, test.expected) for test in find_examples(textwrap.dedent(docstring), name).tests]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (">>> f(2)\n4", [("f(2)", "4")]),
        (">>> f(2)\n4\n>>> f(3)\n9", [("f(2)", "4"), ("f(3)", "9")]),
        (">>> f(2)\n4\n>>> f(2)\n4", [("f(2)", "4")]),
        (">>> x = [1]\n>>> y = f(x)\n>>> y[0]\n2", [("f([1])[0]", "2")]),
        (">>> module.f('a')\n'b'", [("f('a')", "'b'")]),
        (">>> list(f(x) for x in (1, 2))\n[1, 4]", [("list((f(x) for x in (1, 2)))", "[1, 4]")]),
        (">>> f(1)\nFraction(1, 2)", [("repr(f(1))", "'Fraction(1, 2)'")]),
        (">>> print(f(1))\na b", [("str(f(1))", "'a b'")]),
        (">>> f(2) == 4\nTrue", [("f(2)", "4")]),
        (">>> f(2)\nTrue", [("f(2)", "True")]),
        (">>> assert f(2) == 4", [("f(2)", "4")]),
        (">>> print(2, f(2))\n2 4", [("' '.join(map(str, [2, f(2)]))", "'2 4'")]),
        (">>> for x in f(2):\n...     print(x)\n0\n1", [("'\\n'.join((str(x) for x in f(2)))", r"'0\n1'")]),
        (">>> a, b = f(2)\n>>> b\n4", [("f(2)[1]", "4")]),
        (">>> x = 3\n>>> f(lambda x: x, [x for x in 'ab'])\n4", [("f(lambda x: x, [x for x in 'ab'])", "4")]),
    ],
)
def test_doctests(docstring, expected):
    assert pairs(docstring) == expected


@pytest.mark.parametrize(
    "line", ["f(2) == 4", "f(2) -> 4", "f(2) => 4", "f(2)  # 4", "``f(2)`` returns 4", "* f(2) → 4", "f(2) returns 4."]
)
def test_lines_of_prose(line):
    assert pairs(f"Squares.\n\n    {line}\n") == [("f(2)", "4")]


@pytest.mark.parametrize(
    "docstring",
    [
        ">>> g(2)\n4",  # Another function.
        ">>> f(2)",  # No value.
        ">>> f(2)\n<generator object f at 0x7f>",
        ">>> f(2)\n[1, 2, ...]",
        ">>> f(2)\nTraceback (most recent call last):\nValueError",
        ">>> f(2)\none or two: three",
        ">>> f(2) == g(2)\nTrue",  # The comparison would run beside the program.
        ">>> f(\n4",
        "f(x) == 4",  # A formula, not an example.
        "f(2) is four",
        ">>>f(2)\n4",  # The parser of doctests refuses it.
    ],
)
def test_what_is_no_example(docstring):
    assert pairs(docstring) == []


@pytest.mark.parametrize(
    ("docstring", "check"),
    [
        (">>> f(2) is None\nTrue", "_0 is None"),
        (">>> f(2) > 3\nFalse", "not _0 > 3"),
        (">>> abs(f(2) - 4) < 0.1\nTrue", "abs(_0 - 4) < 0.1"),
        (">>> assert not f(2)", "not _0"),
    ],
)
def test_other_comparisons_are_made_in_the_parent(docstring, check):
    assert find_examples(docstring, "f").tests == (Test("(f(2),)", None, check=check),)


@pytest.mark.parametrize("loop", ["for x in f(2):\n...     g(x)", "for x in f(2):\n...     print(x, end='')"])
def test_a_loop_that_does_more_than_print_shows_no_value(loop):
    assert pairs(f">>> {loop}\n0\n1") == []


def test_a_call_forgets_what_the_variables_held():
    assert pairs(">>> x = [1]\n>>> x.append(2)\n>>> f(x)\n3") == [("f(x)", "3")]


def test_imports_and_helpers_are_kept_and_the_prose_is_what_is_left():
    docstring = textwrap.dedent("""\
        Applies g.

        >>> from math import sqrt
        >>> def half(x):
        ...     return x / 2
        >>> f(half, sqrt(4))
        1.0

        Nothing else.""")
    found = find_examples(docstring, "f")
    assert found.tests == (Test("f(half, sqrt(4))", "1.0"),)
    assert found.imports == ("from math import sqrt",)
    assert found.helpers == ("def half(x):\n    return x / 2",)
    assert found.prose.split() == ["Applies", "g.", "Nothing", "else."]


def test_expected_values_stay_literals_that_the_grader_takes():
    assert pairs(">>> f(1)\n{'a': (1, -2.5), 'b': {3}}") == [("f(1)", "{'a': (1, -2.5), 'b': {3}}")]
    assert pairs(">>> f(1)\n" + repr("x" * 2000)) == []
