"""The key-value cache of decoding.

One pair of arrays for each layer, laid out (B, K, S, W), which reads each head's keys in order; where decoding scans
the layers (`ModelConfig.scan_decoding`), one pair for all of them, (L, B, K, S, W). `sampling/` makes it and threads it
through `Decoder.decode`. L layers, B batch, K key-value heads, S slots, W features of a head.
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
class StackedCache:
    """Keys (already rotated) and values of all layers."""

    keys: Float[Array, "L B K S W"]
    values: Float[Array, "L B K S W"]


@flax.struct.dataclass
class StackedLayer:
    """One layer of a stacked cache, with what `attention.py` asks of a `LayerCache`.

    Attributes:
      stack: of all layers. A layer's own tokens are written into it, nothing else of it is: a scan that carries it can
        do so in place.
      layer: which of them this is.
    """

    stack: StackedCache
    layer: Int[Array, ""]

    @property
    def keys(self) -> Float[Array, "B K S W"]:
        """Of this layer."""
        return self.stack.keys[self.layer]

    @property
    def values(self) -> Float[Array, "B K S W"]:
        """Of this layer."""
        return self.stack.values[self.layer]

    def write(
        self, keys: Float[Array, "B K T W"], values: Float[Array, "B K T W"], slot: int | Int[Array, ""]
    ) -> StackedLayer:
        """As `LayerCache.write`, in this layer."""
        start = (self.layer, 0, 0, slot, 0)
        stack = StackedCache(
            keys=jax.lax.dynamic_update_slice(self.stack.keys, keys[None], start),
            values=jax.lax.dynamic_update_slice(self.stack.values, values[None], start),
        )
        return StackedLayer(stack, self.layer)


@flax.struct.dataclass
class KVCache:
    """Caches of all layers, each a ring: what follows the last slot is written to the first.

    All rows write to the same slots, and a row that begins later than others begins at a later slot: then its
    position alone tells which slots it may read. An index of its own for each row would need a scatter at every step.

    Attributes:
      layers: one cache for each layer, or one for all of them.
    """

    layers: tuple[LayerCache, ...] | StackedCache

    @property
    def length(self) -> int:
        """Number of slots."""
        return jax.tree.leaves(self.layers)[0].shape[-2]

    def rows(self, kept: Int[Array, " b"]) -> KVCache:
        """The cache of some of the rows."""
        stacked = isinstance(self.layers, StackedCache)
        return jax.tree.map(lambda leaf: leaf[:, kept] if stacked else leaf[kept], self)

    def repeated(self, times: int, length: int) -> KVCache:
        """The cache with each row `times` in a row, and with `length` slots, those behind its own empty."""

        def own(leaf: Float[Array, "*L B K S W"]) -> Float[Array, "*L R K N W"]:
            room = [(0, 0)] * (leaf.ndim - 2) + [(0, length - self.length), (0, 0)]
            return _placed(jnp.repeat(jnp.pad(leaf, room), times, axis=-4))

        return jax.tree.map(own, self)

    def visible(self, slot: int | Int[Array, ""], positions: Int[Array, "B T"]) -> Bool[Array, "B T S"]:
        """Which slots the tokens at [slot, slot + T) may read: from the first token of their row to themselves.

        A row lies in successive slots, so that a token at position p reads its own slot and the p before it. Where
        `slot` is a Python int, S is cut to slot + T: nothing behind has been written.
        """
        length, tokens = self.length, positions.shape[1]
        slots = jnp.arange(slot + tokens if isinstance(slot, int) else length)
        age = (slot + jnp.arange(tokens)[:, None] - slots) % length
        return age <= positions[:, :, None]


def init_cache(config: ModelConfig, batch: int, length: int) -> KVCache:
    """An empty cache, stacked where `config` has scanned layers.

    Args:
      config: the model's.
      batch: number of rows.
      length: number of slots: the tokens of the longest row, prompt and completion.
    """
    shape = (batch, config.kv_heads, length, config.head_features)

    def empty(*layers: int) -> Float[Array, "*L B K S W"]:
        return _placed(jnp.zeros((*layers, *shape), config.compute_dtype))

    if config.scan_layers:
        return KVCache(StackedCache(empty(config.layers), empty(config.layers)))
    return KVCache(layers=tuple(LayerCache(empty(), empty()) for _ in range(config.layers)))


def _placed(leaf: Float[Array, "*L B K S W"]) -> Float[Array, "*L B K S W"]:
    """Keys or values, split over a mesh."""
    return constrain(leaf, *("layers",) * (leaf.ndim - 4), "batch", "kv_heads", "length", "head_width")
