"""A loaded policy as the `Complete` that labelling asks for: it goes on with programs that have begun.

Called by the stages that label with a policy's help: `prm` (prefix search) and `label` (a teacher).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prm_jax.batches import PromptBatch
from prm_jax.labelling.complete import Complete
from prm_jax.problems.problem import Problem
from prm_jax.sampling.engine import sample_many
from prm_jax.sampling.stops import before_stop
from prm_jax.stages.workbench import SAMPLE_BATCH, Writer
from prm_jax.text.step_map import prompt_ids


def complete_with(writer: Writer, params: Any) -> Complete:
    """The policy with these parameters, as one that goes on with beginnings of programs.

    It is given a beginning without its last newline: a token holds a newline together with the indentation behind it,
    so that a policy has never seen a newline alone where an indented line follows.
    """

    def complete(pairs: Sequence[tuple[Problem, str]], count: int, seed: int) -> list[list[str]]:
        begun = [(problem, prefix.removesuffix("\n").removesuffix("\r")) for problem, prefix in pairs]
        texts = _continued(writer, params, [pair for pair in begun for _ in range(count)], seed)
        return [texts[i * count : (i + 1) * count] for i in range(len(pairs))]

    return complete


def _continued(writer: Writer, params: Any, begun: Sequence[tuple[Problem, str]], seed: int) -> list[str]:
    """One whole program for each beginning; what is added ends before the first of the rule's stop sequences."""
    if not begun:
        return []
    tokenizer = writer.tokenizer
    rows = [[*prompt_ids(problem.prompt, tokenizer), *tokenizer.encode(text)] for problem, text in begun]
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), lengths.max()), np.int32)
    for own, row in zip(tokens, rows, strict=True):
        own[: len(row)] = row
    written = sample_many(
        params,
        PromptBatch(tokens, lengths, np.arange(len(rows), dtype=np.int32)),
        np.random.default_rng(seed).integers(2**32, size=len(rows), dtype=np.uint32),
        model=writer.model,
        config=writer.sampling,
        eos_id=tokenizer.eos_id,
        batch_size=min(SAMPLE_BATCH, len(rows)),
        token_bytes=tokenizer.token_bytes,
    )
    return [
        text + before_stop(tokenizer.decode(ids[: length - finished]), writer.sampling.stop)
        for (_, text), ids, length, finished in zip(
            begun, written.tokens, written.lengths, written.finished, strict=True
        )
    ]
