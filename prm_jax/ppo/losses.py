"""The losses of PPO: clipped policy and value losses, KL estimators, entropy.

Pure functions of arrays [B, T] and a mask, each a mean over the masked tokens that is finite when nothing is masked in;
`update.py` adds them up. B batch, T tokens.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from prm_jax.ppo.advantages import masked_mean

Loss = tuple[Float[Array, ""], dict[str, Float[Array, ""]]]


def policy_loss(
    logprobs: Float[Array, "B T"],
    old_logprobs: Float[Array, "B T"],
    advantages: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    clip: float,
    dual_clip: float = 0.0,
    weights: Float[Array, "B T"] | None = None,
) -> Loss:
    """The clipped surrogate, negated (Schulman et al. 2017, equation 7), as a token mean.

    Where the advantage A is negative nothing bounds ratio x A from below: one token that a sharp policy had hardly
    ever written would outweigh the batch. `dual_clip` keeps it above dual_clip x A (Ye et al. 2020, "Mastering Complex
    Control in MOBA Games"); 0 turns that off.

    Where an older policy sampled the tokens, this is the decoupled objective (Hilton et al. 2021, "Batch
    size-invariance for policy optimization"): `old_logprobs` are those of the proximal policy, against which the ratio
    is taken and clipped, and each token's term is multiplied by `weights`, see `importance_weights`. With weights of
    1, as where the two policies agree, it is the surrogate above.

    Returns:
      The loss, and `clip_fraction` (share of tokens whose ratio left [1 - clip, 1 + clip]) and `update_kl`
      (k3 estimate of the divergence between the proximal policy, which else is the sampling one, and this one).
    """
    # Outside the mask the difference may be anything, and exp of it may overflow into the gradient.
    change = jnp.where(mask, logprobs - old_logprobs, 0.0)
    ratio = jnp.exp(change)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    advantages = jnp.where(mask, advantages, 0.0)
    surrogate = jnp.minimum(ratio * advantages, clipped * advantages)
    if dual_clip > 0:
        surrogate = jnp.where(advantages < 0, jnp.maximum(surrogate, dual_clip * advantages), surrogate)
    if weights is not None:
        surrogate = surrogate * weights
    metrics = {
        "clip_fraction": masked_mean((jnp.abs(ratio - 1.0) > clip).astype(jnp.float32), mask),
        "update_kl": masked_mean(ratio - 1.0 - change, mask),
    }
    return -masked_mean(surrogate, mask), metrics


def importance_weights(
    logprobs: Float[Array, "B T"], behaviour: Float[Array, "B T"], mask: Bool[Array, "B T"], cap: float
) -> tuple[Float[Array, "B T"], dict[str, Float[Array, ""]]]:
    """min(pi_proximal / pi_behaviour, cap) of each token, 1 outside the mask: truncated importance sampling.

    Truncation (Ionides 2008) bounds the variance that a token which the older policy hardly ever wrote would bring, at
    the price of a bias towards that policy. Each token's own ratio, not the product over those before it, as in Hilton
    et al. 2021: what the older policy wrote before a token is taken as it is.

    Returns:
      The weights, and `importance_mean` and `importance_max` (both before truncation) and `importance_truncated`
      (share of tokens whose weight was cut).
    """
    plain = jnp.exp(jnp.where(mask, logprobs - behaviour, 0.0))
    metrics = {
        "importance_mean": masked_mean(plain, mask),
        "importance_max": jnp.max(jnp.where(mask, plain, 0.0)),
        "importance_truncated": masked_mean((plain > cap).astype(jnp.float32), mask),
    }
    return jnp.minimum(plain, cap), metrics


def value_loss(
    values: Float[Array, "B T"],
    old_values: Float[Array, "B T"],
    returns: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    clip: float,
) -> Loss:
    """Half the squared error to the returns, the larger of clipped and unclipped, as a token mean.

    The clip keeps a value within `clip` of the one it had when the rollout was scored; 0 turns it off.

    Returns:
      The loss, and `value_clip_fraction`, the share of tokens on which the clipped term was the larger.
    """
    plain = jnp.square(jnp.where(mask, values - returns, 0.0))
    if clip <= 0:
        return 0.5 * masked_mean(plain, mask), {"value_clip_fraction": jnp.zeros(())}
    near = old_values + jnp.clip(values - old_values, -clip, clip)
    clipped = jnp.square(jnp.where(mask, near - returns, 0.0))
    metrics = {"value_clip_fraction": masked_mean((clipped > plain).astype(jnp.float32), mask)}
    return 0.5 * masked_mean(jnp.maximum(plain, clipped), mask), metrics


def token_kl(
    logprobs: Float[Array, "B T"],
    reference_logprobs: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    estimator: Literal["k1", "k2", "k3"] = "k3",
) -> Float[Array, "B T"]:
    """Per-token estimates of KL(policy || reference) from the policy's own samples; 0 outside the mask.

    With d = log reference - log policy: k1 = -d, unbiased and of either sign; k2 = d^2 / 2, biased, never negative;
    k3 = exp(d) - 1 - d, unbiased, never negative, of lower variance (Schulman, "Approximating KL divergence", 2020).

    To measure, take k3. As a loss take k2: its gradient -d grad(log policy) has the mean of the divergence's own, while
    that of k3 grows like exp(d) on a token that the policy has just unlearnt, and one such token outweighs a minibatch.
    """
    difference = jnp.where(mask, reference_logprobs - logprobs, 0.0)
    if estimator == "k1":
        return -difference
    if estimator == "k2":
        return 0.5 * jnp.square(difference)
    return jnp.expm1(difference) - difference


def kl_loss(
    logprobs: Float[Array, "B T"],
    reference_logprobs: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    estimator: Literal["k1", "k2", "k3"] = "k3",
) -> Loss:
    """Token mean of `token_kl`, as loss and as the metric `kl`."""
    loss = masked_mean(token_kl(logprobs, reference_logprobs, mask, estimator), mask)
    return loss, {"kl": loss}


def entropy_loss(entropy: Float[Array, "B T"], mask: Bool[Array, "B T"]) -> Loss:
    """The negated token mean of the policy's entropy in nats, so that a positive coefficient is a bonus."""
    mean = masked_mean(entropy, mask)
    return -mean, {"entropy": mean}
