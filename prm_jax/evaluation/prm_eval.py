"""How good a PRM is: scored programs in, one `PrmResult` out.

The stages `prm` and `evaluate` call `evaluate_prm`; the report shows the result. Two questions are kept apart: does
the PRM tell right from wrong steps of held-out *mutants*, which is what it was trained on, and of the *policy's own*
programs, which is where PPO will ask it.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from prm_jax.evaluation.bootstrap import RESAMPLES, Interval, auc_interval
from prm_jax.evaluation.ranking import Calibration, Localisation, calibration, first_wrong_accuracy
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.labelled_program import Label
from prm_jax.training.auc import roc_auc


@dataclasses.dataclass(frozen=True)
class OperatorAuc:
    """One mutation operator: how many wrong steps it made, and how well they are told from right ones."""

    operator: str
    wrong_steps: int
    auc: float


@dataclasses.dataclass(frozen=True)
class ProgramsResult:
    """A PRM on one set of programs.

    Attributes:
      programs: programs looked at.
      right_steps: labelled and scored steps that are right.
      wrong_steps: those that are wrong.
      auc: area under the ROC curve over all these steps, interval over problems.
      localisation: how often the first wrong step of a failing program is found.
      calibration: score against share of right steps.
    """

    programs: int
    right_steps: int
    wrong_steps: int
    auc: Interval
    localisation: Localisation
    calibration: Calibration


@dataclasses.dataclass(frozen=True)
class PrmResult:
    """What is to be known of a PRM before a policy is trained against it.

    Attributes:
      name: the PRM's name.
      mutant_auc: mean over operators of the area on held-out mutants.
      blind_auc: the same of a PRM that does not see the prompt; NaN where none was given.
      operators: the operators that `mutant_auc` is the mean of.
      mutants: all held-out mutants together.
      own: the policy's own programs.
    """

    name: str
    mutant_auc: float
    blind_auc: float
    operators: tuple[OperatorAuc, ...]
    mutants: ProgramsResult
    own: ProgramsResult


def evaluate_prm(
    name: str,
    mutants: Sequence[ScoredProgram],
    own: Sequence[ScoredProgram],
    blind: Sequence[ScoredProgram] = (),
    *,
    threshold: float = 0.5,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PrmResult:
    """Evaluates a PRM.

    Args:
      name: the PRM's name.
      mutants: references, mutants and refactorings of held-out problems.
      own: the policy's programs for held-out problems.
      blind: the programs of `mutants`, scored by a PRM that does not see the prompt.
      threshold: a score below it calls a step wrong, where the first wrong step is looked for.
      seed: of the bootstrap.
      resamples: of the bootstrap.
    """
    operators = auc_by_operator(mutants)
    return PrmResult(
        name=name,
        mutant_auc=_mean_auc(operators),
        blind_auc=_mean_auc(auc_by_operator(blind)),
        operators=operators,
        mutants=evaluate_programs(_compiled(mutants), threshold=threshold, seed=seed, resamples=resamples),
        own=evaluate_programs(own, threshold=threshold, seed=seed, resamples=resamples),
    )


def auc_by_operator(rows: Sequence[ScoredProgram]) -> tuple[OperatorAuc, ...]:
    """The area under the ROC curve for each operator that made a wrong step, by name.

    The wrong steps of an operator's variants are set against the right steps of the same variants and of all programs
    that passed. Those that passed, refactorings among them, have right steps in every place, so neither "late means
    wrong" nor "unusual means wrong" is worth anything. Variants that do not compile are left out: any parser finds
    them.
    """
    compiled = _compiled(rows)
    passed = [step for row in compiled if row.labelled.passed for step in labelled_steps(row)]
    by_operator = _grouped(compiled, lambda row: row.labelled.operator)
    found = []
    for operator, variants in sorted(by_operator.items()):
        steps = [step for row in variants if not row.labelled.passed for step in labelled_steps(row)]
        wrong = sum(not right for _, right in steps)
        area = roc_auc(*_columns([*steps, *passed]))
        if wrong and not math.isnan(area):
            found.append(OperatorAuc(operator, wrong, area))
    return tuple(found)


def evaluate_programs(
    rows: Sequence[ScoredProgram], *, threshold: float = 0.5, seed: int = 0, resamples: int = RESAMPLES
) -> ProgramsResult:
    """Evaluates a PRM on one set of programs; see `ProgramsResult`."""
    by_problem = _grouped(rows, lambda row: row.labelled.problem_id)
    groups = [_columns(step for row in of_one for step in labelled_steps(row)) for of_one in by_problem.values()]
    scores = [score for group_scores, _ in groups for score in group_scores]
    labels = [label for _, group_labels in groups for label in group_labels]
    return ProgramsResult(
        programs=len(rows),
        right_steps=sum(labels),
        wrong_steps=len(labels) - sum(labels),
        auc=auc_interval(groups, seed=seed, resamples=resamples),
        localisation=first_wrong_accuracy(
            [row.scores for row in rows], [row.labelled.first_wrong for row in rows], threshold
        ),
        calibration=calibration(scores, labels),
    )


def labelled_steps(row: ScoredProgram) -> list[tuple[float, bool]]:
    """Score and "is right" of each step that is scored and not neutral."""
    return [
        (score, label == Label.RIGHT)
        for score, label in zip(row.scores, row.labelled.labels, strict=True)
        if label != Label.NEUTRAL and not math.isnan(score)
    ]


def _compiled(rows: Sequence[ScoredProgram]) -> list[ScoredProgram]:
    return [row for row in rows if row.labelled.outcome != Outcome.SYNTAX_ERROR]


def _grouped(rows: Iterable[ScoredProgram], key: Callable[[ScoredProgram], str]) -> dict[str, list[ScoredProgram]]:
    groups: dict[str, list[ScoredProgram]] = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _columns(steps: Iterable[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    steps = list(steps)
    return [score for score, _ in steps], [right for _, right in steps]


def _mean_auc(operators: Sequence[OperatorAuc]) -> float:
    return float(np.mean([operator.auc for operator in operators])) if operators else math.nan
