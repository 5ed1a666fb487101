"""Generalised advantage estimation on masked rows, whitening, and explained variance.

`update.py` calls these on a whole rollout before it is cut into minibatches. B batch, T tokens. Entry t of `values` is
the value of the state in which token t was chosen.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def masked_mean(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """Mean over the True entries of the mask; 0 where there are none."""
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(jnp.sum(mask), 1)


def gae(
    rewards: Float[Array, "B T"],
    values: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    gamma: float,
    lam: float,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16) over the masked tokens of each row.

    Tokens outside the mask are skipped: the next token of t is the next one inside the mask. The state after the last
    token is terminal with value 0, also where a completion was cut by length, which counts as a failure.

    Args:
      rewards: reward earned by each token.
      values: value of the state in which each token was chosen.
      mask: completion tokens.
      gamma: discount per token.
      lam: the estimator's lambda.

    Returns:
      Float32 advantages and returns (advantage + value), 0 outside the mask.
    """

    def step(carry, x):
        advantage, next_value = carry
        reward, value, inside = x
        delta = reward + gamma * next_value - value
        carry = (
            jnp.where(inside, delta + gamma * lam * advantage, advantage),
            jnp.where(inside, value, next_value),
        )
        return carry, jnp.where(inside, carry[0], 0.0)

    columns = (rewards.astype(jnp.float32).T, values.astype(jnp.float32).T, mask.T)
    start = jnp.zeros(rewards.shape[0], jnp.float32)
    _, advantages = jax.lax.scan(step, (start, start), columns, reverse=True)
    advantages = advantages.T
    return advantages, jnp.where(mask, advantages + values, 0.0)


def center_groups(x: Float[Array, "B T"], mask: Bool[Array, "B T"], group: int) -> Float[Array, "B T"]:
    """Takes from each entry the mean over the masked entries of its group, `group` rows side by side; 0 outside."""
    flat, inside = (array.reshape(-1, group * array.shape[1]) for array in (x, mask))
    counts = jnp.maximum(jnp.sum(inside, axis=1, keepdims=True), 1)
    centered = flat - jnp.sum(jnp.where(inside, flat, 0.0), axis=1, keepdims=True) / counts
    return jnp.where(mask, centered.reshape(x.shape), 0.0)


def whiten(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], epsilon: float = 1e-8) -> Float[Array, "*shape"]:
    """Zero mean and unit variance over the masked entries; 0 outside the mask."""
    mean = masked_mean(x, mask)
    variance = masked_mean(jnp.square(x - mean), mask)
    return jnp.where(mask, (x - mean) * jax.lax.rsqrt(variance + epsilon), 0.0)


def explained_variance(
    values: Float[Array, "*shape"], returns: Float[Array, "*shape"], mask: Bool[Array, "*shape"]
) -> Float[Array, ""]:
    """1 - Var(returns - values) / Var(returns) over the masked entries; 0 where the returns do not vary."""
    error = returns - values
    residual = masked_mean(jnp.square(error - masked_mean(error, mask)), mask)
    total = masked_mean(jnp.square(returns - masked_mean(returns, mask)), mask)
    return jnp.where(total > 0, 1.0 - residual / jnp.where(total > 0, total, 1.0), 0.0)
