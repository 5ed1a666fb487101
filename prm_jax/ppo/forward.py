"""Rows on their way through a network: grouped by length, cut to what holds them, and shifted to their choice.

`scoring.py`, `update.py`, `critic.py` and `online.py` call this. B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


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


def minibatch_rows(
    lengths: Int[Array, " B"], epochs: int, minibatches: int, key: Key[Array, ""]
) -> Int[Array, "steps M"]:
    """Which rows each step takes: each row once an epoch, rows of like length together, in random order."""

    def epoch(key: Key[Array, ""]) -> Int[Array, "minibatches M"]:
        ties, order = jax.random.split(key)
        # Noise below one breaks ties between rows of the same length and changes no other order.
        rows = jnp.argsort(lengths + jax.random.uniform(ties, lengths.shape)).reshape(minibatches, -1)
        return rows[jax.random.permutation(order, minibatches)]

    rows = jax.vmap(epoch)(jax.random.split(key, epochs))
    return rows.reshape(epochs * minibatches, -1)


def shift_right(x: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """Moves each entry one token on, 0 first: what was computed on token t - 1 belongs to the choice of token t."""
    return jnp.pad(x[:, :-1], ((0, 0), (1, 0)))
