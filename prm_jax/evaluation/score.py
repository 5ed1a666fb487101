"""Scores of programs, step by step: labelled programs and a scorer in, `ScoredProgram`s out.

The stages `prm`, `evaluate` and the command `score` call `score_programs` with a jitted scorer; `prm_eval.py` and
the report read what it gives. Programs are texts, encoded as the corpus is, also where a policy has written them: where
it cut a text into other tokens than the tokenizer does, these are not seen. B batch, T tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from prm_jax.batches import TokenBatch
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.text.step_map import program_row, step_end_tokens
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import Tokenizer

# From a batch of one program to a row to the raw scores z [B, T] of a scalar head.
ScoreTokens = Callable[[TokenBatch], Float[np.ndarray, "B T"]]

_SHORTEST_ROW = 32


@dataclasses.dataclass(frozen=True)
class ScoredProgram:
    """A labelled program and what a PRM says of it.

    Attributes:
      labelled: the program.
      scores: per step p = sigmoid(z), the probability that the program can still come right after it; NaN on steps
        that are not scored: comments, blank lines, docstrings, and what lies beyond the scorer's row.
    """

    labelled: LabelledProgram
    scores: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class _Row:
    """A program as ids, and the place in the row of the token that ends each step; -1 where it is not scored."""

    ids: list[int]
    ends: list[int]


def score_programs(
    score_tokens: ScoreTokens,
    rows: Sequence[LabelledProgram],
    tokenizer: Tokenizer,
    max_length: int,
    batch_size: int,
    prompt: bool = True,
) -> list[ScoredProgram]:
    """Scores every step of every labelled program: arguments as those of `score_steps`.

    Args:
      score_tokens: gives raw scores z.
      rows: the programs.
      tokenizer: the scorer's.
      max_length: longest row.
      batch_size: B.
      prompt: whether the scorer may see the prompt. A PRM that does as well without it has learned the look of a
        mutation, not whether the program does what was asked.

    Returns:
      One `ScoredProgram` per row, in order.

    Raises:
      ValueError: where a program has another number of labels than its text has steps.
    """
    for row in rows:
        if (steps := len(split_steps(row.text))) != len(row.labels):
            raise ValueError(f"{row.problem_id}: {len(row.labels)} labels for a program of {steps} steps")
    pairs = [(row.prompt if prompt else "", row.text) for row in rows]
    scores = score_steps(score_tokens, pairs, tokenizer, max_length, batch_size)
    return [ScoredProgram(row, steps) for row, steps in zip(rows, scores, strict=True)]


def score_steps(
    score_tokens: ScoreTokens,
    programs: Sequence[tuple[str, str]],
    tokenizer: Tokenizer,
    max_length: int,
    batch_size: int,
) -> list[tuple[float, ...]]:
    """Scores every step of every program.

    Programs of like length go together, and a batch is padded to a power of two (at most `max_length`) and to
    `batch_size` rows, so that a jitted scorer compiles for few shapes.

    Args:
      score_tokens: gives raw scores z; anything that `np.asarray` takes.
      programs: prompt and text of each, which `program_row` encodes.
      tokenizer: the scorer's.
      max_length: longest row; a longer one is cut, and the steps that do not end within it are not scored.
      batch_size: B.

    Returns:
      Of each program the scores of its steps, as `ScoredProgram.scores` has them.
    """
    prepared = [_prepare(prompt, text, tokenizer, max_length) for prompt, text in programs]
    order = sorted(range(len(programs)), key=lambda i: len(prepared[i].ids))
    scored: dict[int, tuple[float, ...]] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        z = np.asarray(score_tokens(_batch([prepared[i].ids for i in chosen], batch_size, max_length)), np.float64)
        for row_z, i in zip(z, chosen, strict=False):
            scored[i] = tuple(_sigmoid(row_z[end]) if end >= 0 else math.nan for end in prepared[i].ends)
    return [scored[i] for i in range(len(programs))]


def _prepare(prompt: str, text: str, tokenizer: Tokenizer, max_length: int) -> _Row:
    steps = split_steps(text)
    ids, before = program_row(prompt, text, tokenizer)
    ids = ids[:max_length]
    ends = step_end_tokens(ids[before:], tokenizer, steps)
    places = [-1 if end < 0 or step.neutral else before + end for end, step in zip(ends, steps, strict=True)]
    return _Row(ids, places)


def _batch(ids: Sequence[list[int]], batch_size: int, max_length: int) -> TokenBatch:
    longest = max(len(row) for row in ids)
    width = min(max_length, max(_SHORTEST_ROW, 1 << (longest - 1).bit_length()))
    tokens, segments, positions, labels = (np.zeros((batch_size, width), np.int32) for _ in range(4))
    for b, row in enumerate(ids):
        tokens[b, : len(row)] = row
        segments[b, : len(row)] = 1
        positions[b, : len(row)] = np.arange(len(row))
        labels[b, : len(row)] = Label.NEUTRAL
    return TokenBatch(tokens, segments, positions, labels)


def _sigmoid(z: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * z))
