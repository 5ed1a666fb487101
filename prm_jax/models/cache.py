"""The key-value cache of decoding.

One pair of arrays for each layer, laid out (B, K, S, W): a scan that carries a stacked cache copies it at every
step, and this layout reads each head's keys in order. `sampling/` makes it and threads it through
`Decoder.decode`. B batch, K key-value heads, S slots, W features of a head.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prm_jax.models.config import ModelConfig
from prm_jax.parallel.shardings import constrain


@flax.struct.dataclass
class LayerCache:
    """Keys (already rotated) and values of one layer."""

    keys: Float[Array, "B K S W"]
    values: Float[Array, "B K S W"]

    def write(
        self, keys: Float[Array, "B K T W"], values: Float[Array, "B K T W"], slot: int | Int[Array, ""]
    ) -> LayerCache:
        """The cache with slots [slot, slot + T) replaced, the same ones in every row."""
        start = (0, 0, slot, 0)
        return LayerCache(
            keys=jax.lax.dynamic_update_slice(self.keys, keys, start),
            values=jax.lax.dynamic_update_slice(self.values, values, start),
        )


@flax.struct.dataclass
class KVCache:
    """Caches of all layers, each a ring: what follows the last slot is written to the first.

    All rows write to the same slots, and a row that begins later than others begins at a later slot: then its
    position alone tells which slots it may read. An index of its own for each row would need a scatter at every step.

    Attributes:
      layers: one cache for each layer.
    """

    layers: tuple[LayerCache, ...]

    def visible(self, slot: int | Int[Array, ""], positions: Int[Array, "B T"]) -> Bool[Array, "B T S"]:
        """Which slots the tokens at [slot, slot + T) may read: from the first token of their row to themselves.

        A row lies in successive slots, so that a token at position p reads its own slot and the p before it. Where
        `slot` is a Python int, S is cut to slot + T: nothing behind has been written.
        """
        length, tokens = self.layers[0].keys.shape[2], positions.shape[1]
        slots = jnp.arange(slot + tokens if isinstance(slot, int) else length)
        age = (slot + jnp.arange(tokens)[:, None] - slots) % length
        return age <= positions[:, :, None]


def init_cache(config: ModelConfig, batch: int, length: int) -> KVCache:
    """An empty cache.

    Args:
      config: the model's.
      batch: number of rows.
      length: number of slots: the tokens of the longest row, prompt and completion.
    """
    shape = (batch, config.kv_heads, length, config.head_features)

    def empty() -> Float[Array, "B K S W"]:
        return constrain(jnp.zeros(shape, config.compute_dtype), "batch", "kv_heads", "length", "head_width")

    return KVCache(layers=tuple(LayerCache(empty(), empty()) for _ in range(config.layers)))
