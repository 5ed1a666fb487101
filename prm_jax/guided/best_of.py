"""Best-of-N: a policy and a judge in, a policy out that writes N programs and gives those that are judged best.

`stages/guided.py` joins it with a PRM, an ORM or the majority of behaviour (`behaviour.py`); evaluation and
`prm_jax generate` take the result for a policy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from prm_jax.evaluation.samples import Complete
from prm_jax.problems.problem import Problem

Judge = Callable[[Sequence[Problem], Sequence[Sequence[str]]], list[list[float]]]
"""From problems and the candidates for each to a score for each candidate; more is better."""

ScoreSteps = Callable[[Sequence[tuple[str, str]]], list[tuple[float, ...]]]
"""From (prompt, program) pairs to the score of each step, the end of the program last; NaN where not scored."""


def best_of(complete: Complete, judge: Judge, candidates: int) -> Complete:
    """A policy that gives the best of `candidates` programs, or of as many as it is asked for if these are more.

    Of equals, that which was written first comes first.
    """

    def chosen(problems: Sequence[Problem], samples: int, seed: int) -> list[list[str]]:
        written = complete(problems, max(candidates, samples), seed)
        return [
            ranked(texts, scores)[:samples] for texts, scores in zip(written, judge(problems, written), strict=True)
        ]

    return chosen


def by_steps(score_steps: ScoreSteps, aggregate: str) -> Judge:
    """Judges programs by their steps' scores, see `program_score`; 0 where the scorer has not read one to its end."""

    def judge(problems: Sequence[Problem], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        pairs = [(problem.prompt, text) for problem, texts in zip(problems, candidates, strict=True) for text in texts]
        scores = iter(program_score(of_whole(steps), aggregate) for steps in score_steps(pairs))
        return [[next(scores) for _ in texts] for texts in candidates]

    return judge


def of_whole(steps: Sequence[float]) -> list[float]:
    """The scores of a whole program's steps; none where its end is not scored, which is longer than a scorer reads."""
    return list(steps) if steps and not math.isnan(steps[-1]) else []


def program_score(steps: Sequence[float], aggregate: str) -> float:
    """One score of a program, from those of its steps.

    Args:
      steps: scores, NaN for steps that are not scored.
      aggregate: `"min"` (a program is as good as its worst step), `"mean"` or `"last"` (an ORM has no other).

    Returns:
      The score; 0 where no step is scored, as if the program were surely wrong.
    """
    known = [score for score in steps if not math.isnan(score)]
    if not known:
        return 0.0
    return known[-1] if aggregate == "last" else min(known) if aggregate == "min" else statistics.fmean(known)


def ranked(texts: Sequence[str], scores: Sequence[float]) -> list[str]:
    """The texts, the best first."""
    return [texts[index] for index in sorted(range(len(texts)), key=lambda index: -scores[index])]
