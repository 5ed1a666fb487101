"""Exported rows in, numpy batches for the learner out. NumPy only: a learner needs no TensorFlow.

`tasks/export.py` writes the directories; the training stages and PPO read them here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from etils import epath

from prm_jax.batches import PromptBatch, TokenBatch
from prm_jax.errors import UserError

Rows = TypeVar("Rows", TokenBatch, PromptBatch)


def load_meta(directory: epath.PathLike) -> dict[str, Any]:
    """What `meta.json` of an export says: counts, the tokenizer's fingerprint, the task.

    Raises:
      UserError: where the export is missing or torn.
    """
    try:
        return json.loads((epath.Path(directory) / "meta.json").read_text())
    except FileNotFoundError:
        raise UserError(f"no exported rows in {directory}; run `prm_jax tasks` first") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{directory}/meta.json is torn ({error}); delete the directory and export again") from None


def load_rows(directory: epath.PathLike) -> TokenBatch:
    """The rows of `export_rows`, int32 `[rows, T]` each; files on a local disk are memory-mapped.

    Raises:
      UserError: where the export is missing or torn.
    """
    return _load(directory, TokenBatch)


def load_prompts(directory: epath.PathLike) -> PromptBatch:
    """The prompts of `export_prompts`: int32 tokens `[rows, P]`, lengths `[rows]`, problem `[rows]`.

    Raises:
      UserError: where the export is missing or torn.
    """
    return _load(directory, PromptBatch)


def batches(
    rows: Rows, batch_size: int, seed: int, start_step: int = 0, host_index: int = 0, host_count: int = 1
) -> Iterator[Rows]:
    """Endless batches, a fresh order in every epoch.

    Batch number `step` is a function of `(seed, step)` alone, so a run that resumes with `start_step` goes on with
    the row that it would have taken. An epoch's last `rows % batch_size` rows, other ones in each epoch, are left
    out; a set smaller than one batch is repeated within the batch, so that no batch is ever short.

    Args:
      rows: what `load_rows` or `load_prompts` gave.
      batch_size: rows of a batch over all hosts.
      seed: of the order.
      start_step: the first batch's number.
      host_index: this host; it gets the host_index-th of host_count equal parts of each batch.
      host_count: number of hosts.

    Raises:
      UserError: where the batch cannot be shared equally by the hosts.
    """
    if batch_size < 1 or batch_size % host_count:
        raise UserError(f"batch_size {batch_size} cannot be shared by {host_count} hosts; choose a multiple of it")
    count = len(rows[0])
    per_epoch = max(1, count // batch_size)
    share = batch_size // host_count
    own = slice(host_index * share, (host_index + 1) * share)
    step, epoch, order = start_step, -1, np.empty(0, np.int64)
    while True:
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = np.resize(np.random.default_rng((seed, epoch)).permutation(count), max(count, batch_size))
        first = step % per_epoch * batch_size
        chosen = order[first : first + batch_size][own]
        yield type(rows)(*(np.asarray(field[chosen]) for field in rows))
        step += 1


def _load(directory: epath.PathLike, kind: type[Rows]) -> Rows:
    count = load_meta(directory).get("rows")
    fields = [_load_array(epath.Path(directory) / f"{field}.npy") for field in kind._fields]
    widths = {field.shape[1:] for field in fields if field.ndim == 2}
    if not count or len(widths) != 1 or any(len(field) != count or field.dtype != np.int32 for field in fields):
        found = ", ".join(
            f"{name} {field.dtype}{field.shape}" for name, field in zip(kind._fields, fields, strict=True)
        )
        raise UserError(f"{directory} is torn: meta.json says {count} rows, found {found}; delete it and export again")
    return kind(*fields)


def _load_array(path: epath.Path) -> np.ndarray:
    try:
        if "://" in str(path):
            with path.open("rb") as file:
                return np.load(file)
        return np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `prm_jax tasks` to export the rows") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is torn ({error}); delete its directory and export again") from None
