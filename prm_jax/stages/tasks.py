"""Stage `tasks`: labelled programs in, seqio tasks and the learner's arrays out.

This stage and `label` alone import TensorFlow. What later stages read are plain files, the `.npy` files that are made
here and the JSONL files of `label`, so that a learner starts fast and runs where TensorFlow is not installed.
"""

from __future__ import annotations

import json
import os
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.mining.corpus import corpus_files
from prm_jax.parallel.processes import is_first
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import dataset_folder, families, judged_family, labelled_programs
from prm_jax.stages.pretrained import pretrained_config, tokenizer_at
from prm_jax.stages.problem_record import as_recorded, write_record
from prm_jax.stages.problem_sets import held_out, problems_of
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.text.pretrained import PretrainedTokenizer, load_tokenizer
from prm_jax.text.tokenizer import BpeTokenizer

SERVED = "served.json"
"""Names the families of a run, their data sets and the mixtures, so that `serve` needs no configuration."""


def tasks(experiment: Experiment, run_dir: str, export: str | None = None) -> None:
    """Makes the tokenizer, registers the seqio tasks and exports their rows.

    Args:
      experiment: the experiment.
      run_dir: its run directory, with a finished `label`.
      export: gets all that later stages read, as a run directory to go on in where there is no TensorFlow.

    Raises:
      UserError: if `label` is not finished or was made from other problems, or a folder was made with another
        configuration.
    """
    if export and epath.Path(export).is_file():
        raise UserError(f"--export={export} is a file: give a folder, which need not be there")
    run = RunDirectory(run_dir)
    run.check("label", labels=experiment.labels)
    configuration = {"label": run.fingerprint_of("label"), "text": experiment.text, "pretrained": experiment.pretrained}
    if others := experiment.mixed_with:
        configuration["mixed_with"] = {other: RunDirectory(other).fingerprint_of("label") for other in others}
    run.stage("tasks", configuration, lambda folder: _tasks(experiment, run, folder), alone=True)
    if export and is_first():
        for stage in ("label", "tasks"):
            run.copy_stage(stage, export, without="tfds")
        print(f"tasks: {export} has all that the learner needs: go on with --run_dir={export}")


def serve(run_dir: str) -> tuple[str, ...]:
    """Registers the seqio tasks of a run, for `seqio.get_mixture_or_task` here or in a program of one's own.

    The demonstrations' family is called like the experiment: `<name>_sft`, `<name>_prm`, … Where there is a second
    family, `<name>_others_…`, the mixtures `<name>_all_…` hold both. A run that this one is mixed with is a family
    called like its folder, and the mixtures `<name>_<folder>_…` hold what the reward models learn from. Where
    `prm_jax mine` was run here, its corpus is `<name>_corpus_sft`.

    Args:
      run_dir: a run directory in which the stage `tasks` has been started.

    Returns:
      The names of the families and of the mixtures.
    """
    from prm_jax.tasks.corpus import register_corpus
    from prm_jax.tasks.registry import register, register_mixtures

    folder = RunDirectory(run_dir).folder("tasks")
    if not (folder / SERVED).exists():
        raise UserError(f"{run_dir} serves no tasks: run `prm_jax tasks` there first")
    served = json.loads((folder / SERVED).read_text())
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    for name, dataset in served["families"].items():
        register(name, epath.Path(run_dir) / dataset, tokenizer, served["max_length"])
    for name, members in served["mixtures"].items():
        register_mixtures(name, members)
    mined = RunDirectory(run_dir).folder("mine")
    if corpus_files(mined):
        register_corpus(next(iter(served["families"])), mined, tokenizer, served["max_length"])
    return *served["families"], *served["mixtures"]


def _tasks(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    from prm_jax.tasks.export import export_prompts, export_rows

    practice = as_recorded(run.folder("label"), problems_of(experiment.problems, "practice"))
    tokenizer = _tokenizer(experiment)
    tokenizer.save(folder / "tokenizer.json")
    names = {"demonstrations": experiment.name, "others": f"{experiment.name}_others"}
    datasets = {names[family]: dataset_folder(run, family) for family in families(experiment)}
    judged = list(datasets)[-1]
    mixtures = {f"{experiment.name}_all": list(datasets)} if len(datasets) > 1 else {}
    if mixed := _mixed_datasets(experiment):
        mixtures[f"{experiment.name}_{'_'.join(mixed)}"] = [judged, *mixed]
        judged = list(mixtures)[-1]
    relative = {name: os.path.relpath(path, run.path) for name, path in (datasets | mixed).items()}
    served = {"families": relative, "mixtures": mixtures, "max_length": experiment.text.max_length}
    write_json(folder / SERVED, served)
    serve(run.path)
    length = experiment.text.max_length
    sft = export_rows(f"{experiment.name}_sft", "train", length, "sft", folder / "sft")
    prm = export_rows(f"{judged}_prm", "train", length, "prm", folder / "prm")
    blind = export_rows(f"{judged}_prm_blind", "train", length, "prm", folder / "prm_blind")
    orm = export_rows(f"{judged}_orm", "train", length, "orm", folder / "orm")
    write_record(folder, practice)
    prompts = export_prompts(practice, tokenizer, folder / "prompts", experiment.text.max_prompt, experiment.name)
    metas = {"sft": sft, "prm": prm, "prm_blind": blind, "orm": orm, "prompts": prompts}
    return {"vocabulary": tokenizer.vocab_size} | {f"{name}_rows": meta["rows"] for name, meta in metas.items()}


def _mixed_datasets(experiment: Experiment) -> dict[str, epath.Path]:
    """The data sets of the runs that this one is mixed with, by the names of their folders.

    Raises:
      UserError: where two have one name, or one of them trains on problems that this run is judged by.
    """
    found: dict[str, epath.Path] = {}
    judging = {problem.id for problem in held_out(experiment.problems)}
    for path in experiment.mixed_with:
        name, other = epath.Path(path).name, RunDirectory(path)
        if name in {*found, experiment.name}:
            raise UserError(f"Experiment.mixed_with: two families would be called {name!r}; rename the folder {path}")
        taught = {program.problem_id for program in labelled_programs(other, "train")}
        if shared := sorted(taught & judging):
            raise UserError(
                f"Experiment.mixed_with: {path} was labelled on {len(shared)} problems that judge this run "
                f"({', '.join(shared[:3])}): mix it with runs that are judged by others"
            )
        found[name] = dataset_folder(other, judged_family(other))
    return found


def _tokenizer(experiment: Experiment) -> BpeTokenizer | PretrainedTokenizer:
    """The checkpoint's tokenizer where the policy starts from one, else one trained on the demonstrations."""
    if experiment.pretrained.path:
        tokenizer = tokenizer_at(experiment.pretrained.path).with_chat(experiment.pretrained.chat)
        pretrained_config(experiment, tokenizer)  # Rows that the model cannot read are refused before they are made.
        return tokenizer
    demonstrations = problems_of(experiment.problems, "demonstrations")
    shown = ((problem.prompt + "\n", problem.demonstration or problem.reference) for problem in demonstrations)
    texts = [text for pair in shown for text in pair]
    return BpeTokenizer.train(texts, experiment.text.vocabulary_size, experiment.text.pieces)
