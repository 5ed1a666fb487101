"""Generated calls: seeded, of the tests' kind, and with what all tests have in common."""

import ast

import pytest

from prm_jax.labelling.inputs import generate_calls
from prm_jax.problems.problem import Problem, Test


def problem(*calls: str, id: str = "p", **options) -> Problem:
    tests = tuple(Test(call, "0") for call in calls)
    return Problem(id, "hand", "train", "", "f", "", tests, **options)


def arguments(call: str) -> list:
    return [ast.literal_eval(each) for each in ast.parse(call, mode="eval").body.args]


def test_calls_are_fresh_and_follow_the_seed():
    made = generate_calls(problem("f([3, 1], 2)", "f([5], 4)"), 20, 0)
    assert made == generate_calls(problem("f([3, 1], 2)", "f([5], 4)"), 20, 0)
    assert len(made) == len(set(made)) == 20
    assert not {"f([3, 1], 2)", "f([5], 4)"} & set(made)
    assert made != generate_calls(problem("f([3, 1], 2)", "f([5], 4)"), 20, 1)
    assert made != generate_calls(problem("f([3, 1], 2)", "f([5], 4)", id="q"), 20, 0)


def test_a_number_that_is_a_length_stays_one():
    for call in generate_calls(problem("f([3, 1], 2)", "f([5, 6, 7], 3)"), 30, 0):
        items, count = arguments(call)
        assert count == len(items)


def test_lists_of_equal_length_stay_so():
    made = [arguments(call) for call in generate_calls(problem("f([3, 1], [1, 1])", "f([5], [7])"), 30, 0)]
    assert all(len(left) == len(right) for left, right in made)
    assert {len(left) for left, _ in made} > {1, 2}


def test_keywords_are_kept():
    made = generate_calls(problem("f([3, 1], reverse=True)", "f([4, 2], reverse=False)"), 10, 0)
    assert len(made) == 10
    assert all("reverse=True" in call or "reverse=False" in call for call in made)


def test_only_plain_calls_are_examples():
    assert generate_calls(problem("f(Pair(1, 2))", "g(1)", "f(1) + 1", "f(*[1])", "f()"), 10, 0) == []
    other = Problem(
        "p", "hand", "train", "", "f", "", (Test("(f(1),)", None, check="_0 > 2"), Test("f(1)", "1", False))
    )
    assert generate_calls(other, 10, 0) == []
    mixed = generate_calls(problem("f(5)", "f(6, 7)", "f(8)"), 10, 0)
    assert mixed and all(len(arguments(call)) == 1 for call in mixed)


@pytest.mark.parametrize("value", ["1e308", f"[1e308, 1{'0' * 400}]", "9" * 4300])
def test_numbers_that_outgrow_their_literals_are_not_asked_for(value):
    made = generate_calls(problem(f"f({value}, 2)"), 20, 0)
    assert bool(made) == (len(value) < 2000)  # Longer calls are not made at all.
    assert all(len(arguments(call)) == 2 for call in made)
