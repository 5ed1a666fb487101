"""Stage `tasks`: labelled programs in, seqio tasks and the learner's arrays out.

This stage and `label` alone import TensorFlow. What later stages read are plain `.npy` files, so that a learner
starts fast and runs where TensorFlow is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.parallel.processes import is_first
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import dataset_folder, families
from prm_jax.stages.pretrained import pretrained_config, tokenizer_at
from prm_jax.stages.problem_sets import problems_of
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.text.pretrained import PretrainedTokenizer, load_tokenizer
from prm_jax.text.tokenizer import BpeTokenizer

SERVED = "served.json"
"""Names the families of a run and their data sets, so that `serve` needs no configuration."""


def tasks(experiment: Experiment, run_dir: str, export: str | None = None) -> None:
    """Makes the tokenizer, registers the seqio tasks and exports their rows.

    Args:
      experiment: the experiment.
      run_dir: its run directory, with a finished `label`.
      export: a folder that gets a copy of the arrays, for machines without TensorFlow.
    """
    run = RunDirectory(run_dir)
    configuration = {"label": run.fingerprint_of("label"), "text": experiment.text, "pretrained": experiment.pretrained}
    run.stage("tasks", configuration, lambda folder: _tasks(experiment, run, folder), alone=True)
    if export and is_first():
        shutil.copytree(run.folder("tasks"), export, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tfds"))
        print(f"tasks: arrays copied to {export}")


def serve(run_dir: str) -> tuple[str, ...]:
    """Registers the seqio tasks of a run, for `seqio.get_mixture_or_task` here or in a program of one's own.

    The demonstrations' family is called like the experiment: `<name>_sft`, `<name>_prm`, … Where there is a second
    family, `<name>_others_…`, the mixtures `<name>_all_…` hold both.

    Args:
      run_dir: a run directory in which the stage `tasks` has been started.

    Returns:
      The names of the families, the widest one last.
    """
    from prm_jax.tasks.registry import register, register_mixtures

    folder = RunDirectory(run_dir).folder("tasks")
    if not (folder / SERVED).exists():
        raise UserError(f"{run_dir} serves no tasks: run `prm_jax tasks` there first")
    served = json.loads((folder / SERVED).read_text())
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    names = tuple(served["families"])
    for name, dataset in served["families"].items():
        register(name, epath.Path(run_dir) / dataset, tokenizer, served["max_length"])
    if len(names) == 1:
        return names
    register_mixtures(f"{names[0]}_all", names)
    return *names, f"{names[0]}_all"


def _tasks(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    from prm_jax.tasks.export import export_prompts, export_rows

    tokenizer = _tokenizer(experiment)
    tokenizer.save(folder / "tokenizer.json")
    names = {"demonstrations": experiment.name, "others": f"{experiment.name}_others"}
    datasets = {names[family]: str(dataset_folder(run, family)) for family in families(experiment)}
    relative = {name: os.path.relpath(path, run.path) for name, path in datasets.items()}
    write_json(folder / SERVED, {"families": relative, "max_length": experiment.text.max_length})
    serve(run.path)
    judged = list(datasets)[-1]
    length = experiment.text.max_length
    sft = export_rows(f"{experiment.name}_sft", "train", length, "sft", folder / "sft")
    prm = export_rows(f"{judged}_prm", "train", length, "prm", folder / "prm")
    blind = export_rows(f"{judged}_prm_blind", "train", length, "prm", folder / "prm_blind")
    orm = export_rows(f"{judged}_orm", "train", length, "orm", folder / "orm")
    practice = problems_of(experiment.problems, "practice")
    prompts = export_prompts(practice, tokenizer, folder / "prompts", experiment.text.max_prompt, experiment.name)
    metas = {"sft": sft, "prm": prm, "prm_blind": blind, "orm": orm, "prompts": prompts}
    return {"vocabulary": tokenizer.vocab_size} | {f"{name}_rows": meta["rows"] for name, meta in metas.items()}


def _tokenizer(experiment: Experiment) -> BpeTokenizer | PretrainedTokenizer:
    """The checkpoint's tokenizer where the policy starts from one, else one trained on the demonstrations."""
    if experiment.pretrained.path:
        tokenizer = tokenizer_at(experiment.pretrained.path)
        pretrained_config(experiment, tokenizer)  # Rows that the model cannot read are refused before they are made.
        return tokenizer
    demonstrations = problems_of(experiment.problems, "demonstrations")
    shown = ((problem.prompt + "\n", problem.demonstration or problem.reference) for problem in demonstrations)
    texts = [text for pair in shown for text in pair]
    return BpeTokenizer.train(texts, experiment.text.vocabulary_size, experiment.text.pieces)
