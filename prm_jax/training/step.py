"""One train step, for every supervised stage: `(state, batch) -> (state, metrics)`.

The stages give it a loss; `loop.fit` calls what it returns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array, Float, Key

from prm_jax.training.finite import first_not_finite
from prm_jax.training.state import TrainState

Metrics = dict[str, Float[Array, ""]]
LossFn = Callable[[Any, Any, Key[Array, ""]], tuple[Float[Array, ""], Metrics]]
TrainStep = Callable[..., tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class BoundStep:
    """A step of `make_train_step`, told which parameters are frozen: what `loop.fit` takes.

    Attributes:
      step: the jitted step.
      frozen: parts of the network that are not in the state, and that training leaves as they are; may be empty.
    """

    step: Any
    frozen: dict[str, Any]

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        """Takes the step."""
        return self.step(state, batch, self.frozen)

    def trace(self, state: TrainState, batch: Any) -> Any:
        """What `jax.jit(f).trace(...)` gives of the step."""
        return self.step.trace(state, batch, self.frozen)


NOT_FINITE = "not_finite"
"""The metric that tells which gradient, in the order of the parameters, is the first that is not finite; -1: none."""


def make_train_step(
    loss_fn: LossFn, tx: optax.GradientTransformation, *, seed: int = 0, state_shardings: Any = None
) -> TrainStep:
    """A jitted train step that gives its state's buffers away: the state passed in must not be used again.

    Args:
      loss_fn: `(params, batch, key) -> (loss, metrics)`; `key` is a typed random key that depends on `seed` and
        the step only, so that a resumed run draws what the uninterrupted one drew. The parameters are those of the
        state, with those that the step was told are frozen.
      tx: the optimiser.
      seed: seed of the keys.
      state_shardings: shardings of the state that is returned, a `TrainState` of them; None leaves it to XLA.

    Returns:
      The step, `(state, batch, frozen=None)`; its metrics are those of `loss_fn`, `grad_norm`, the global norm before
      clipping, and `NOT_FINITE`.
    """

    def train_step(state: TrainState, batch: Any, frozen: dict[str, Any] | None = None) -> tuple[TrainState, Metrics]:
        def loss(params: Any) -> tuple[Float[Array, ""], Metrics]:
            key = jax.random.fold_in(jax.random.key(seed), state.step)
            return loss_fn({**frozen, **params} if frozen else params, batch, key)

        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "grad_norm": optax.tree.norm(gradients), NOT_FINITE: first_not_finite(gradients)}
        return TrainState(step=state.step + 1, params=params, opt_state=opt_state), metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=(state_shardings, None))
