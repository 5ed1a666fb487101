"""PRMs of several runs on the same programs: how well each judges steps, and by how much it beats the first one.

The stage `evaluate` keeps what a PRM said of the held-out variants, `read_judged` and `across_prms` are for the command
`compare`. Runs that differ in one thing, such as what their PRMs were taught by, are what it is for. All intervals are
over problems, those of differences are paired.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Iterable, Sequence

from etils import epath

from prm_jax.errors import UserError
from prm_jax.evaluation import plain
from prm_jax.evaluation.bootstrap import (
    RESAMPLES,
    Group,
    Interval,
    auc_difference_interval,
    auc_interval,
    share_interval,
)
from prm_jax.evaluation.ranking import predicted_first_wrong
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.jsonl import write_text
from prm_jax.labelling.labelled_program import Label

JUDGED = "judged.jsonl"


@dataclasses.dataclass(frozen=True)
class JudgedProgram:
    """What a PRM says of the steps of one program, and what is true of them.

    Attributes:
      problem_id: its problem.
      scores: per step the probability that the program can still come right; NaN on steps that are not scored.
      labels: per step a `Label`.
    """

    problem_id: str
    scores: tuple[float, ...]
    labels: tuple[int, ...]

    @property
    def first_wrong(self) -> int:
        """The first wrong step, -1 where none is known or it is not scored."""
        at = self.labels.index(Label.WRONG) if Label.WRONG in self.labels else -1
        return -1 if at < 0 or math.isnan(self.scores[at]) else at


@dataclasses.dataclass(frozen=True)
class PrmSummary:
    """One PRM.

    Attributes:
      name: of its run.
      programs: failing programs whose first wrong step is known and scored.
      auc: area under the ROC curve over all labelled steps.
      first_wrong: share of the failing programs whose first wrong step it finds.
      auc_gain: its area minus that of the first run's PRM; None for that one.
      first_wrong_gain: likewise.
    """

    name: str
    programs: int
    auc: Interval
    first_wrong: Interval
    auc_gain: Interval | None = None
    first_wrong_gain: Interval | None = None


def write_judged(rows: Iterable[ScoredProgram], folder: epath.Path) -> None:
    """Keeps what a PRM said of programs, in order; those that do not compile, which any parser finds, are left out.

    Raises:
      UserError: where the file cannot be written; it is there whole or not at all.
    """
    judged = (
        JudgedProgram(row.labelled.problem_id, row.scores, tuple(map(int, row.labelled.labels)))
        for row in rows
        if row.labelled.outcome != Outcome.SYNTAX_ERROR
    )
    write_text(folder / JUDGED, "".join(json.dumps(plain.to_plain(each)) + "\n" for each in judged))


def read_judged(folder: epath.Path) -> list[JudgedProgram]:
    """What `write_judged` wrote.

    Raises:
      UserError: names the first line that holds no judged program.
    """
    path, programs = folder / JUDGED, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            programs.append(plain.from_plain(JudgedProgram, json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{path}:{number}: {error}; expected one judged program as a JSON object: delete {folder} and run "
                "`prm_jax evaluate` there again"
            ) from None
    return programs


def across_prms(
    runs: dict[str, Sequence[JudgedProgram]], *, threshold: float = 0.5, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[PrmSummary, ...]:
    """Compares the PRMs of runs with that of the first one.

    Args:
      runs: by name what each run's PRM said of the same programs.
      threshold: a score below it calls a step wrong, see `predicted_first_wrong`.
      seed: of the bootstrap.
      resamples: of the bootstrap.

    Raises:
      UserError: where the programs, or the steps of them that are scored, are not the same in all runs.
    """
    asked = [[_question(program) for program in run] for run in runs.values()]
    if any(each != asked[0] for each in asked):
        raise UserError("the PRMs were judged on different programs: compare runs whose labels of test problems agree")
    options = {"seed": seed, "resamples": resamples}
    tables = {name: _Table(run, threshold) for name, run in runs.items()}
    first, *_ = tables.values()
    return tuple(
        PrmSummary(
            name=name,
            programs=sum(own.failing),
            auc=auc_interval(own.groups, **options),
            first_wrong=share_interval(own.found, own.failing, **options),
            auc_gain=None if own is first else auc_difference_interval(own.groups, first.groups, **options),
            first_wrong_gain=None
            if own is first
            else share_interval(
                [mine - theirs for mine, theirs in zip(own.found, first.found, strict=True)], own.failing, **options
            ),
        )
        for name, own in tables.items()
    )


def _question(program: JudgedProgram) -> tuple[str, tuple[int, ...], tuple[bool, ...]]:
    """What was asked of a PRM, without its answer."""
    return program.problem_id, program.labels, tuple(math.isnan(score) for score in program.scores)


class _Table:
    """Per problem: scores and truth of its steps, its failing programs, and those whose first wrong step is found."""

    def __init__(self, programs: Sequence[JudgedProgram], threshold: float) -> None:
        by_problem: dict[str, list[JudgedProgram]] = collections.defaultdict(list)
        for program in programs:
            by_problem[program.problem_id].append(program)
        self.groups: list[Group] = []
        self.failing: list[int] = []
        self.found: list[int] = []
        for of_one in by_problem.values():
            self.groups.append(_steps(of_one))
            failing = [program for program in of_one if program.first_wrong >= 0]
            self.failing.append(len(failing))
            self.found.append(sum(predicted_first_wrong(p.scores, threshold) == p.first_wrong for p in failing))


def _steps(programs: Sequence[JudgedProgram]) -> Group:
    pairs = [
        (score, label == Label.RIGHT)
        for program in programs
        for score, label in zip(program.scores, program.labels, strict=True)
        if label != Label.NEUTRAL and not math.isnan(score)
    ]
    return [score for score, _ in pairs], [right for _, right in pairs]
