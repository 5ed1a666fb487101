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
    """Caches of all layers.

    Attributes:
      layers: one cache for each layer.
      start: first slot of each row that holds a token; the slots before it are left padding, never read.
    """

    layers: tuple[LayerCache, ...]
    start: Int[Array, " B"]

    def visible(self, slot: int | Int[Array, ""], tokens: int) -> Bool[Array, "B T S"]:
        """Which slots the tokens at [slot, slot + tokens) may read: from the row's start to the token itself.

        A padding token may read itself, so that no row of the softmax is empty. Where `slot` is a Python int, S is
        cut to slot + tokens: nothing behind has been written.
        """
        length = slot + tokens if isinstance(slot, int) else self.layers[0].keys.shape[2]
        slots = jnp.arange(length)
        own = slot + jnp.arange(tokens)[None, :, None]
        return ((slots >= self.start[:, None, None]) & (slots <= own)) | (slots == own)


def init_cache(config: ModelConfig, batch: int, length: int, start: Int[Array, " B"]) -> KVCache:
    """An empty cache.

    Args:
      config: the model's.
      batch: number of rows.
      length: number of slots: prompt and completion.
      start: number of left-padding slots of each row.
    """
    shape = (batch, config.kv_heads, length, config.head_features)

    def empty() -> Float[Array, "B K S W"]:
        return constrain(jnp.zeros(shape, config.compute_dtype), "batch", "kv_heads", "length", "head_width")

    return KVCache(layers=tuple(LayerCache(empty(), empty()) for _ in range(config.layers)), start=start)
