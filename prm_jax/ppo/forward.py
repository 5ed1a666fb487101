"""One forward of the policy: features for the critic, log-probabilities and entropy for PPO.

`scoring.py` and `update.py` call it, so that both see the same numbers. B batch, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder


def row_widths(widths: tuple[int, ...], length: int) -> tuple[int, ...]:
    """The widths that rows of `length` tokens are cut to: those that are narrower, and `length` itself."""
    return (*sorted({width for width in widths if width < length}), length)


def at_narrowest_width(
    run: Callable[[Any], Any], rows: Any, segments: Int[Array, "B T"], widths: tuple[int, ...]
) -> Any:
    """`run` on rows cut to the narrowest width that holds them all, so that no time is spent on padding.

    Args:
      run: compiled once for each width; what it gives must have the same shapes for all of them.
      rows: a pytree of arrays [B, T].
      segments: tells the lengths of the rows: 0 where padded.
      widths: the widths to choose from, beside T.
    """
    choices = row_widths(widths, segments.shape[1])
    branches = [lambda rows, width=width: run(jax.tree.map(lambda x: x[:, :width], rows)) for width in choices]
    longest = jnp.max(jnp.sum(segments > 0, axis=1))
    return jax.lax.switch(jnp.searchsorted(jnp.asarray(choices), longest), branches, rows)


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
