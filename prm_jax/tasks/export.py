"""Plain files for machines without TensorFlow: a registered task in, `.npy` files and `meta.json` out.

The stage `tasks` calls this; `training/data.py` reads what it writes. A directory appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import seqio
from etils import epath

from prm_jax.batches import PromptBatch, TokenBatch
from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem
from prm_jax.tasks.converters import CONVERTERS
from prm_jax.tasks.registry import ALL_PROBLEMS, register_prompts
from prm_jax.tasks.rows import TokenRows
from prm_jax.text.tokenizer import Tokenizer

_LOG = logging.getLogger(__name__)


def export_rows(
    task_name: str, split: str, length: int, kind: str, directory: epath.PathLike, pack: bool = True
) -> dict[str, Any]:
    """Writes one split of a task or mixture as the fields of a `TokenBatch`.

    Args:
      task_name: a registered task or mixture, e.g. `"mbpp_prm"`.
      split: `"train"`, `"validation"` or `"test"`.
      length: T, tokens per row; longer programs are left out and counted.
      kind: `"sft"`, `"prm"` or `"orm"`.
      directory: gets `tokens.npy`, `segments.npy`, `positions.npy`, `labels.npy` (int32 `[rows, T]`) and `meta.json`.
      pack: whether programs share rows.

    Returns:
      What `meta.json` holds: numbers of rows, programs, tokens, labels of each value, programs left out; the
      tokenizer's fingerprint; the arguments.

    Raises:
      UserError: where the task, the split or every program in it is missing.
    """
    if kind not in CONVERTERS:
        raise UserError(f"no kind of rows {kind!r}; choose one of {', '.join(CONVERTERS)}")
    task = _task(task_name, split)
    lengths = {"targets": length, "labels": length}
    # The seed is a mixture's, which draws the order of its tasks even where nothing is shuffled.
    dataset = task.get_dataset(sequence_length=lengths, split=split, shuffle=False, num_epochs=1, seed=0)
    converted = CONVERTERS[kind](pack=pack)(dataset, lengths)
    batches = list(converted.batch(256).as_numpy_iterator())
    dropped = _dropped(task)
    if not batches:
        raise UserError(f"{task_name}: no program of split {split!r} has at most {length} tokens ({dropped} longer)")
    rows = TokenBatch(*(np.concatenate([batch[field] for batch in batches]) for field in TokenBatch._fields))
    real = rows.segments > 0
    values, counts = np.unique(rows.labels[real], return_counts=True)
    meta = {
        "task": task_name,
        "split": split,
        "kind": kind,
        "length": length,
        "pack": pack,
        "rows": len(rows.tokens),
        "programs": int(rows.segments.max(axis=1).sum()),
        "tokens": int(real.sum()),
        "labels": {str(value): int(count) for value, count in zip(values, counts, strict=True)},
        "dropped": dropped,
        "tokenizer": task.output_features["targets"].vocabulary.tokenizer.fingerprint,
    }
    _write(directory, rows._asdict(), meta)
    return meta


def export_prompts(
    problems: Sequence[Problem], tokenizer: Tokenizer, directory: epath.PathLike, max_prompt: int, name: str = "rl"
) -> dict[str, Any]:
    """Writes the prompts of problems as the fields of a `PromptBatch`, served by the seqio task `<name>_prompts`.

    Args:
      problems: the host's table of problems; `problem` in the batch is an index into it.
      tokenizer: makes the ids.
      directory: gets `tokens.npy` (int32 `[rows, max_prompt]`), `lengths.npy`, `problem.npy` (int32 `[rows]`) and
        `meta.json`.
      max_prompt: P, tokens per prompt, `bos` included; longer prompts are left out and named in the log.
      name: of the family of tasks.

    Returns:
      What `meta.json` holds.

    Raises:
      UserError: where no prompt is left.
    """
    task = seqio.get_mixture_or_task(register_prompts(name, problems, tokenizer))
    lengths = {"targets": max_prompt}
    dataset = task.get_dataset(sequence_length=lengths, split=ALL_PROBLEMS, shuffle=False, num_epochs=1)
    shapes = {"targets": [max_prompt], "problem": []}
    # No token is negative; one may be 0.
    padded = dataset.padded_batch(256, padded_shapes=shapes, padding_values={"targets": -1, "problem": 0})
    batches = list(padded.as_numpy_iterator())
    kept = {int(problem) for batch in batches for problem in batch["problem"]}
    dropped = [problem.id for index, problem in enumerate(problems) if index not in kept]
    if dropped:
        _LOG.warning("%d prompts longer than %d tokens left out: %s", len(dropped), max_prompt, ", ".join(dropped[:8]))
    if not batches:
        raise UserError(f"none of {len(problems)} prompts has at most {max_prompt} tokens; raise max_prompt")
    tokens = np.concatenate([batch["targets"] for batch in batches])
    rows = PromptBatch(
        tokens=np.maximum(tokens, 0),
        lengths=np.count_nonzero(tokens >= 0, axis=1).astype(np.int32),
        problem=np.concatenate([batch["problem"] for batch in batches]),
    )
    meta = {
        "task": f"{name}_prompts",
        "kind": "prompts",
        "length": max_prompt,
        "rows": len(tokens),
        "tokens": int(rows.lengths.sum()),
        "dropped": len(dropped),
        "tokenizer": tokenizer.fingerprint,
    }
    _write(directory, rows._asdict(), meta)
    return meta


def _task(name: str, split: str) -> seqio.Task | seqio.Mixture:
    try:
        task = seqio.get_mixture_or_task(name)
    except ValueError:
        raise UserError(f"no seqio task {name!r}; call prm_jax.tasks.registry.register first") from None
    if split not in task.splits:
        raise UserError(f"{name} has no split {split!r}, only {', '.join(task.splits)}")
    return task


def _dropped(task: seqio.Task | seqio.Mixture) -> int:
    """How many programs the pass that just ended left out."""
    tasks = task.tasks if isinstance(task, seqio.Mixture) else [task]
    return sum(len(p.dropped) for one in tasks for p in one.preprocessors if isinstance(p, TokenRows))


def _write(directory: epath.PathLike, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    with _whole_directory(epath.Path(directory)) as part:
        for name, array in arrays.items():
            with (part / f"{name}.npy").open("wb") as file:
                np.save(file, array)
        (part / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


@contextlib.contextmanager
def _whole_directory(directory: epath.Path) -> Iterator[epath.Path]:
    """A directory to write into, which takes the place of `directory` once all is written."""
    part = directory.parent / f"{directory.name}.part"
    if part.exists():
        part.rmtree()
    part.mkdir(parents=True)
    yield part
    if directory.exists():
        directory.rmtree()
    part.rename(directory)
