"""Stage `ppo`: the SFT policy and an arm in, the arm's policy out; once for every arm of the experiment.

The control `sft_more` is no PPO: it goes on with SFT for as many tokens as the rollouts of an arm hold at most.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.execution.grade import reference_limits
from prm_jax.execution.journal import Journal
from prm_jax.execution.sandbox import Sandbox
from prm_jax.models.policy import boxed_policy
from prm_jax.parallel.shardings import shard_batch
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.loop import train
from prm_jax.ppo.verify import verify
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.problem_sets import problems_of
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.sft import demonstration_batches, sft_loss_of
from prm_jax.stages.workbench import (
    PassRate,
    load_policy,
    load_scorer,
    load_tokenizer,
    mesh_of,
    model_config,
    save_params,
    sharded_train_state,
    writer_of,
)
from prm_jax.training.data import load_prompts
from prm_jax.training.loop import fit
from prm_jax.training.optimizer import make_optimizer
from prm_jax.training.step import make_train_step


def ppo(experiment: Experiment, run_dir: str, arm: str | None = None) -> None:
    """Trains every arm into `<run_dir>/ppo/<arm>`, or only the one that is named."""
    run = RunDirectory(run_dir)
    arms = [each for each in experiment.arms if arm in (None, each.name)]
    if not arms:
        names = ", ".join(each.name for each in experiment.arms) or "none"
        raise UserError(f"no arm {arm or ''!r} in this experiment (it has {names}): give one of gin/ablations/ too")
    for each in arms:
        configuration = {
            "sft": run.fingerprint_of("sft"),
            "arm": each,
            "ppo": experiment.ppo,
            "practice": experiment.problems.practice,
            "labels": experiment.labels,
            "seed": experiment.seed,
        }
        if each.scorer:
            configuration["scorer"] = run.fingerprint_of(each.scorer)
        if each.control:
            configuration |= {"learning": experiment.sft}
        work = _sft_more if each.control else _ppo
        run.stage(f"ppo/{each.name}", configuration, functools.partial(work, experiment, run, each))


def _ppo(experiment: Experiment, run: RunDirectory, arm: Arm, folder: epath.Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    practice = problems_of(experiment.problems, "practice")
    # A resumed run replays the verdicts that it has seen, so that it reaches the same bits.
    journal = Journal(folder / "verdicts.jsonl")
    with mesh_of(experiment) as mesh, contextlib.closing(journal), Sandbox(experiment.sandbox, journal) as sandbox:
        policy = load_policy(run, "sft", model, mesh)
        limits = reference_limits(practice, sandbox)
        result = train(
            dataclasses.replace(experiment.ppo, seed=experiment.seed),
            arm,
            model=model,
            policy_params=policy,
            reference_params=policy,
            scorer_params=load_scorer(run, arm.scorer, model, mesh) if arm.scorer else None,
            prompts=load_prompts(run.folder("tasks") / "prompts"),
            problems=practice,
            tokenizer=tokenizer,
            verify=functools.partial(
                verify, sandbox=sandbox, limits=limits, config=experiment.labels, quality=arm.quality
            ),
            directory=folder,
            evaluate=_validation(experiment, run, sandbox),
            label=f"ppo {arm.name}",
        )
    save_params(folder, result.params)
    if arm.refresh is not None:
        save_params(folder / "scorer", result.scorer_params)
    return {"updates": experiment.ppo.updates, "phases": result.seconds, "curve": result.history}


def _sft_more(experiment: Experiment, run: RunDirectory, arm: Arm, folder: epath.Path) -> dict[str, Any]:
    model = model_config(experiment, load_tokenizer(run))
    learning, config = experiment.sft, experiment.ppo
    batch_tokens = learning.batch_size * experiment.text.max_length
    rollout_tokens = config.updates * config.batch_size * config.max_new_tokens
    steps = max(1, round(rollout_tokens / batch_tokens))
    # The last rate of a cosine is 0, so the control starts a schedule of its own.
    optimizer = make_optimizer(dataclasses.replace(learning.optimizer, total_steps=steps))
    with mesh_of(experiment) as mesh, Sandbox(experiment.sandbox) as sandbox:
        policy = load_policy(run, "sft", model, mesh)
        state, shardings = sharded_train_state(policy, functools.partial(boxed_policy, model), optimizer, mesh)
        result = fit(
            dataclasses.replace(learning.fit, steps=steps, patience=0),
            state,
            make_train_step(sft_loss_of(model), optimizer, seed=experiment.seed, state_shardings=shardings),
            demonstration_batches(run, learning.batch_size, experiment.seed + 1),
            directory=folder,
            evaluate=_validation(experiment, run, sandbox),
            monitor="pass_at_1",
            place=functools.partial(shard_batch, mesh=mesh),
            label=f"ppo {arm.name}",
        )
    save_params(folder, result.best_params)
    return {"steps": steps, "curve": list(result.history)}


def _validation(experiment: Experiment, run: RunDirectory, sandbox: Sandbox) -> PassRate:
    problems = problems_of(experiment.problems, "validation")
    return PassRate(writer_of(experiment, load_tokenizer(run)), problems, 1, sandbox, experiment.seed)
