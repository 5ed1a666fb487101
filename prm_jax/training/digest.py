"""A digest of an array's bits, the same on any mesh: it finds out a checkpoint that has changed on the disk.

`checkpoint.py` keeps one for each leaf that it saves, and compares it with that of what it reads.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt32

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


@jax.jit
def digest(array: Array) -> UInt32[Array, ""]:
    """The sum of word × (2 × position + 1) over the array's words, modulo 2^32.

    Sums of integers do not depend on their order, so neither does this on how the array is split. A change within one
    word always shows, for an odd factor loses no bit; any other goes unseen once in 2^32.

    Args:
      array: any shape; a dtype of 1, 2, 4 or 8 bytes.
    """
    words = array.astype(jnp.uint8) if array.dtype == bool else array
    words = jax.lax.bitcast_convert_type(words, _WORDS[words.dtype.itemsize])
    position = jnp.zeros(words.shape, jnp.uint32)
    for axis, length in enumerate(words.shape):
        position = position * jnp.uint32(length) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words.astype(jnp.uint32) * (2 * position + 1), dtype=jnp.uint32)
