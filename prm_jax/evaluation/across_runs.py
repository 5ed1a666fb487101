"""Several runs of one experiment, with other seeds, as one result: what a policy reached in each, and on average.

The command `compare` calls `across_runs`. All runs are evaluated on the same problems. An interval is over problems,
of the mean over the runs: it says how sure the figure is for these runs, and the runs' own figures beside it how far
one seed is from the next.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from prm_jax.errors import UserError
from prm_jax.evaluation.bootstrap import RESAMPLES, Interval, mean_interval, paired_difference_interval
from prm_jax.evaluation.pass_at_k import pass_at_k
from prm_jax.evaluation.results import BASELINES, PolicyResult

Table = dict[str, dict[str, float]]
"""pass@1 of one run, by policy and problem."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """One policy over the runs.

    Attributes:
      name: the arm.
      runs: pass@1 in each run, NaN in a run that lacks the arm.
      pass_at_1: mean over the runs that have it, with its interval over problems.
      differences: by baseline, the difference of pass@1 to it in the same runs, paired by problem.
    """

    name: str
    runs: tuple[float, ...]
    pass_at_1: Interval
    differences: dict[str, Interval]


def across_runs(
    runs: Sequence[Sequence[PolicyResult]],
    baselines: Sequence[str] = BASELINES,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[Summary, ...]:
    """Sums up the runs' results.

    Args:
      runs: the policies of each run.
      baselines: what the others are compared with, where the runs have it.
      seed: of the bootstrap.
      resamples: of the bootstrap.

    Returns:
      One entry per policy, in the order in which they first appear.

    Raises:
      UserError: where the runs were not evaluated on the same problems.
    """
    tables = [{result.name: _pass_at_1(result) for result in run} for run in runs]
    problems = {tuple(values) for table in tables for values in table.values()}
    if len(problems) > 1:
        raise UserError("the runs were evaluated on different problems: compare runs of one experiment")
    names = list(dict.fromkeys(name for table in tables for name in table))

    return tuple(_summary(name, tables, baselines, seed, resamples) for name in names)


def _summary(name: str, tables: Sequence[Table], baselines: Sequence[str], seed: int, resamples: int) -> Summary:
    have = [table for table in tables if name in table]
    differences = {}
    for baseline in baselines:
        both = [table for table in have if baseline in table]
        if baseline != name and both:
            mine, theirs = (_mean([table[each] for table in both]) for each in (name, baseline))
            differences[baseline] = paired_difference_interval(mine, theirs, seed=seed, resamples=resamples)
    return Summary(
        name=name,
        runs=tuple(float(np.nanmean(list(t[name].values()))) if name in t else math.nan for t in tables),
        pass_at_1=mean_interval(_mean([table[name] for table in have]), seed=seed, resamples=resamples),
        differences=differences,
    )


def _pass_at_1(result: PolicyResult) -> dict[str, float]:
    return {problem.problem_id: pass_at_k(problem.known, problem.passed, 1) for problem in result.counts}


def _mean(tables: Sequence[dict[str, float]]) -> np.ndarray:
    """Each problem's mean over the runs; NaN where one of them has no verdict on it."""
    return np.mean([list(table.values()) for table in tables], axis=0)
