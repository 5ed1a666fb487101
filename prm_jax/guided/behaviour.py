"""The majority of behaviour: candidates in, as a program's score how many of them do what it does.

Programs that give the same values on the same inputs count as one answer, however they are written (AlphaCode, Li et
al. 2022, section 4.5). The inputs are the calls of the visible tests, never their expected values, and calls generated
from these. Programs run in the sandbox alone. `stages/guided.py` calls this.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Sequence

from prm_jax.execution.verdict import Program, Verdict
from prm_jax.guided.best_of import Judge
from prm_jax.labelling.inputs import generate_calls
from prm_jax.problems.problem import Problem, Test

_LOG = logging.getLogger(__name__)

RunPrograms = Callable[[Sequence[Program]], Sequence[Verdict]]

Behaviour = tuple[str | None, ...]
"""What each call gave, as `Verdict.values` has it; empty where the program never came to its calls."""


def by_majority(run: RunPrograms, generated: int, seed: int = 0) -> Judge:
    """Judges a program by how many candidates for its problem behave as it does; 0 if it never gives a value.

    Programs for a problem without a visible test whose call can be run alone cannot be compared: all of them get 0, and
    the problem is named in a warning.

    Args:
      run: the sandbox's.
      generated: calls made up for each problem, at most.
      seed: of these.
    """

    def judge(problems: Sequence[Problem], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        tests = [tuple(Test(call, "None") for call in inputs(problem, generated, seed)) for problem in problems]
        if silent := [problem.id for problem, of_problem in zip(problems, tests, strict=True) if not of_problem]:
            _LOG.warning(
                "%d problems have no visible test whose call can be run alone, so that the first program for each is "
                "taken: %s",
                len(silent),
                ", ".join(silent[:8]),
            )
        programs = [
            Program(text, of_problem, setup=problem.setup, values=True)
            for problem, texts, of_problem in zip(problems, candidates, tests, strict=True)
            for text in texts
            if of_problem
        ]
        behaviours = iter([verdict.values for verdict in run(programs)])
        return [
            agreement([next(behaviours) if of_problem else () for _ in texts])
            for texts, of_problem in zip(candidates, tests, strict=True)
        ]

    return judge


def agreement(behaviours: Sequence[Behaviour]) -> list[float]:
    """How many programs share each one's behaviour; 0 for a program that gave no value on any input."""
    counts = collections.Counter(behaviours)
    return [float(counts[each]) if any(value is not None for value in each) else 0.0 for each in behaviours]


def inputs(problem: Problem, generated: int, seed: int) -> tuple[str, ...]:
    """Calls to try programs with: those of the visible tests, then generated ones; none where none can be run alone."""
    calls = [test.call for test in problem.visible_tests if not test.in_child]
    return (*calls, *generate_calls(problem, generated, seed)) if calls else ()
