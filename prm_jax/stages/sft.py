"""Stage `sft`: demonstrations in, the SFT policy out, taken where pass@1 on validation problems was best."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from prm_jax.batches import TokenBatch
from prm_jax.execution.sandbox import Sandbox
from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import frozen, trainable, whole
from prm_jax.models.policy import boxed_trainable_policy, token_predictions, with_adapters
from prm_jax.parallel.shardings import shard_batch
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.pretrained import first_policy
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import (
    check_tasks,
    frozen_parts,
    host_batches,
    load_tokenizer,
    mesh_of,
    model_config,
    save_params,
    sharded_train_state,
    validation_pass_rate,
)
from prm_jax.training.data import load_rows
from prm_jax.training.loop import FitResult, fit
from prm_jax.training.losses import predicted, sft_loss
from prm_jax.training.optimizer import make_optimizer
from prm_jax.training.step import BoundStep, LossFn, make_train_step


def sft(experiment: Experiment, run_dir: str) -> None:
    """Trains a random policy, that of a published checkpoint or its adapters, until validation stops improving."""
    run = RunDirectory(run_dir)
    check_tasks(experiment, run)
    configuration = {
        "tasks": run.fingerprint_of("tasks"),
        "learning": experiment.sft,
        "model": experiment.model if experiment.model.lora.sft else experiment.model.without_lora(),
        "pretrained": experiment.pretrained,
        "validation": experiment.problems.validation,
        "sampling": experiment.sampling,
        "seed": experiment.seed,
    }
    run.stage("sft", configuration, functools.partial(_sft, experiment, run))


def sft_loss_of(model: ModelConfig) -> LossFn:
    """The SFT loss as a function of the policy's parameters."""

    def loss(params: Any, batch: TokenBatch, key: jax.Array) -> Any:
        del key
        tokens, segments, positions = map(jnp.asarray, batch[:3])
        said = token_predictions(params, model, tokens, segments, positions, predicted(batch))
        return sft_loss(said.logprobs, said.likeliest, batch)

    return loss


def demonstration_batches(run: RunDirectory, batch_size: int, seed: int) -> Callable[[int], Iterator[TokenBatch]]:
    """This host's part of the packed demonstrations, from a step on."""
    rows = load_rows(run.folder("tasks") / "sft")
    return lambda start: host_batches(rows, batch_size, seed, start)


def kept_step(result: FitResult) -> float:
    """The step of the parameters that were kept: the first with the best pass@1; the last where there never was one."""
    return next((row["step"] for row in result.history if row["pass_at_1"] == result.best), result.steps)


def _sft(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    learning, seed = experiment.sft, experiment.seed
    tokenizer = load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    model = model if model.lora.sft else model.without_lora()
    optimizer = make_optimizer(learning.optimizer)
    with mesh_of(experiment) as mesh, Sandbox(experiment.sandbox) as sandbox:
        start = frozen_parts(experiment, run, model, mesh) or first_policy(experiment, model, mesh)
        params = with_adapters(start, model, jax.random.key(seed))
        still = frozen(params, model)
        state, shardings = sharded_train_state(
            trainable(params, model), functools.partial(boxed_trainable_policy, model), optimizer, mesh
        )
        step = make_train_step(sft_loss_of(model), optimizer, seed=seed, state_shardings=shardings)
        pass_rate = validation_pass_rate(experiment, run, sandbox, learning.validation_samples)
        result = fit(
            learning.fit,
            state,
            BoundStep(step, still),
            demonstration_batches(run, learning.batch_size, seed),
            directory=folder,
            evaluate=lambda own, step: pass_rate(whole(own, still), step),
            monitor="pass_at_1",
            place=functools.partial(shard_batch, mesh=mesh),
            label="sft",
        )
    save_params(folder, result.best_params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(whole(result.best_params, still)))
    return {
        "parameters": parameters,
        "steps": result.steps,
        "best_step": kept_step(result),
        "validation_pass_at_1": result.best,
        "stopped_early": result.stopped_early,
        "curve": [[row["step"], row["pass_at_1"]] for row in result.history],
    }
