"""A folder knows its problems: others are refused by name, and the same ones come in its own order."""

import dataclasses

import pytest
from etils import epath

from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem, Test
from prm_jax.stages.problem_record import as_recorded, write_record


def problem(number: int, **fields) -> Problem:
    tests = (Test(f"f({number})", "1"),)
    return dataclasses.replace(Problem(f"p/{number}", "toy", "train", f"Ask {number}.", "f", "", tests), **fields)


@pytest.fixture
def folder(tmp_path) -> epath.Path:
    write_record(epath.Path(tmp_path), [problem(1), problem(2)])
    return epath.Path(tmp_path)


def test_problems_come_in_the_order_of_the_record(folder):
    assert as_recorded(folder, [problem(2), problem(1)]) == (problem(1), problem(2))


def test_where_a_problem_comes_from_is_not_what_it_is(folder):
    moved = problem(1, provenance="line 2", split="test", difficulty=3, demonstration="pass\n")
    assert as_recorded(folder, [moved, problem(2)]) == (moved, problem(2))


@pytest.mark.parametrize(
    ("problems", "told"),
    [
        ([problem(0), problem(1), problem(2)], r"1 differ: p/0 has joined them"),
        ([problem(2)], r"1 differ: p/1 is gone"),
        ([problem(1), problem(2, tests=(Test("f(2)", "3"),))], r"1 differ: p/2 was rewritten"),
        ([problem(1, prompt="Other."), problem(2, reference="pass\n")], r"2 differ: p/1 was rewritten"),
    ],
)
def test_other_problems_are_refused_by_the_first_that_differs(folder, problems, told):
    with pytest.raises(UserError, match=f"^{folder} was made from other problems .*{told}.*another --run_dir$"):
        as_recorded(folder, problems)


def test_a_folder_without_a_record_is_not_trusted(tmp_path):
    with pytest.raises(UserError, match=r"has no problems\.json: copy the whole folder"):
        as_recorded(epath.Path(tmp_path), [problem(1)])
