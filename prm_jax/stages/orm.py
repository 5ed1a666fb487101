"""Stage `orm`: whole-program labels in, the outcome reward model out. It judges a program at its last token only."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from etils import epath

from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.prm import train_scorer, validation_programs
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import check_tasks, load_policy, load_tokenizer, mesh_of, model_config, save_params
from prm_jax.training.data import load_rows


def orm(experiment: Experiment, run_dir: str) -> None:
    """Trains the ORM into `<run_dir>/orm`."""
    run = RunDirectory(run_dir)
    check_tasks(experiment, run)
    configuration = {
        "sft": run.fingerprint_of("sft"),
        "learning": experiment.orm,
        "lora": experiment.model.lora,
        "reads_surprise": experiment.model.reads_surprise,
        "dtype": experiment.model.dtype,
        "seed": experiment.seed,
    }
    run.stage("orm", configuration, functools.partial(_orm, experiment, run))


def _orm(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    rows = load_rows(run.folder("tasks") / "orm")
    validation = [_outcome_only(row) for row in validation_programs(run, experiment.seed)]
    with mesh_of(experiment) as mesh:
        policy = load_policy(experiment, run, "sft", model, mesh)
        result = train_scorer(
            experiment.orm, model, mesh, policy, rows, validation, tokenizer, folder,
            seed=experiment.seed, label="orm",
        )  # fmt: skip
    save_params(folder, result.best_params)
    return {"steps": result.steps, "rows": len(rows.tokens), "validation_auc": result.best}


def _outcome_only(row: LabelledProgram) -> LabelledProgram:
    """The program with one label, on its end: whether it passed."""
    outcome = Label.RIGHT if row.passed else Label.WRONG
    return dataclasses.replace(row, labels=(*(Label.NEUTRAL for _ in row.labels[1:]), outcome))
