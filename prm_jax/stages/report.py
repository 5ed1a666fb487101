"""Stage `report`: all that a run directory holds in, one self-contained `report.html` out."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from prm_jax import __version__
from prm_jax.errors import UserError
from prm_jax.evaluation import plain
from prm_jax.evaluation.prm_eval import PrmResult
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.parallel.processes import is_first
from prm_jax.ppo import timeline
from prm_jax.report.data import Curve, ReportData, ShownProgram, StageTime, UpdateTime
from prm_jax.report.write import write_report
from prm_jax.stages.evaluate import policy_names, policy_results
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.run_directory import RunDirectory, resolved
from prm_jax.training.metrics import read_metrics, read_rows

CURVES = {
    "rollout/pass_rate": "pass_rate",
    "evaluation/pass_at_1": "validation_pass_at_1",
    "rollout/mean_reward": "reward",
    "update/kl": "kl",
    "rollout/steps_per_program": "steps",
    "rollout/tokens_per_program": "tokens",
    "rollout/tokens_per_step": "tokens_per_step",
    "rollout/comment_share": "comment_share",
    "scorer/score": "prm_score",
    "rollout/one_outcome_share": "one_outcome_share",
}
"""Names of logged metrics, and what the report calls them."""
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "seqio", "numpy")
SHOWN_FIELDS = (
    "seed", "text", "labels", "model", "pretrained", "sampling", "sft", "prm", "prm_samples", "ppo", "arms",
    "evaluation",
)  # fmt: skip
STAGES = ("label", "tasks", "sft", "prm", "prm_blind", "orm", "screening")


def report(experiment: Experiment, run_dir: str) -> None:
    """Writes `<run_dir>/report.html` from the stages that are done, and says where it is.

    Raises:
      UserError: if none is done.
    """
    if not is_first():
        return
    run = RunDirectory(run_dir)
    path = run.folder("report.html")
    data = gather(experiment, run)
    if not data.times:
        raise UserError(f"nothing in {run_dir} is finished: run its stages first, or check --run_dir")
    write_report(data, path)
    print(f"report: {path}")


def gather(experiment: Experiment, run: RunDirectory) -> ReportData:
    """What the report shows, read from the run directory."""
    prm = run.folder("evaluate/prm")
    judged = run.is_done("evaluate/prm")
    programs = plain.load(tuple[ScoredProgram, ...], prm / "programs.json") if judged else ()
    return ReportData(
        name=experiment.name,
        created=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        versions={"prm_jax": __version__} | dict(_versions()),
        configuration=dict(_configuration(experiment)),
        results=policy_results(experiment, run),
        curves=tuple(_curves(experiment, run)),
        prms=(plain.load(PrmResult, prm / "result.json"),) if judged else (),
        times=tuple(_times(experiment, run)),
        update_time=_update_time(experiment, run),
        programs=tuple(ShownProgram("sft", program) for program in programs),
    )


def _versions() -> Iterator[tuple[str, str]]:
    """The packages that are installed: a learner has no seqio."""
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def _configuration(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """A line for each part of the configuration that a reader asks for first."""
    plain_fields = resolved(experiment)
    for name in SHOWN_FIELDS:
        yield name, json.dumps(plain_fields[name])
    for part, sources in plain_fields["problems"].items():
        if part != "type":
            yield f"{part} problems", json.dumps(sources)


def _curves(experiment: Experiment, run: RunDirectory) -> Iterator[Curve]:
    for arm in experiment.arms:
        if not run.is_done(f"ppo/{arm.name}") or arm.control:
            continue  # The control's steps are no updates: its curve has another x axis.
        rows = read_metrics(run.folder(f"ppo/{arm.name}"))
        for logged, name in CURVES.items():
            points = [(int(row["step"]), float(row[logged])) for row in rows if logged in row]
            if points:
                updates, values = zip(*points, strict=True)
                yield Curve(arm.name, name, updates, values)


def _times(experiment: Experiment, run: RunDirectory) -> Iterator[StageTime]:
    arms = [f"ppo/{arm.name}" for arm in experiment.arms]
    evaluations = [f"evaluate/{name}" for name in (*policy_names(experiment), "prm")]
    for stage in (*STAGES, *arms):
        if run.is_done(stage):
            yield StageTime(stage, _parts(run.record_of(stage)))
    seconds = [run.record_of(stage)["seconds"] for stage in evaluations if run.is_done(stage)]
    if seconds:
        yield StageTime("evaluate", {"evaluate": sum(seconds)})


def _update_time(experiment: Experiment, run: RunDirectory) -> UpdateTime | None:
    """The median update, by duration, of the first arm that has updates; an early one may have compiled."""
    for arm in experiment.arms:
        rows = read_rows(run.folder(f"ppo/{arm.name}") / timeline.FILE_NAME)
        updates = [(int(row["step"]), timeline.from_row(row)) for row in rows]
        if updates:
            updates.sort(key=lambda update: max(span.end for span in update[1]))
            step, spans = updates[len(updates) // 2]
            lanes = {
                phase: tuple((span.start, span.end) for span in spans if span.phase == phase)
                for phase in timeline.PHASES
            }
            return UpdateTime(arm.name, step, {phase: found for phase, found in lanes.items() if found})
    return None


def _parts(record: dict[str, Any]) -> dict[str, float]:
    """A stage's seconds, by phase where it has phases, with what is left as `other`."""
    phases = record["summary"].get("phases")
    if not phases:
        return {"all": record["seconds"]}
    return phases | {"other": max(0.0, record["seconds"] - sum(phases.values()))}
