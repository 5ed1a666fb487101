"""The problems of an experiment, by the end they serve.

The stages call `problems_of`; the set, not the source, decides a problem's split, and no problem serves two
of training, validation and evaluation. Few-shot prompts are the evaluation's problems once more.
"""

from __future__ import annotations

import dataclasses
import functools

from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem
from prm_jax.problems.sources import Source, load_all
from prm_jax.stages.experiment import ProblemSets

SPLITS = {
    "demonstrations": "train",
    "practice": "train",
    "labelled": "train",
    "validation": "validation",
    "few_shot": "test",
    "evaluation": "test",
}

_STANDS_FOR = {"practice": "demonstrations", "labelled": "practice"}
"""Which set is taken for one that is empty."""


def problems_of(sets: ProblemSets, part: str, apart: bool = False) -> tuple[Problem, ...]:
    """The problems of one set; an empty `practice` is the demonstrations', an empty `labelled` the practice.

    Args:
      sets: the experiment's problems.
      part: a field of `ProblemSets`.
      apart: whether it is known that no problem of these sets serves two ends; then the others are not loaded.

    Returns:
      The problems, each with the split that the set stands for.

    Raises:
      UserError: if the set is empty, a problem serves two of training, validation and evaluation, or few-shot prompts
        are of other problems than the evaluation's.
    """
    problems = _load_part(sets, part) if apart else _load(sets)[part]
    if not problems:
        raise UserError(f"the experiment has no {part} problems: bind ProblemSets.{part} to a problem source")
    return problems


def sources_of(sets: ProblemSets, part: str) -> tuple[Source, ...]:
    """The sources of `problems_of`."""
    return getattr(sets, part) or (sources_of(sets, _STANDS_FOR[part]) if part in _STANDS_FOR else ())


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


@functools.lru_cache(maxsize=16)
def _load_part(sets: ProblemSets, part: str) -> tuple[Problem, ...]:
    problems = tuple(dataclasses.replace(each, split=SPLITS[part]) for each in load_all(getattr(sets, part)))
    return problems or (_load_part(sets, _STANDS_FOR[part]) if part in _STANDS_FOR else ())


@functools.lru_cache(maxsize=4)
def _load(sets: ProblemSets) -> dict[str, tuple[Problem, ...]]:
    loaded = {part: _load_part(sets, part) for part in SPLITS}
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
    asked, shown = ({problem.id for problem in loaded[part]} for part in ("evaluation", "few_shot"))
    if shown and (odd := sorted(shown ^ asked)):
        raise UserError(
            f"few_shot and evaluation differ in {len(odd)} problems ({', '.join(odd[:3])}), and their results are to "
            "be compared: bind both to the same problems, or ProblemSets.few_shot to ()"
        )
    return loaded
