"""Gumbel noise: what a row's key and a position give to each word of a vocabulary.

`rules.py` calls it. The numbers are those of `jax.random.gumbel`, bit for bit, whose code for CPUs hashes in a loop of
five turns, each of which writes out the words of the whole vocabulary and reads them again. Here hash and logarithms
are one expression, of which XLA makes one loop. B batch, V vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)
_ONE = np.uint32(0x3F800000)  # The bits of 1.0: what follows them is the fraction of a number from 1 to 2.

Words = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]


def gumbel_noise(keys: Key[Array, " B"], positions: Int[Array, " B"], vocabulary: int) -> Float[Array, "B V"]:
    """Standard Gumbel noise in float32 of each row's key and position, whatever the other rows are."""
    first, second = jnp.moveaxis(jax.random.key_data(keys)[:, :2, None], 1, 0)
    zero = jnp.uint32(0)
    key = threefry((first, second), (zero, positions.astype(jnp.uint32)[:, None]))
    high, low = threefry(key, (zero, jnp.arange(vocabulary, dtype=jnp.uint32)))
    fraction = jax.lax.bitcast_convert_type((high ^ low) >> 9 | _ONE, jnp.float32) - 1
    return -jnp.log(-jnp.log(jnp.maximum(fraction, jnp.finfo(jnp.float32).tiny)))


def threefry(key: Words, counter: Words) -> Words:
    """Threefry-2x32 with 20 rounds: two words, hashed with a key of two (Salmon et al. 2011, section 3.3)."""
    schedule = (*key, key[0] ^ key[1] ^ _PARITY)
    high, low = counter[0] + schedule[0], counter[1] + schedule[1]
    for number in range(20):
        rotation = _ROTATIONS[number % 8]
        high = high + low
        low = high ^ (low << rotation | low >> 32 - rotation)
        if number % 4 == 3:
            turn = number // 4 + 1
            high, low = high + schedule[turn % 3], low + schedule[(turn + 1) % 3] + np.uint32(turn)
    return high, low
