"""Stage `run`: every stage in order, from problems to the report. Each skips what is done already."""

from __future__ import annotations

from prm_jax.stages.evaluate import evaluate
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import label
from prm_jax.stages.orm import orm
from prm_jax.stages.ppo import ppo
from prm_jax.stages.prm import prm
from prm_jax.stages.report import report
from prm_jax.stages.sft import sft
from prm_jax.stages.tasks import tasks


def run(experiment: Experiment, run_dir: str) -> None:
    """Runs the pipeline; an ORM is trained where an arm or an evaluation reads it, and the PRM always, to be judged."""
    label(experiment, run_dir)
    tasks(experiment, run_dir)
    sft(experiment, run_dir)
    prm(experiment, run_dir)
    if any(arm.scorer == "orm" for arm in experiment.arms) or "orm" in experiment.guided.evaluated:
        orm(experiment, run_dir)
    if experiment.arms:
        ppo(experiment, run_dir)
    evaluate(experiment, run_dir)
    report(experiment, run_dir)
