"""What a policy can do: graded samples in, one `PolicyResult` out, and the differences between policies.

The stage `evaluate` calls `policy_result` and keeps it with `plain.save`; the report calls `differences`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from prm_jax.errors import UserError
from prm_jax.evaluation.bootstrap import NOTHING, RESAMPLES, Interval, mean_interval, paired_difference_interval
from prm_jax.evaluation.pass_at_k import pass_at_k
from prm_jax.evaluation.samples import GradedSample

BASELINES = ("sft", "outcome", "base")
"""What the claim is measured against: no RL, RL from the outcome alone, and the checkpoint that a run started from."""

FEWEST_PROBLEMS = 10
"""Of a group by difficulty: the interval of fewer would be too narrow, that of one problem has no width at all."""


@dataclasses.dataclass(frozen=True)
class ProblemCounts:
    """One problem: samples with a verdict, those that passed all tests, those without a verdict."""

    problem_id: str
    difficulty: int
    known: int
    passed: int
    unknown: int


@dataclasses.dataclass(frozen=True)
class DifficultyResult:
    """A policy on the problems of like difficulty.

    Attributes:
      lowest: the least difficulty among them.
      highest: the greatest.
      problems: their number.
      pass_at_1: mean over them, with its bootstrap interval.
      pass_at_10: the same.
    """

    lowest: int
    highest: int
    problems: int
    pass_at_1: Interval
    pass_at_10: Interval


@dataclasses.dataclass(frozen=True)
class PolicyResult:
    """One policy on the held-out problems. All means are over samples with a verdict, NaN where there are none.

    Attributes:
      name: the arm.
      pass_at_1: mean over problems, with its bootstrap interval over problems.
      pass_at_10: the same; NaN where no problem has ten known samples.
      by_difficulty: both by difficulty, ascending, in groups of at least `FEWEST_PROBLEMS`, where there are as many.
      counts: per problem.
      outcomes: share of samples by the kind of their outcome.
      mean_tokens: tokens per program.
      mean_steps: steps per program, neutral ones and the end not counted.
      neutral_share: share of comments, blank lines and docstrings among all steps.
      visible_only_share: share of samples that pass the visible tests and fail a hidden one; NaN where no problem has
        both.
      unknown_share: share of samples that the sandbox could not judge; they count nowhere else.
      pass_at_80: as `pass_at_10`.
    """

    name: str
    pass_at_1: Interval
    pass_at_10: Interval
    by_difficulty: tuple[DifficultyResult, ...]
    counts: tuple[ProblemCounts, ...]
    outcomes: dict[str, float]
    mean_tokens: float
    mean_steps: float
    neutral_share: float
    visible_only_share: float
    unknown_share: float
    pass_at_80: Interval = NOTHING


def policy_result(
    name: str, samples: Sequence[GradedSample], *, seed: int = 0, resamples: int = RESAMPLES
) -> PolicyResult:
    """Sums up the samples of one policy.

    Args:
      name: the arm.
      samples: of all held-out problems, in any order.
      seed: of the bootstrap.
      resamples: of the bootstrap.
    """

    def interval(k: int, of: Iterable[ProblemCounts]) -> Interval:
        values = [pass_at_k(problem.known, problem.passed, k) for problem in of]
        return mean_interval(values, seed=seed, resamples=resamples)

    counts = _counts(samples)
    known = [sample for sample in samples if sample.known]
    outcomes = collections.Counter(str(sample.outcome) for sample in known)
    steps, neutral = sum(s.steps for s in known), sum(s.neutral_steps for s in known)
    return PolicyResult(
        name=name,
        pass_at_1=interval(1, counts),
        pass_at_10=interval(10, counts),
        by_difficulty=tuple(
            DifficultyResult(of[0].difficulty, of[-1].difficulty, len(of), interval(1, of), interval(10, of))
            for of in _groups(counts)
        ),
        counts=counts,
        outcomes={outcome: count / len(known) for outcome, count in sorted(outcomes.items())},
        mean_tokens=_mean(known, lambda sample: sample.tokens),
        mean_steps=_mean(known, lambda sample: sample.steps),
        neutral_share=neutral / (steps + neutral) if steps + neutral else float("nan"),
        visible_only_share=_mean([s for s in known if s.has_both], lambda sample: sample.visible_only),
        unknown_share=_mean(samples, lambda sample: not sample.known),
        pass_at_80=interval(80, counts),
    )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One policy against the baseline, paired by problem: difference of pass@1."""

    name: str
    baseline: str
    difference: Interval


def compare(
    results: Sequence[PolicyResult], baseline: str = "sft", *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[Comparison, ...]:
    """The difference of each other policy to the baseline.

    Args:
      results: the policies, all evaluated on the same problems.
      baseline: the name of one of them.
      seed: of the bootstrap.
      resamples: of the bootstrap.

    Raises:
      UserError: where the baseline is not among the results, or a policy was evaluated on other problems.
    """
    base = next((result for result in results if result.name == baseline), None)
    if base is None:
        names = ", ".join(result.name for result in results) or "none"
        raise UserError(f"no result of the baseline {baseline!r} among: {names}; evaluate it first")
    base_values = _pass_at_1(base)
    comparisons = []
    for result in results:
        if result.name == baseline:
            continue
        values = _pass_at_1(result)
        if values.keys() != base_values.keys():
            raise UserError(
                f"{result.name!r} and {baseline!r} were evaluated on different problems: evaluate both again"
            )
        pairs = [(values[problem], base_values[problem]) for problem in sorted(values)]
        difference = paired_difference_interval(*zip(*pairs, strict=True), seed=seed, resamples=resamples)
        comparisons.append(Comparison(result.name, baseline, difference))
    return tuple(comparisons)


def differences(
    results: Sequence[PolicyResult], baselines: Sequence[str] = BASELINES
) -> dict[str, dict[str, Interval]]:
    """The differences of pass@1 to each baseline that has a result, by baseline and policy."""
    known = {result.name for result in results}
    return {
        baseline: {each.name: each.difference for each in compare(results, baseline)}
        for baseline in baselines
        if baseline in known
    }


def _pass_at_1(result: PolicyResult) -> dict[str, float]:
    return {problem.problem_id: pass_at_k(problem.known, problem.passed, 1) for problem in result.counts}


def _counts(samples: Sequence[GradedSample]) -> tuple[ProblemCounts, ...]:
    by_problem: dict[str, list[GradedSample]] = collections.defaultdict(list)
    for sample in samples:
        by_problem[sample.problem_id].append(sample)
    return tuple(
        ProblemCounts(
            problem_id=problem_id,
            difficulty=of[0].difficulty,
            known=sum(sample.known for sample in of),
            passed=sum(sample.passed for sample in of),
            unknown=sum(not sample.known for sample in of),
        )
        for problem_id, of in sorted(by_problem.items())
    )


def _groups(counts: Sequence[ProblemCounts]) -> list[list[ProblemCounts]]:
    """The problems by difficulty. Those of one difficulty stay together; too few of them join their neighbours."""
    groups: list[list[ProblemCounts]] = [[]]
    for problem in sorted(counts, key=lambda each: each.difficulty):
        last = groups[-1]
        if len(last) >= FEWEST_PROBLEMS and problem.difficulty != last[-1].difficulty:
            groups.append(last := [])
        last.append(problem)
    if len(groups) > 1 and len(groups[-1]) < FEWEST_PROBLEMS:
        rest = groups.pop()
        groups[-1] += rest
    return [group for group in groups if group]


def _mean(samples: Sequence[GradedSample], value: Callable[[GradedSample], float]) -> float:
    return float(np.mean([value(sample) for sample in samples])) if samples else float("nan")
