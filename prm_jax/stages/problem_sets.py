"""The problems of an experiment, by the end they serve.

The stages call `problems_of`; the set, not the source, decides a problem's split, and no problem serves two
of training, validation and evaluation.
"""

from __future__ import annotations

import dataclasses
import functools

from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem
from prm_jax.problems.sources import load_all
from prm_jax.stages.experiment import ProblemSets

SPLITS = {
    "demonstrations": "train",
    "practice": "train",
    "labelled": "train",
    "validation": "validation",
    "few_shot": "test",
    "evaluation": "test",
}


def problems_of(sets: ProblemSets, part: str) -> tuple[Problem, ...]:
    """The problems of one set; an empty `practice` is the demonstrations', an empty `labelled` the practice.

    Args:
      sets: the experiment's problems.
      part: a field of `ProblemSets`.

    Returns:
      The problems, each with the split that the set stands for.

    Raises:
      UserError: if the set is empty, or a problem serves two of training, validation and evaluation.
    """
    problems = _load(sets)[part]
    if not problems:
        raise UserError(f"the experiment has no {part} problems: bind ProblemSets.{part} to a problem source")
    return problems


def held_out(sets: ProblemSets) -> tuple[Problem, ...]:
    """The problems of validation and evaluation, which never reach training; there may be none."""
    loaded = _load(sets)
    return (*loaded["validation"], *loaded["evaluation"])


def find_problem(sets: ProblemSets, problem_id: str) -> Problem:
    """The problem with this id, from any set.

    Raises:
      UserError: if there is none.
    """
    known = {problem.id: problem for problems in _load(sets).values() for problem in problems}
    if problem_id not in known:
        examples = ", ".join(list(known)[:3])
        raise UserError(f"no problem {problem_id!r} in this experiment; it has {len(known)}, for example {examples}")
    return known[problem_id]


@functools.lru_cache(maxsize=4)
def _load(sets: ProblemSets) -> dict[str, tuple[Problem, ...]]:
    loaded = {
        part: tuple(dataclasses.replace(problem, split=split) for problem in load_all(getattr(sets, part)))
        for part, split in SPLITS.items()
    }
    loaded["practice"] = loaded["practice"] or loaded["demonstrations"]
    loaded["labelled"] = loaded["labelled"] or loaded["practice"]
    trained = {problem.id for part, split in SPLITS.items() if split == "train" for problem in loaded[part]}
    validated = {problem.id for problem in loaded["validation"]}
    for part, use, taken in (
        ("validation", "trained on", trained),
        ("few_shot", "trained on", trained),
        ("evaluation", "trained on", trained),
        ("few_shot", "used for validation", validated),
        ("evaluation", "used for validation", validated),
    ):
        if shared := [problem.id for problem in loaded[part] if problem.id in taken]:
            raise UserError(
                f"{len(shared)} {part} problems are also {use} ({', '.join(shared[:3])}): "
                "give the sets different splits"
            )
    return loaded
