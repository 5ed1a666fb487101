"""Which problem serves which end: the set decides the split, and nothing trained on is ever evaluated on."""

import dataclasses

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.jsonl import JsonlSource
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.stages.experiment import ProblemSets
from prm_jax.stages.problem_sets import find_problem, problems_of

TRAIN = SyntheticSource("train", 6, 2, 2)
LONGER = SyntheticSource("train", 6, 4, 4)
VALIDATION = SyntheticSource("validation", 4, 2, 2)
TEST = SyntheticSource("test", 5, 2, 2)
SETS = ProblemSets(demonstrations=(TRAIN,), practice=(LONGER,), validation=(VALIDATION,), evaluation=(TEST,))


def ids(sets, part):
    return [problem.id for problem in problems_of(sets, part)]


def test_the_set_decides_the_split():
    sets = ProblemSets(demonstrations=(TEST,), evaluation=(TRAIN,))
    assert {problem.split for problem in problems_of(sets, "demonstrations")} == {"train"}
    assert {problem.split for problem in problems_of(sets, "evaluation")} == {"test"}
    assert {problem.split for problem in problems_of(SETS, "validation")} == {"validation"}


def test_empty_sets_fall_back_on_what_is_trained_on():
    sets = ProblemSets(demonstrations=(TRAIN,), evaluation=(TEST,))
    assert ids(sets, "practice") == ids(sets, "labelled") == ids(sets, "demonstrations")
    assert ids(SETS, "labelled") == ids(SETS, "practice") != ids(SETS, "demonstrations")


@pytest.mark.parametrize("trained", ["demonstrations", "practice", "labelled"])
@pytest.mark.parametrize("held_out", ["validation", "few_shot", "evaluation"])
def test_a_problem_on_both_sides_is_refused(trained, held_out):
    # The first problems of the held-out set are also trained on.
    sets = ProblemSets(**{"demonstrations": (TRAIN,), trained: (SyntheticSource("test", 3, 2, 2),), held_out: (TEST,)})
    first = SyntheticSource("test", 3, 2, 2).load()[0].id
    for part in ("demonstrations", held_out):
        with pytest.raises(UserError, match=rf"^3 {held_out} problems are also trained on \({first}.*different splits"):
            problems_of(sets, part)


@pytest.mark.parametrize("judged", ["few_shot", "evaluation"])
def test_no_problem_chooses_checkpoints_and_judges_policies(judged):
    with pytest.raises(UserError, match=f"^5 {judged} problems are also used for validation "):
        problems_of(ProblemSets(demonstrations=(TRAIN,), validation=(TEST,), **{judged: (TEST,)}), judged)


def test_few_shot_prompts_are_of_the_problems_that_are_evaluated():
    problems_of(dataclasses.replace(SETS, few_shot=(TEST,)), "evaluation")
    fewer = SyntheticSource("test", 4, 2, 2)
    left_out = TEST.load()[4].id
    for judged in ({"few_shot": (fewer,)}, {"few_shot": (TEST,), "evaluation": (fewer,)}):
        with pytest.raises(UserError, match=rf"^few_shot and evaluation differ in 1 problems \({left_out}\)"):
            problems_of(dataclasses.replace(SETS, **judged), "validation")


def test_a_set_is_loaded_alone_where_the_sets_are_known_to_lie_apart():
    elsewhere = JsonlSource("missing.jsonl")
    sets = ProblemSets(demonstrations=(TRAIN,), validation=(VALIDATION,), evaluation=(elsewhere,))
    assert problems_of(sets, "validation", apart=True) == problems_of(SETS, "validation")
    assert [problem.id for problem in problems_of(sets, "practice", apart=True)] == ids(SETS, "demonstrations")
    with pytest.raises(UserError, match="missing.jsonl"):
        problems_of(sets, "validation")


def test_an_empty_set_that_is_asked_for_is_named():
    with pytest.raises(UserError, match=r"no evaluation problems: bind ProblemSets\.evaluation"):
        problems_of(ProblemSets(demonstrations=(TRAIN,)), "evaluation")


def test_a_problem_is_found_in_any_set():
    for part in ("demonstrations", "practice", "validation", "evaluation"):
        for wanted in ids(SETS, part):
            assert find_problem(SETS, wanted).id == wanted
    with pytest.raises(UserError, match=r"no problem 'synthetic/nope' in this experiment; it has 21, for example"):
        find_problem(SETS, "synthetic/nope")
