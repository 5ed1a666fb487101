"""Initial values of parameters, and their logical axes. Every module of the room declares its parameters with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn


def fan_in(inputs: int, depth: int | None = None) -> nn.initializers.Initializer:
    """Normal with variance 1 / inputs; with `depth`, 1 / (2 depth inputs).

    The second is for the two kernels of a block that write to the residual stream, so that the variance of the
    stream does not grow with the number of blocks (Radford et al. 2019, section 2.3).
    """
    return nn.initializers.normal(stddev=(inputs * (1 if depth is None else 2 * depth)) ** -0.5)


def partitioned(initializer: nn.initializers.Initializer, *axes: str) -> Callable[..., Any]:
    """An initialiser that boxes its value with the logical name of each axis (`parallel.rules`).

    Only initialisation sees the box: `Module.param` gives the bare array.
    """
    return nn.with_logical_partitioning(initializer, axes)
