"""Initial values of kernels. `attention.py`, `blocks.py`, `decoder.py` and `heads.py` call it."""

from __future__ import annotations

import flax.linen as nn


def fan_in(inputs: int, depth: int | None = None) -> nn.initializers.Initializer:
    """Normal with variance 1 / inputs; with `depth`, 1 / (2 depth inputs).

    The second is for the two kernels of a block that write to the residual stream, so that the variance of the
    stream does not grow with the number of blocks (Radford et al. 2019, section 2.3).
    """
    return nn.initializers.normal(stddev=(inputs * (1 if depth is None else 2 * depth)) ** -0.5)
