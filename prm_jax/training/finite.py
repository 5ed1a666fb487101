"""Numbers that are not finite: which tensor of a tree is the first to hold one.

The train step notes it in its metrics, and the PPO learner asks when an update has gone wrong: "the loss is NaN" says
less than where it began.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from prm_jax.errors import UserError


class NotFinite(UserError):
    """What was learnt is not finite; said without what is to be done."""


@jax.jit
def first_not_finite(tree: Any) -> Int[Array, ""]:
    """Which leaf, counted from 0 in the tree's order, is the first that holds NaN or an infinity; -1 if none does."""

    def is_bad(leaf: Any) -> Array:
        return ~jnp.all(jnp.isfinite(leaf)) if jnp.issubdtype(leaf.dtype, jnp.inexact) else jnp.array(False)

    bad = jnp.stack([is_bad(leaf) for leaf in jax.tree.leaves(tree)])
    return jnp.where(jnp.any(bad), jnp.argmax(bad), -1).astype(jnp.int32)


def leaf_name(tree: Any, number: int) -> str:
    """The name of a leaf, `first.second`, by its number in the tree's order."""
    path, _ = jax.tree.leaves_with_path(tree)[number]
    return jax.tree_util.keystr(path, simple=True, separator=".")
