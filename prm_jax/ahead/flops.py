"""Floating-point operations of a traced program: its matrix products, every loop counted as often as it runs.

XLA's own count takes the body of a loop once, so that of scanned layers it sees one. `forecast.py` calls it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def matmul_flops(jaxpr: Any, steps: int = 0) -> float:
    """Two for every multiplication and addition of a matrix product, of the whole program on all devices.

    What is computed again in a backward pass counts again, masked halves of attention count whole, and of the branches
    of a choice the most costly one counts.

    Args:
      jaxpr: of `jax.jit(f).trace(...)` or `jax.make_jaxpr(f)(...)`.
      steps: how often a loop runs whose end the data decide.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, [matmul_flops(each, steps) for each in _inner(equation.params)]
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
        elif name == "scan":
            total += equation.params["length"] * sum(inner)
        elif name == "while":
            total += steps * sum(inner)
        elif name == "cond":
            total += max(inner)
        else:
            total += sum(inner)
    return total


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs that an equation runs."""
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                yield each
