"""The border between hosts: slow work is divided, and all of them then hold the same.

Every host runs the same program on the same host-side arrays; what single rows need of a host, above all the running of
programs, each does for its part. `ppo/learner.py` calls this.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Result = TypeVar("Result")


def divided(work: Callable[[slice], Sequence[Result]], count: int) -> list[Result]:
    """Does each host's part of some work on rows, and gives every host the results of all.

    Args:
      work: the results of the rows of a slice, one for each; of types that can be pickled.
      count: number of rows; neighbours stay together.

    Returns:
      One result for each row, in order.
    """
    return gathered(work(own_rows(count)))


def own_rows(count: int) -> slice:
    """This host's part of so many rows; neighbours stay together."""
    hosts, host = jax.process_count(), jax.process_index()
    return slice(count * host // hosts, count * (host + 1) // hosts)


def gathered(own: Sequence[Result]) -> list[Result]:
    """The results of all hosts' parts, in order.

    A collective operation: every host calls it at the same point of the order in which it runs programs on its devices.
    """
    if jax.process_count() == 1:
        return list(own)
    message = np.frombuffer(pickle.dumps(list(own)), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(message.size))
    messages = multihost_utils.process_allgather(np.pad(message, (0, int(sizes.max()) - message.size)))
    parts = (pickle.loads(row[:size].tobytes()) for row, size in zip(messages, sizes, strict=True))
    return [result for part in parts for result in part]
