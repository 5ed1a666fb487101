"""One forward of the policy: features for the critic, log-probabilities and entropy for PPO.

`scoring.py` and `update.py` call it, so that both see the same numbers. B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder


def shift_right(x: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """Moves each entry one token on, 0 first: what was computed on token t - 1 belongs to the choice of token t."""
    return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))


def policy_forward(
    params: Any,
    model: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    temperature: float,
) -> tuple[Float[Array, "B T D"], Float[Array, "B T"], Float[Array, "B T"]]:
    """What `models.policy.token_logprobs` gives for rows of one segment, with the hidden states it is made from.

    Returns:
      The trunk's hidden states; log p(tokens[t] | tokens[< t]) and the entropy of that choice at the temperature, in
      nats, float32, 0 at t = 0. Entries on padding mean nothing; callers mask.
    """
    apply: Any = Decoder(model).apply
    variables = {"params": params["trunk"]}
    hidden = apply(variables, tokens, segments, positions)
    logits = apply(variables, hidden[:, :-1], method="logits") / temperature
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0] - normaliser
    entropy = normaliser - jnp.sum(jnp.exp(logits - normaliser[..., None]) * logits, axis=-1)
    return hidden, jnp.pad(chosen, ((0, 0), (1, 0))), jnp.pad(entropy, ((0, 0), (1, 0)))
