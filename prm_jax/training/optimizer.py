"""The optimiser: AdamW with warm-up, decay, clipping and gradient accumulation.

`OptimizerConfig` comes from a gin file; the stages hand `make_optimizer(config)` to `state.create` and
`step.make_train_step`, for SFT, PRM, ORM and PPO alike.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from prm_jax.errors import UserError

DECAYS = ("cosine", "linear", "constant")
# Endings of the names of what normalises or shifts (`scale`, `bias`, `query_bias`, …). Heads and scanned layers give it
# further axes, so that its rank does not tell.
_UNDECAYED = ("scale", "bias")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """What AdamW and its schedule need.

    Attributes:
      learning_rate: the peak, reached at the end of the warm-up.
      warmup_steps: length of the linear warm-up, in calls of the train step.
      total_steps: the call of the train step at which the decay reaches 0.
      decay: `"cosine"`, `"linear"` or `"constant"`.
      weight_decay: decoupled weight decay (AdamW), on matrices only.
      clip_norm: largest global norm of the gradient; 0 does not clip.
      b1: decay of the first moment.
      b2: decay of the second moment.
      accumulate: calls of the train step whose gradients are averaged into one update.
    """

    learning_rate: float = 3e-4
    warmup_steps: int = 0
    total_steps: int = 1000
    decay: str = "cosine"
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    b1: float = 0.9
    b2: float = 0.95
    accumulate: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.decay not in DECAYS:
            raise UserError(f"OptimizerConfig.decay is {self.decay!r}; give one of {', '.join(DECAYS)}")
        if self.learning_rate <= 0:
            raise UserError(f"OptimizerConfig.learning_rate is {self.learning_rate}; give a number above 0")
        if self.accumulate < 1:
            raise UserError(f"OptimizerConfig.accumulate is {self.accumulate}; give 1 or more")
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise UserError(
                f"OptimizerConfig.warmup_steps is {self.warmup_steps} and total_steps {self.total_steps}; "
                "give a warm-up of at least 0 and at most total_steps"
            )


def schedule(config: OptimizerConfig) -> optax.Schedule:
    """The learning rate as a function of the number of updates made so far (one update is `accumulate` calls).

    The warm-up is linear and its first update already learns; the decay ends at 0 at `total_steps`.
    """

    def learning_rate(updates: Int[Array, ""] | int) -> Float[Array, ""]:
        step = jnp.asarray(updates, jnp.float32) * config.accumulate
        warm = jnp.minimum((step + config.accumulate) / max(config.warmup_steps, 1), 1.0)
        done = jnp.clip((step - config.warmup_steps) / max(config.total_steps - config.warmup_steps, 1), 0.0, 1.0)
        shapes = {"cosine": 0.5 * (1 + jnp.cos(jnp.pi * done)), "linear": 1 - done, "constant": jnp.ones_like(done)}
        return config.learning_rate * warm * shapes[config.decay]

    return learning_rate


def decay_mask(params: Any) -> Any:
    """A pytree of bools like `params`: True for matrices, False for biases and norms (stacked by layer or not)."""

    def decayed(path: tuple[Any, ...], leaf: Any) -> bool:
        name = str(getattr(path[-1], "key", path[-1])) if path else ""
        return np.ndim(leaf) >= 2 and not name.endswith(_UNDECAYED)

    return jax.tree_util.tree_map_with_path(decayed, params)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """AdamW behind a clip by global norm; with `accumulate` > 1, on the mean gradient of that many calls."""
    adamw = optax.adamw(schedule(config), b1=config.b1, b2=config.b2, weight_decay=config.weight_decay, mask=decay_mask)
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm > 0 else optax.identity()
    optimizer = optax.chain(clip, adamw)
    if config.accumulate == 1:
        return optimizer
    return optax.MultiSteps(optimizer, config.accumulate).gradient_transformation()
