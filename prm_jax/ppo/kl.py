"""The adaptive KL controller; `update.py` applies it once per update where the configuration names a target."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def adapt_coefficient(
    coefficient: Float[Array, ""], kl: Float[Array, ""], target: float, gain: float
) -> Float[Array, ""]:
    """Moves the coefficient towards the one that holds the divergence at its target (Ziegler et al. 2019, section 2.2).

    e = clip(kl / target - 1, -0.2, 0.2) and coefficient <- coefficient (1 + gain e).

    Args:
      coefficient: the present coefficient, positive.
      kl: mean divergence per token of the rollout from the reference, in nats.
      target: the wanted divergence per token, in nats.
      gain: K of the paper times the episodes of an update; 0.1 changes the coefficient by at most 2 % an update.

    Returns:
      The next coefficient, float32.
    """
    error = jnp.clip(kl / target - 1.0, -0.2, 0.2)
    return (coefficient * (1.0 + gain * error)).astype(jnp.float32)
