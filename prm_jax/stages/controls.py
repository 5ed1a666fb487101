"""The controls that are no PPO: SFT goes on from the SFT policy, for as many tokens as the rollouts of an arm hold.

`sft_more` goes on with the demonstrations. `rft` learns from what the policy itself wrote (rejection fine-tuning, Yuan
et al. 2023): the SFT policy writes as many programs as PPO would sample, and those that pass their visible tests are
what it is trained on, each once. Called by the stage `ppo`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Bool

from prm_jax.batches import PromptBatch, TokenBatch, pack_batch
from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox
from prm_jax.models.lora import frozen, trainable, whole
from prm_jax.models.policy import boxed_trainable_policy, with_adapters
from prm_jax.parallel.shardings import shard_batch
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.rollout import assemble
from prm_jax.sampling.sample import Completions
from prm_jax.stages.attempts import attempts
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import practice_problems
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.screening import screened_prompts
from prm_jax.stages.sft import sft_loss_of
from prm_jax.stages.workbench import (
    host_batches,
    load_policy,
    load_tokenizer,
    mesh_of,
    model_config,
    save_params,
    sharded_train_state,
    validation_pass_rate,
)
from prm_jax.training.data import load_rows
from prm_jax.training.loop import fit
from prm_jax.training.optimizer import make_optimizer
from prm_jax.training.step import BoundStep, make_train_step


def control(experiment: Experiment, run: RunDirectory, arm: Arm, folder: epath.Path) -> dict[str, Any]:
    """Trains the arm's policy with SFT; keeps the parameters with the best validation pass@1.

    Raises:
      UserError: `rft`, and no program that the SFT policy wrote passes.
    """
    model = model_config(experiment, load_tokenizer(run))
    config = experiment.ppo
    told: dict[str, Any] = {}
    if arm.control == "rft":
        rows, told = _own_rows(experiment, run, arm, folder)
    else:
        rows = load_rows(run.folder("tasks") / "sft")
    rollout_tokens = config.updates * config.batch_size * config.max_new_tokens
    steps = max(1, round(rollout_tokens / (experiment.sft.batch_size * experiment.text.max_length)))
    # The last rate of a cosine is 0, so the control starts a schedule of its own.
    learning = experiment.sft.lasting(steps)
    optimizer = make_optimizer(learning.optimizer)
    with mesh_of(experiment) as mesh, Sandbox(experiment.sandbox) as sandbox:
        start = load_policy(experiment, run, "sft", model, mesh)
        policy = with_adapters(start, model, jax.random.key(experiment.seed))
        still = frozen(policy, model)
        state, shardings = sharded_train_state(
            trainable(policy, model), functools.partial(boxed_trainable_policy, model), optimizer, mesh
        )
        step = make_train_step(sft_loss_of(model), optimizer, seed=experiment.seed, state_shardings=shardings)
        pass_rate = validation_pass_rate(experiment, run, sandbox, learning.validation_samples)
        result = fit(
            dataclasses.replace(learning.fit, patience=0),
            state,
            BoundStep(step, still),
            lambda start: host_batches(rows, learning.batch_size, experiment.seed + 1, start),
            directory=folder,
            evaluate=lambda own, step: pass_rate(whole(own, still), step),
            monitor="pass_at_1",
            place=functools.partial(shard_batch, mesh=mesh),
            label=f"ppo {arm.name}",
        )
    save_params(folder, result.best_params)
    return {"steps": steps, "curve": list(result.history)} | told


def _own_rows(
    experiment: Experiment, run: RunDirectory, arm: Arm, folder: epath.Path
) -> tuple[TokenBatch, dict[str, Any]]:
    """The SFT policy's programs that pass, as packed rows, and how many of how many they are."""
    config = experiment.ppo
    practice = practice_problems(experiment, run)
    served = screened_prompts(experiment, run).problem
    wanted = config.updates * config.batch_size
    samples = max(1, wanted // len(served))
    chosen = np.random.default_rng(experiment.seed).permutation(served)[: wanted // samples]
    tried = attempts(experiment, run, [practice[index] for index in chosen], samples, folder, f"ppo {arm.name}")
    texts, written = tried.texts, tried.written
    passed = np.array([entry.passed for entry in tried.verified])
    first = {(tried.problems[row].id, texts[row]): row for row in reversed(range(len(texts)))}
    keep = passed & np.asarray(written.finished) & np.isin(np.arange(len(texts)), list(first.values()))
    if not keep.any():
        raise UserError(
            f"arm rft: none of the {len(texts)} programs that the SFT policy wrote passes; train SFT for longer, or "
            "leave the arm out"
        )
    return sft_rows(tried.prompts, written, keep, experiment.text.max_length), {
        "samples": len(texts),
        "passed": int(passed.sum()),
        "learnt_from": int(keep.sum()),
    }


def sft_rows(prompts: PromptBatch, written: Completions, keep: Bool[np.ndarray, " B"], length: int) -> TokenBatch:
    """Completions as packed rows for `sft_loss`, from the ids that were sampled.

    Args:
      prompts: one per completion.
      written: the completions.
      keep: which of them to learn from.
      length: T of the rows; longer programs are left out.

    Returns:
      Rows with label 1 on the tokens of completions.
    """
    rollout = assemble(prompts, written)
    tokens, inside = np.asarray(rollout.tokens), np.asarray(rollout.segments) > 0
    labels = np.asarray(rollout.completion).astype(np.int32)
    sizes = inside.sum(axis=1)
    programs = ((tokens[row, : sizes[row]], labels[row, : sizes[row]]) for row in np.flatnonzero(keep))
    return pack_batch(programs, length)
