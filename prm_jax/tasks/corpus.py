"""The corpus as a seqio task: `corpus-<split>.jsonl`, as `prm_jax mine` writes them, and a tokenizer in, a task out.

After `register_corpus("mined", …)`, `seqio.get_mixture_or_task("mined_corpus_sft")` serves rows like those of
`<name>_sft`: `targets`, the ids of `[bos] prompt program [eos]`, and `labels`, 1 on the prompt and 2 on the program.
Lines are read as they are asked for, so that a corpus may be larger than memory. `stages/tasks.py` calls this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import seqio
import tensorflow as tf
from etils import epath

from prm_jax.errors import UserError
from prm_jax.mining.corpus import corpus_files
from prm_jax.tasks.registry import add_task, sft_labels
from prm_jax.tasks.rows import TokenRows
from prm_jax.text.step_map import program_row
from prm_jax.text.tokenizer import Tokenizer


def register_corpus(name: str, folder: epath.PathLike, tokenizer: Tokenizer, max_length: int) -> str:
    """Registers `<name>_corpus_sft`, in place of a task of that name.

    Args:
      name: of the family, e.g. `"mined"`.
      folder: what `prm_jax mine` wrote.
      tokenizer: makes the ids.
      max_length: the longest row, in tokens, where `get_dataset` is given no `sequence_length`; longer ones are left
        out, never cut.

    Returns:
      The task's name.

    Raises:
      UserError: where there is no corpus.
    """
    files = {split: str(path) for split, path in corpus_files(folder).items()}
    if not files:
        raise UserError(f"no corpus in {folder}; `prm_jax mine` writes one where MiningConfig.corpus is True")
    task = f"{name}_corpus_sft"
    add_task(task, seqio.TextLineDataSource(files), CorpusRows(task, tokenizer, max_length), tokenizer)
    return task


class CorpusRows(TokenRows):
    """The preprocessor of the corpus: lines in, `targets` and `labels` out."""

    def __init__(self, name: str, tokenizer: Tokenizer, max_length: int) -> None:
        """Args: the task's name for the log, the tokenizer, the longest row in tokens."""
        super().__init__(name, max_length)
        self._tokenizer = tokenizer

    def rows(self, dataset: tf.data.Dataset) -> Iterator[tuple[str, list[int], list[int]]]:
        """The rows of all lines."""
        for line in dataset.as_numpy_iterator():
            row = json.loads(line)
            ids, prompt_length = program_row(row["prompt"], row["text"], self._tokenizer)
            yield row["id"], ids, sft_labels(ids, prompt_length)
