"""`TrainState`: all that one train step takes and gives, as one pytree.

Made by `create`, advanced by the function that `step.make_train_step` returns, kept by `checkpoint.Checkpointer`.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


@flax.struct.dataclass
class TrainState:
    """The learner's state.

    Attributes:
      step: int32, calls of the train step so far.
      params: pytree of parameters.
      opt_state: the optimiser's state.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: optax.OptState


def create(params: Any, tx: optax.GradientTransformation) -> TrainState:
    """The state before the first step. Under `jax.jit` with `out_shardings` nothing is made unsharded."""
    return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=tx.init(params))
