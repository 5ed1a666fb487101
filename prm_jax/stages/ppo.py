"""Stage `ppo`: the SFT policy and an arm in, the arm's policy out; once for every arm of the experiment.

Controls, which are no PPO, are in `controls.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

import jax
from etils import epath

from prm_jax.errors import UserError
from prm_jax.execution.grade import reference_limits
from prm_jax.execution.sandbox import Sandbox
from prm_jax.models.lora import trainable
from prm_jax.models.policy import with_adapters
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.loop import train
from prm_jax.ppo.timeline import HIDDEN
from prm_jax.ppo.verify import verify
from prm_jax.stages.controls import control
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import practice_problems
from prm_jax.stages.problem_sets import sources_of
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.screening import screen, screened_prompts
from prm_jax.stages.workbench import (
    check_tasks,
    host_journal,
    load_policy,
    load_scorer,
    load_tokenizer,
    mesh_of,
    model_config,
    save_params,
    validation_pass_rate,
)


def ppo(experiment: Experiment, run_dir: str, arm: str | None = None) -> None:
    """Trains every arm into `<run_dir>/ppo/<arm>`, or only the one that is named."""
    run = RunDirectory(run_dir)
    arms = [each for each in experiment.arms if arm in (None, each.name)]
    if not arms:
        names = ", ".join(each.name for each in experiment.arms) or "none"
        raise UserError(f"no arm {arm or ''!r} in this experiment (it has {names}): give one of gin/ablations/ too")
    check_tasks(experiment, run)
    if experiment.ppo.screening and any(each.control != "sft_more" for each in arms):
        screen(experiment, run)
    for each in arms:
        configuration = {
            "sft": run.fingerprint_of("sft"),
            "arm": each,
            "ppo": experiment.ppo,
            "lora": experiment.model.lora,
            "practice": sources_of(experiment.problems, "practice"),
            "labels": experiment.labels,
            "text": experiment.text,
            "dtype": experiment.model.dtype,
            "seed": experiment.seed,
        }
        if each.scorer:
            configuration["scorer"] = run.fingerprint_of(each.scorer)
        if each.control:
            configuration |= {
                "learning": experiment.sft,
                "validation": experiment.problems.validation,
                "sampling": experiment.sampling,
            }
        work = control if each.control else _ppo
        run.stage(f"ppo/{each.name}", configuration, functools.partial(work, experiment, run, each))


def _ppo(experiment: Experiment, run: RunDirectory, arm: Arm, folder: epath.Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    problems = practice_problems(experiment, run)
    journal = host_journal(folder)
    with mesh_of(experiment) as mesh, contextlib.closing(journal), Sandbox(experiment.sandbox, journal) as sandbox:
        policy = load_policy(experiment, run, "sft", model, mesh)
        limits = reference_limits(problems, sandbox)
        result = train(
            dataclasses.replace(experiment.ppo, seed=experiment.seed),
            arm,
            model=model,
            policy_params=with_adapters(policy, model, jax.random.key(experiment.seed)),
            reference_params=policy,
            scorer_params=load_scorer(experiment, run, arm.scorer, model, mesh) if arm.scorer else None,
            prompts=screened_prompts(experiment, run),
            problems=problems,
            tokenizer=tokenizer,
            verify=functools.partial(
                verify,
                sandbox=sandbox,
                limits=limits,
                config=experiment.labels,
                in_child=experiment.ppo.in_child_tests,
                quality=arm.quality,
            ),
            directory=folder,
            evaluate=validation_pass_rate(experiment, run, sandbox),
            before_save=journal.flush,
            label=f"ppo {arm.name}",
        )
    save_params(folder, trainable(result.params, model))
    if arm.refresh is not None:
        save_params(folder / "scorer", trainable(result.scorer_params, model))
    phases = dict(result.seconds)
    hidden = phases.pop(HIDDEN)
    return {"updates": experiment.ppo.updates, "phases": phases, HIDDEN: hidden, "curve": result.history}
