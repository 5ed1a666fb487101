"""Splitting asserts."""

import pytest

from prm_jax.problems.asserts import as_assert, called_name, split_assert


@pytest.mark.parametrize(
    ("statement", "call", "expected"),
    [
        ("assert f([1, 2], 3) == [3]", "f([1, 2], 3)", "[3]"),
        ('assert f("é == 1") == (1, -2.5), "message"', 'f("é == 1")', "(1, -2.5)"),
        ("assert f(g(1), x=None) == {'a': {1}}", "f(g(1), x=None)", "{'a': {1}}"),
        ("assert (f(1)) == True\n", "f(1)", "True"),
        ("assert f(\n  1) == 2", "f(1)", "2"),
    ],
)
def test_split(statement, call, expected):
    test = split_assert(statement, visible=False)
    assert (test.call, test.expected, test.visible) == (call, expected, False)


@pytest.mark.parametrize(
    "statement",
    ["assert f(1) == g(2)", "assert f(1).x != 2", "assert x < 2", "assert all(x for x in f(1))"],
)
def test_the_others_stay_whole(statement):
    test = split_assert(statement)
    assert test.in_child and test.call == statement and test.visible


@pytest.mark.parametrize(
    "statement",
    [
        "assert f([1, 2], 3) == [3]",
        "assert (f(1) or f(2)) == 4",
        "assert not f(1)",
        "assert abs(f(1) - 2.5) < 1e-06 and f(2) in [3]",
        "assert f(1) == g(2)",
    ],
)
def test_a_test_is_an_assert_again(statement):
    assert as_assert(split_assert(statement)) == statement


@pytest.mark.parametrize("text", ["f(1) == 2", "assert f(1) ==", "assert f(1) == 2; g()", ""])
def test_no_assert(text):
    with pytest.raises(ValueError):
        split_assert(text)


def test_called_name_is_the_programs_own():
    assert called_name("assert set(f(1)) == {1}", {"f", "g"}) == "f"
    assert called_name("assert set([1]) == {1}", {"f"}) is None
