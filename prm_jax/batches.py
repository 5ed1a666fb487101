"""The arrays that cross from the data's side of the house to the learner's.

`tasks/` makes them as numpy arrays, `training/`, `sampling/` and `ppo/` take them; as named tuples they are
pytrees without importing JAX. `pack_rows` puts programs into rows, for the corpus and for what a policy wrote alike.
B batch, T tokens, P prompt tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from prm_jax.errors import UserError


class TokenBatch(NamedTuple):
    """Rows of token sequences, packed or one to a row. Nothing is shifted; losses shift.

    Attributes:
      tokens: token ids, 0 where padded.
      segments: 1, 2, … for the sequences packed into a row, 0 where padded.
      positions: position within the sequence, 0 where padded.
      labels: SFT: 1 where the token is to be predicted, else 0. PRM and ORM: a `labelling.Label` on the last
        token of each step (of the program, for an ORM), `NEUTRAL` on every other token, 0 where padded.
    """

    tokens: Int[np.ndarray, "B T"]
    segments: Int[np.ndarray, "B T"]
    positions: Int[np.ndarray, "B T"]
    labels: Int[np.ndarray, "B T"]


class PromptBatch(NamedTuple):
    """Prompts for the policy, padded on the right.

    Attributes:
      tokens: prompt ids, 0 where padded; the first is `bos`.
      lengths: number of ids of each prompt.
      problem: index into the host's table of problems.
    """

    tokens: Int[np.ndarray, "B P"]
    lengths: Int[np.ndarray, " B"]
    problem: Int[np.ndarray, " B"]


OPEN_ROWS = 64
"""Rows that packing fills at the same time: more waste less padding and keep more programs in memory."""


def pack_batch(programs: Iterable[tuple[np.ndarray, np.ndarray]], length: int) -> TokenBatch:
    """The programs of at most `length` tokens as packed rows; the arguments are those of `pack_rows`.

    Raises:
      UserError: there is none.
    """
    rows = list(pack_rows((each for each in programs if len(each[0]) <= length), length, OPEN_ROWS))
    if not rows:
        raise UserError(
            f"no program of at most {length} tokens, its prompt included, is left to learn from: raise "
            "TextConfig.max_length, or leave fewer programs out"
        )
    return TokenBatch(*np.stack(rows, axis=1))


def pack_rows(programs: Iterable[tuple[np.ndarray, np.ndarray]], length: int, open_rows: int) -> Iterator[np.ndarray]:
    """Puts programs into rows: first fit over a bounded number of open rows.

    seqio's own packing only joins neighbours, takes a feature's length from its count of non-zeros and needs a
    millisecond a program.

    Args:
      programs: `(tokens, labels)`, int32 and equally long, at most `length`.
      length: T.
      open_rows: how many rows may be filled at the same time; 0 gives each program its own row.

    Yields:
      int32 `[4, T]`: tokens, segments, positions, labels, as in `TokenBatch`.

    Raises:
      ValueError: for a program longer than a row.
    """
    rows: list[list[tuple[np.ndarray, np.ndarray]]] = []
    free: list[int] = []
    for tokens, labels in programs:
        size = len(tokens)
        if size > length:
            raise ValueError(f"a program of {size} tokens does not fit into a row of {length}")
        index = next((i for i, room in enumerate(free) if room >= size), None)
        if index is None:
            if rows and len(rows) >= open_rows:
                fullest = free.index(min(free))
                free.pop(fullest)
                yield _fill(rows.pop(fullest), length)
            rows.append([])
            free.append(length)
            index = len(rows) - 1
        rows[index].append((tokens, labels))
        free[index] = free[index] - size if open_rows else 0
    for row in rows:
        yield _fill(row, length)


def _fill(programs: list[tuple[np.ndarray, np.ndarray]], length: int) -> np.ndarray:
    """One row `[4, T]` of the programs that share it."""
    row = np.zeros((len(TokenBatch._fields), length), np.int32)
    start = 0
    for segment, (tokens, labels) in enumerate(programs, start=1):
        end = start + len(tokens)
        row[:, start:end] = tokens, np.full_like(tokens, segment), np.arange(len(tokens)), labels
        start = end
    return row
