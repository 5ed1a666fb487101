"""Stage `prm`: step labels in, the process reward model out, with a blind twin that never sees a prompt.

The PRM starts from the SFT policy's trunk and learns from two kinds of programs: variants of references (the tasks'
rows) and the policy's own programs, labelled by the interpreter. The twin learns from the same programs without their
prompts, in as many passes; that the PRM beats it shows that the PRM reads what was asked for.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from prm_jax.batches import TokenBatch, pack_batch
from prm_jax.errors import UserError
from prm_jax.evaluation.prm_eval import auc_by_operator
from prm_jax.evaluation.score import ScoredProgram, score_programs
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import frozen, trainable, whole
from prm_jax.models.policy import boxed_trainable_scorer, init_scorer, scores
from prm_jax.parallel.processes import is_first
from prm_jax.parallel.shardings import shard_batch
from prm_jax.stages.experiment import Experiment, LearningConfig
from prm_jax.stages.label import labelled_programs
from prm_jax.stages.own_programs import own_rows
from prm_jax.stages.problem_sets import sources_of
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import (
    check_tasks,
    host_batches,
    load_policy,
    load_tokenizer,
    mesh_of,
    model_config,
    save_params,
    sharded_train_state,
    token_scorer,
)
from prm_jax.text.step_map import labelled_ids
from prm_jax.text.steps import check_step_ends
from prm_jax.text.tokenizer import Tokenizer
from prm_jax.training.data import load_rows
from prm_jax.training.loop import FitResult, fit
from prm_jax.training.losses import step_loss
from prm_jax.training.optimizer import make_optimizer
from prm_jax.training.step import BoundStep, LossFn, make_train_step

SCORE_BATCH = 128
OWN_BLIND = "own_blind.npz"
"""The policy's own programs without their prompts: the PRM's stage leaves them for the twin's."""
VALIDATION_PROGRAMS = 512
"""Programs of validation problems on which a scorer is judged while it learns."""


def prm(experiment: Experiment, run_dir: str) -> None:
    """Trains the PRM into `<run_dir>/prm` and its blind twin into `<run_dir>/prm_blind`."""
    run = RunDirectory(run_dir)
    check_tasks(experiment, run)
    configuration = {
        "sft": run.fingerprint_of("sft"),
        "policies": {name: run.fingerprint_of(name) for name in experiment.prm_samples.policies},
        "learning": experiment.prm,
        "lora": experiment.model.lora,
        "reads_surprise": experiment.model.reads_surprise,
        "dtype": experiment.model.dtype,
        "labels": experiment.labels,
        "samples": experiment.prm_samples,
        "without": experiment.prm_without,
        "seed": experiment.seed,
    }
    if experiment.prm_samples.problems:
        configuration |= {
            "practice": sources_of(experiment.problems, "practice"),
            "sampling": experiment.sampling,
        }
    run.stage("prm", configuration, functools.partial(_prm, experiment, run))
    run.stage("prm_blind", configuration, functools.partial(_blind, experiment, run))


def mean_operator_auc(scored: Sequence[ScoredProgram]) -> float:
    """Mean over mutation operators of the area under the ROC curve."""
    areas = [operator.auc for operator in auc_by_operator(scored)]
    return float(np.nanmean(areas)) if areas else float("nan")


def train_scorer(
    learning: LearningConfig,
    model: ModelConfig,
    mesh: Mesh,
    policy: Any,
    rows: TokenBatch,
    validation: Sequence[LabelledProgram],
    tokenizer: Tokenizer,
    folder: epath.Path,
    *,
    seed: int,
    label: str,
    prompt: bool = True,
) -> FitResult:
    """Trains a scalar head on a copy of the policy's trunk, or of its adapters; keeps what has the best validation AUC.

    Args:
      learning: how.
      model: the trunk's shape.
      mesh: where; set by the caller.
      policy: the SFT policy.
      rows: labelled rows, a PRM's or an ORM's.
      validation: programs of validation problems.
      tokenizer: the rows' tokenizer.
      folder: gets checkpoints and metrics.
      seed: of initialisation and batches.
      label: what the progress bar is called.
      prompt: whether the scorer sees prompts.
    """
    optimizer = make_optimizer(learning.optimizer)
    params = init_scorer(model, jax.random.key(seed), policy)
    still = frozen(params, model)
    state, shardings = sharded_train_state(
        trainable(params, model), functools.partial(boxed_trainable_scorer, model), optimizer, mesh
    )
    train_step = make_train_step(step_loss_of(model), optimizer, seed=seed, state_shardings=shardings)

    def evaluate(own: Any, step: int) -> dict[str, float]:
        del step
        score = token_scorer(whole(own, still), model)
        scored = score_programs(score, validation, tokenizer, rows.tokens.shape[1], SCORE_BATCH, prompt)
        return {"auc": mean_operator_auc(scored)}

    return fit(
        learning.fit,
        state,
        BoundStep(train_step, still),
        lambda start: host_batches(rows, learning.batch_size, seed, start),
        directory=folder,
        evaluate=evaluate,
        monitor="auc",
        place=functools.partial(shard_batch, mesh=mesh),
        label=label,
    )


def step_loss_of(model: ModelConfig) -> LossFn:
    """The step loss as a function of a scorer's parameters."""

    def loss(params: Any, batch: TokenBatch, key: jax.Array) -> Any:
        del key
        tokens, segments, positions = map(jnp.asarray, batch[:3])
        return step_loss(scores(params, model, tokens, segments, positions), batch)

    return loss


def validation_programs(run: RunDirectory, seed: int) -> list[LabelledProgram]:
    """A fixed random part of the validation problems' programs."""
    rows = labelled_programs(run, "validation")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:VALIDATION_PROGRAMS]
    return [rows[index] for index in sorted(chosen)]


def _prm(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    rows = _variant_rows(experiment, run, prompt=True)
    if experiment.prm_samples.problems:
        own, blind = own_rows(experiment, run, rows.tokens.shape[1])
        if is_first():
            archive = io.BytesIO()  # Written with seeks, which a file of a bucket refuses.
            np.savez(archive, **blind._asdict())
            (folder / OWN_BLIND).write_bytes(archive.getvalue())
        rows = _joined(rows, own)
    return _train(experiment, run, folder, rows, experiment.prm, "prm", prompt=True)


def _blind(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    rows = _variant_rows(experiment, run, prompt=False)
    own = run.folder("prm") / OWN_BLIND
    if own.exists():
        with own.open("rb") as file, np.load(file) as arrays:
            rows = _joined(rows, TokenBatch(**arrays))
    # Without prompts more programs share a row, so that the same steps would be more passes.
    steps = round(experiment.prm.fit.steps * len(rows.tokens) / run.record_of("prm")["summary"]["rows"])
    return _train(experiment, run, folder, rows, experiment.prm.lasting(max(1, steps)), "prm_blind", prompt=False)


def _variant_rows(experiment: Experiment, run: RunDirectory, prompt: bool) -> TokenBatch:
    """The rows of references and their variants, as the tasks exported them or without some operators."""
    exported = load_rows(run.folder("tasks") / ("prm" if prompt else "prm_blind"))
    if not experiment.prm_without:
        return exported
    runs = (run, *map(RunDirectory, experiment.mixed_with))
    programs = [program for each in runs for program in labelled_programs(each, "train")]
    return rows_without(programs, experiment.prm_without, load_tokenizer(run), exported.tokens.shape[1], prompt)


def rows_without(
    programs: Sequence[LabelledProgram], operators: Sequence[str], tokenizer: Tokenizer, length: int, prompt: bool
) -> TokenBatch:
    """Packed rows of the programs that none of some operators made.

    Args:
      programs: labelled programs; those without a label are left out, and those of more than `length` tokens.
      operators: whose programs are left out.
      tokenizer: makes the ids.
      length: T of the rows.
      prompt: whether the rows have prompts.

    Raises:
      UserError: an operator made none of the programs.
    """
    known = {row.operator for row in programs}
    if missing := sorted(set(operators) - known):
        raise UserError(
            f"Experiment.prm_without names {', '.join(missing)}, which made no program of this run; it has "
            f"{', '.join(sorted(known))}"
        )
    kept = (row for row in programs if row.operator not in operators and set(row.labels) != {Label.NEUTRAL})
    pairs = (
        labelled_ids(
            row.prompt if prompt else "", row.text, check_step_ends(row.text, row.step_ends), row.labels, tokenizer
        )
        for row in kept
    )
    return pack_batch(((np.array(ids, np.int32), np.array(labels, np.int32)) for ids, labels in pairs), length)


def _train(
    experiment: Experiment,
    run: RunDirectory,
    folder: epath.Path,
    rows: TokenBatch,
    learning: LearningConfig,
    label: str,
    prompt: bool,
) -> dict[str, Any]:
    tokenizer = load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    validation = validation_programs(run, experiment.seed)
    with mesh_of(experiment) as mesh:
        policy = load_policy(experiment, run, "sft", model, mesh)
        result = train_scorer(
            learning, model, mesh, policy, rows, validation, tokenizer, folder,
            seed=experiment.seed, label=label, prompt=prompt,
        )  # fmt: skip
    save_params(folder, result.best_params)
    return {"steps": result.steps, "rows": len(rows.tokens), "validation_auc": result.best}


def _joined(rows: TokenBatch, others: TokenBatch) -> TokenBatch:
    return TokenBatch(*(np.concatenate(fields) for fields in zip(rows, others, strict=True)))
