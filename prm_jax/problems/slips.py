"""How an author misreads a phrase: as the operation with the most similar code.

In: an operation with its operand; out: the one that is written in its place. `synthetic.py` makes flawed
demonstrations with it.
"""

from __future__ import annotations

import difflib
import random

from prm_jax.problems.operation import Operation
from prm_jax.problems.operations import OPERATIONS


def slip(operation: Operation, operand: int, share: float, rng: random.Random) -> tuple[Operation, int]:
    """The operation that is written where this one was asked for.

    Args:
      operation: what was asked for.
      operand: its operand; kept where the other operation takes it.
      share: mean share of slips over the table, from 0 to 1. An operation's own share is u^(1/share - 1), the u of the
        table evenly spaced in (0, 1): most are seldom misread, a few by nearly every author, as misconceptions are.
      rng: the source of randomness.

    Returns:
      Its nearest neighbour with an operand, or what came in.
    """
    if share == 0 or rng.random() >= _EASE[operation.name] ** (1 / share - 1):
        return operation, operand
    nearest = _NEIGHBOURS.get(operation.name, operation)
    fits = operand in nearest.operands or not nearest.operands
    return nearest, operand if fits else rng.choice(nearest.operands)


def _nearest(operation: Operation) -> Operation | None:
    """The operation between the same kinds whose code looks most like this one's; None where there is no other."""
    kinds = operation.takes, operation.gives
    others = [each for each in OPERATIONS if (each.takes, each.gives) == kinds and each is not operation]
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(operation.forms[0])

    def likeness(other: Operation) -> float:
        matcher.set_seq1(other.forms[0])
        return matcher.ratio()

    return max(others, key=likeness, default=None)


_NEIGHBOURS = {operation.name: near for operation in OPERATIONS if (near := _nearest(operation))}
# Evenly spaced, in an order that has nothing to do with the table's.
_SHUFFLED = sorted((operation.name for operation in OPERATIONS), key=lambda name: random.Random(name).random())
_EASE = {name: (place + 0.5) / len(_SHUFFLED) for place, name in enumerate(_SHUFFLED)}
