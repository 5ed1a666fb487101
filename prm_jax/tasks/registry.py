"""seqio tasks and mixtures: a TFDS dataset and a tokenizer in, named tasks out.

After `register("mbpp", …)`, `seqio.get_mixture_or_task("mbpp_prm")` serves rows of the features `targets` (ids of
`[bos] prompt program [eos]`) and `labels`, one for each target and never 0, because seqio takes the length of a
feature from its count of non-zeros:

| task | rows | labels |
|---|---|---|
| `<name>_sft` | demonstrations | 1 prompt, 2 program |
| `<name>_prm` | every program | a `Label` on the token that ends each step, else `NEUTRAL` |
| `<name>_prm_blind` | every program, behind an empty prompt | as `<name>_prm`: what can be told without the prompt |
| `<name>_orm` | every program | `RIGHT` or `WRONG` (passed or not) on `eos`, else `NEUTRAL` |
| `<name>_prompts` | problems | none; `problem` is the index into the list of problems |

Tokenising and the map from steps to tokens are `text/step_map.py`'s, as they are for what the policy writes.
The stage `tasks` and `export.py` call this.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from prm_jax.errors import UserError
from prm_jax.labelling.labelled_program import Label
from prm_jax.problems.problem import Problem
from prm_jax.tasks.rows import TokenRows
from prm_jax.tasks.vocabulary import TokenizerVocabulary
from prm_jax.text.step_map import labelled_ids, program_row, prompt_ids
from prm_jax.text.steps import check_step_ends
from prm_jax.text.tokenizer import Tokenizer

KINDS = ("sft", "prm", "prm_blind", "orm")
SFT_GIVEN, SFT_PREDICTED = 1, 2
ALL_PROBLEMS = "all"

_FIELDS = ("problem_id", "prompt", "text", "demonstration", "passed", "step_ends", "labels")


class ProgramRows(TokenRows):
    """The preprocessor of the program tasks: TFDS rows in, `targets` and `labels` out."""

    def __init__(self, name: str, kind: str, tokenizer: Tokenizer, max_length: int):
        """Args: the task's name for the log, one of `KINDS`, the tokenizer, the longest row in tokens."""
        super().__init__(name, max_length)
        self._kind, self._tokenizer = kind, tokenizer

    def rows(self, dataset: tf.data.Dataset) -> Iterator[tuple[str, list[int], list[int]]]:
        """The rows of the programs that the task has a use for."""
        for problem, *row in _strings(dataset):
            targets, labels = self._row(*row)
            if targets:
                yield problem, targets, labels

    def _row(
        self, prompt: str, text: str, demonstration: bool, passed: bool, step_ends: list[int], labels: list[int]
    ) -> tuple[list[int], list[int]]:
        """Targets and labels of one program; nothing where the task has no use for it."""
        if self._kind == "sft" and not demonstration:
            return [], []
        if self._kind in ("prm", "prm_blind"):
            seen = "" if self._kind == "prm_blind" else prompt
            return labelled_ids(seen, text, check_step_ends(text, step_ends), labels, self._tokenizer)
        ids, prompt_length = program_row(prompt, text, self._tokenizer)
        if self._kind == "sft":
            return ids, sft_labels(ids, prompt_length)
        return ids, [int(Label.NEUTRAL)] * (len(ids) - 1) + [int(Label.RIGHT if passed else Label.WRONG)]


def register(name: str, data_dir: epath.PathLike, tokenizer: Tokenizer, max_length: int) -> None:
    """Registers `<name>_sft`, `<name>_prm`, `<name>_prm_blind` and `<name>_orm`, in place of tasks of these names.

    Args:
      name: of the family, e.g. `"mbpp"`.
      data_dir: a dataset's directory, as `builder.build_dataset` returns it.
      tokenizer: makes the ids.
      max_length: the longest row, in tokens, where `get_dataset` is given no `sequence_length`.

    Raises:
      UserError: where there is no dataset.
    """
    directory = epath.Path(data_dir)
    if not (directory / "dataset_info.json").exists():
        raise UserError(f"no TFDS dataset in {data_dir}; the stage `label` makes one")
    # Given a version, TFDS reads the files and does not ask the builder, which would want the shards.
    dataset = f"{directory.parent.name}:{directory.name}"
    splits = list(tfds.builder_from_directory(str(directory)).info.splits)
    for kind in KINDS:
        task = f"{name}_{kind}"
        source = seqio.TfdsDataSource(dataset, tfds_data_dir=str(directory.parent.parent), splits=splits)
        add_task(task, source, ProgramRows(task, kind, tokenizer, max_length), tokenizer)


def add_task(task: str, source: seqio.DataSource, rows: TokenRows, tokenizer: Tokenizer) -> None:
    """Registers a task with the features `targets` and `labels`, in place of one of that name."""
    _forget(task)
    seqio.TaskRegistry.add(
        task,
        source=source,
        preprocessors=[rows],
        output_features={
            "targets": seqio.Feature(TokenizerVocabulary(tokenizer), add_eos=False),
            "labels": seqio.Feature(seqio.PassThroughVocabulary(len(Label) + 1), add_eos=False),
        },
    )


def sft_labels(ids: Sequence[int], prompt_length: int) -> list[int]:
    """What SFT is given and what it predicts, for each of the ids."""
    return [SFT_GIVEN] * prompt_length + [SFT_PREDICTED] * (len(ids) - prompt_length)


def register_prompts(name: str, problems: Sequence[Problem], tokenizer: Tokenizer) -> str:
    """Registers `<name>_prompts`, in place of a task of that name.

    Its splits are those of the problems, and `"all"`. Features: `targets`, the ids of `[bos] prompt`, and the
    scalar `problem`, the index into `problems` whatever the split.

    Returns:
      The task's name.
    """
    task = f"{name}_prompts"
    rows = [prompt_ids(problem.prompt, tokenizer) for problem in problems]
    splits = {problem.split for problem in problems} | {ALL_PROBLEMS}

    def dataset(split: str, shuffle_files: bool = False, seed: int | None = None) -> tf.data.Dataset:
        del shuffle_files, seed  # seqio shuffles what the source gives.
        chosen = [i for i, problem in enumerate(problems) if split in (ALL_PROBLEMS, problem.split)]
        prompts = tf.ragged.constant([rows[i] for i in chosen], dtype=tf.int32, ragged_rank=1)
        return tf.data.Dataset.from_tensor_slices({"targets": prompts, "problem": np.array(chosen, np.int32)})

    _forget(task)
    seqio.TaskRegistry.add(
        task,
        source=seqio.FunctionDataSource(dataset, splits=sorted(splits)),
        preprocessors=[_dense, _drop_long_prompts],
        output_features={
            "targets": seqio.Feature(TokenizerVocabulary(tokenizer), add_eos=False),
            "problem": seqio.Feature(seqio.PassThroughVocabulary(len(problems)), add_eos=False, rank=0),
        },
    )
    return task


def register_mixtures(name: str, families: Sequence[str]) -> None:
    """Registers the mixtures `<name>_sft`, `<name>_prm`, `<name>_prm_blind` and `<name>_orm` of registered families.

    Each family counts by its number of programs. Prompts are not mixed: their indices belong to one list of
    problems.
    """
    # One epoch of a mixture is every program once, so no family's end may end the others.
    sample = functools.partial(tf.data.Dataset.sample_from_datasets, stop_on_empty_dataset=False)
    for kind in KINDS:
        mixture = f"{name}_{kind}"
        _forget(mixture)
        tasks = [f"{family}_{kind}" for family in families]
        seqio.MixtureRegistry.add(mixture, tasks, default_rate=seqio.mixing_rate_num_examples, sample_fn=sample)


def _strings(dataset: tf.data.Dataset) -> Iterator[tuple]:
    """The `_FIELDS` of each row of a TFDS split as plain Python data."""
    chosen = dataset.map(lambda row: {field: row[field] for field in _FIELDS})
    # Padded batches are the fast way out of TensorFlow; lists are cut back to length below.
    for batch in chosen.padded_batch(256).as_numpy_iterator():
        for problem, prompt, text, shown, passed, ends, labels in zip(*(batch[f] for f in _FIELDS), strict=True):
            count = np.count_nonzero(labels)  # A label is never 0; a step end is, in an empty program.
            steps = ends[:count].tolist(), labels[:count].tolist()
            yield problem.decode(), prompt.decode(), text.decode(), bool(shown), bool(passed), *steps


def _dense(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Slices of a ragged tensor become plain vectors."""

    def dense(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        targets = row["targets"]
        targets = targets.to_tensor() if isinstance(targets, tf.RaggedTensor) else targets
        return {"targets": tf.ensure_shape(targets, [None]), "problem": row["problem"]}

    return dataset.map(dense)


def _drop_long_prompts(dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None = None) -> tf.data.Dataset:
    """Leaves out what would be cut; `export.py` names the problems."""
    if not sequence_length:
        return dataset
    return dataset.filter(lambda row: tf.size(row["targets"]) <= sequence_length["targets"])


def _forget(name: str) -> None:
    seqio.TaskRegistry.remove(name)
    seqio.MixtureRegistry.remove(name)
