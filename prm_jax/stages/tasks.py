"""Stage `tasks`: labelled programs in, seqio tasks and the learner's arrays out.

The only stage that imports TensorFlow. What later stages read are plain `.npy` files, so that a learner starts fast
and runs where TensorFlow is not installed.
"""

from __future__ import annotations

import shutil
from typing import Any

from etils import epath

from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import dataset_folder, families
from prm_jax.stages.problem_sets import problems_of
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.text.tokenizer import BpeTokenizer


def tasks(experiment: Experiment, run_dir: str, export: str | None = None) -> None:
    """Trains the tokenizer, registers the seqio tasks and exports their rows.

    Args:
      experiment: the experiment.
      run_dir: its run directory, with a finished `label`.
      export: a folder that gets a copy of the arrays, for machines without TensorFlow.
    """
    run = RunDirectory(run_dir)
    configuration = {"label": run.fingerprint_of("label"), "text": experiment.text}
    run.stage("tasks", configuration, lambda folder: _tasks(experiment, run, folder))
    if export:
        shutil.copytree(run.folder("tasks"), export, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tfds"))
        print(f"tasks: arrays copied to {export}")


def serve_tasks(experiment: Experiment, run: RunDirectory, tokenizer: BpeTokenizer) -> str:
    """Registers the run's seqio tasks: `<name>_sft`, `<name>_prm`, `<name>_orm`, and `<name>_all_…` over all families.

    Returns:
      The name of the widest mixture of the reward models: `<name>` or `<name>_all`.
    """
    from prm_jax.tasks.registry import register, register_mixtures

    names = {"demonstrations": experiment.name, "others": f"{experiment.name}_others"}
    registered = [names[family] for family in families(experiment)]
    for family in families(experiment):
        register(names[family], dataset_folder(run, family), tokenizer, experiment.text.max_length)
    if len(registered) == 1:
        return experiment.name
    register_mixtures(f"{experiment.name}_all", registered)
    return f"{experiment.name}_all"


def _tasks(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    from prm_jax.tasks.export import export_prompts, export_rows

    tokenizer = _train_tokenizer(experiment)
    tokenizer.save(folder / "tokenizer.json")
    widest = serve_tasks(experiment, run, tokenizer)
    length = experiment.text.max_length
    sft = export_rows(f"{experiment.name}_sft", "train", length, "sft", folder / "sft")
    prm = export_rows(f"{widest}_prm", "train", length, "prm", folder / "prm")
    blind = export_rows(f"{widest}_prm_blind", "train", length, "prm", folder / "prm_blind")
    orm = export_rows(f"{widest}_orm", "train", length, "orm", folder / "orm")
    practice = problems_of(experiment.problems, "practice")
    prompts = export_prompts(practice, tokenizer, folder / "prompts", experiment.text.max_prompt, experiment.name)
    metas = {"sft": sft, "prm": prm, "prm_blind": blind, "orm": orm, "prompts": prompts}
    return {"vocabulary": tokenizer.vocab_size} | {f"{name}_rows": meta["rows"] for name, meta in metas.items()}


def _train_tokenizer(experiment: Experiment) -> BpeTokenizer:
    demonstrations = problems_of(experiment.problems, "demonstrations")
    texts = [text for problem in demonstrations for text in (problem.prompt + "\n", problem.reference)]
    return BpeTokenizer.train(texts, experiment.text.vocabulary_size)
