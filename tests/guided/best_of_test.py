import math

import pytest

from prm_jax.guided.best_of import best_of, by_steps, program_score
from prm_jax.problems.problem import Problem

PROBLEMS = [Problem(name, "hand", "test", f"prompt of {name}", "f", "", ()) for name in "ab"]


def test_the_best_of_more_candidates_are_given_best_first():
    asked = []

    def complete(problems, samples, seed):
        asked.append((samples, seed))
        return [[f"{problem.id}{number}" for number in range(samples)] for problem in problems]

    def judge(problems, candidates):
        assert [problem.id for problem in problems] == ["a", "b"]
        return [[float(text in ("a3", "b1", "b2")) for text in texts] for texts in candidates]

    guided = best_of(complete, judge, 4)
    assert guided(PROBLEMS, 1, 7) == [["a3"], ["b1"]]  # Of equals the first.
    assert guided(PROBLEMS, 3, 7) == [["a3", "a0", "a1"], ["b1", "b2", "b0"]]
    assert [len(texts) for texts in guided(PROBLEMS, 6, 8)] == [6, 6]
    assert asked == [(4, 7), (4, 7), (6, 8)]


@pytest.mark.parametrize(("aggregate", "expected"), [("min", 0.2), ("mean", 0.5), ("last", 0.7)])
def test_a_programs_score_ignores_steps_without_one(aggregate, expected):
    assert program_score([0.6, math.nan, 0.2, 0.7, math.nan], aggregate) == pytest.approx(expected)
    assert program_score([math.nan], aggregate) == program_score([], aggregate) == 0.0


def test_programs_are_judged_with_the_prompt_of_their_problem():
    def score_steps(pairs):
        return [(0.9, float(prompt[-1] == text[0])) for prompt, text in pairs]

    judge = by_steps(score_steps, "min")
    cut = by_steps(lambda pairs: [(0.9, math.nan), (0.3, 0.2)], "min")
    assert cut(PROBLEMS[:1], [["a", "b"]]) == [[0.0, 0.2]]
    assert judge(PROBLEMS, [["a", "b"], ["a", "b", "b"]]) == [[0.9, 0.0], [0.0, 0.9, 0.9]]
