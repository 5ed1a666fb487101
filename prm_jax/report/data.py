"""`ReportData`: all that a report shows.

The stage `report` fills it from the run directory; `write.py` renders it. `evaluation.plain` saves and loads it.
"""

from __future__ import annotations

import dataclasses

from prm_jax.evaluation.prm_eval import PrmResult
from prm_jax.evaluation.results import BASELINES, PolicyResult
from prm_jax.evaluation.score import ScoredProgram


@dataclasses.dataclass(frozen=True)
class Curve:
    """One measured quantity over updates; a NaN leaves a gap.

    Attributes:
      arm: whose training it was.
      metric: what was measured. `sections.CURVES` and `sections.DETECTORS` say which names have a place in the
        report; others are not shown.
      updates: the update after which each value was measured, ascending.
      values: one per update.
    """

    arm: str
    metric: str
    updates: tuple[int, ...]
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class StageTime:
    """Wall seconds of one stage, by part, e.g. `{"rollout": 61.0, "verification": 4.0, "update": 203.0}`."""

    stage: str
    seconds: dict[str, float]


@dataclasses.dataclass(frozen=True)
class UpdateTime:
    """What one update did when.

    Attributes:
      arm: whose update it was.
      update: its number, from 1.
      lanes: by what was done, e.g. `"verification"`, from when to when, in seconds since the update began.
    """

    arm: str
    update: int
    lanes: dict[str, tuple[tuple[float, float], ...]]


@dataclasses.dataclass(frozen=True)
class ShownProgram:
    """One program to show: the policy that wrote it, and its steps with scores and the interpreter's labels."""

    arm: str
    scored: ScoredProgram


@dataclasses.dataclass(frozen=True)
class ReportData:
    """One run.

    Attributes:
      name: the run's.
      created: date and time, as it is to be shown.
      versions: package to version.
      configuration: what the reader should know of the configuration, a line each.
      results: the policies, in the order in which they are to be shown.
      baselines: the names of the policies that the others are compared with.
      curves: of the arms' training.
      prms: the process reward models.
      times: the stages, in order.
      update_time: one update; None where there was none.
      programs: to be shown line by line.
    """

    name: str
    created: str
    versions: dict[str, str]
    configuration: dict[str, str]
    results: tuple[PolicyResult, ...] = ()
    baselines: tuple[str, ...] = BASELINES
    curves: tuple[Curve, ...] = ()
    prms: tuple[PrmResult, ...] = ()
    times: tuple[StageTime, ...] = ()
    update_time: UpdateTime | None = None
    programs: tuple[ShownProgram, ...] = ()
