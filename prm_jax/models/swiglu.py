"""The gated feed-forward layer as a function, with a backward pass of its own.

`blocks.py` calls it. B batch, T tokens, D width, M hidden features.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prm_jax.parallel.shardings import constrain


@jax.custom_vjp
def swiglu(
    x: Float[Array, "B T D"], gate: Float[Array, "D M"], up: Float[Array, "D M"], down: Float[Array, "M D"]
) -> Float[Array, "B T D"]:
    """(silu(x W_gate) * x W_up) W_down (Shazeer 2020, equation 6).

    For the backward pass two arrays of hidden features are kept, where JAX would keep four. The gradients of the
    kernels are products with the narrow array on the left, which XLA on CPUs has to transpose: of W_gate and W_up it
    would else transpose the wide one, and compute that on the way.
    """
    return _forwards(x, gate, up, down)[0]


def _forwards(x: Any, gate: Any, up: Any, down: Any) -> tuple[Array, Any]:
    opened, raised = (constrain(x @ kernel, "batch", "length", "mlp") for kernel in (gate, up))
    return (jax.nn.silu(opened) * raised) @ down, (x, gate, up, down, opened, raised)


def _backwards(kept: Any, slope: Float[Array, "B T D"]) -> tuple[Array, Array, Array, Array]:
    x, gate, up, down, opened, raised = kept
    share = jax.nn.sigmoid(opened)
    open_share = opened * share
    of_hidden = constrain(jnp.einsum("btd,md->btm", slope, down), "batch", "length", "mlp")
    of_raised = of_hidden * open_share
    of_opened = of_hidden * raised * (share + open_share * (1 - share))
    of_x = jnp.einsum("btm,dm->btd", of_opened, gate) + jnp.einsum("btm,dm->btd", of_raised, up)
    of_gate, of_up = (jnp.einsum("btd,btm->dm", x, of_wide) for of_wide in (of_opened, of_raised))
    of_down = jnp.einsum("btd,btm->dm", slope, open_share * raised).T
    return of_x, of_gate, of_up, of_down


swiglu.defvjp(_forwards, _backwards)
