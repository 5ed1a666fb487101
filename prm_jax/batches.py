"""The arrays that cross from the data's side of the house to the learner's.

`tasks/` makes them as numpy arrays, `training/`, `sampling/` and `ppo/` take them; as named tuples they are
pytrees without importing JAX. B batch, T tokens, P prompt tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int


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
