"""Grouped-query attention with rotary positions: one code for training and for decoding with a cache.

`blocks.py` calls it. B batch, T query tokens, S key slots, D width, H query heads, K key-value heads,
G = H / K query heads to a key-value head, W features of a head.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prm_jax.models.cache import LayerCache
from prm_jax.models.config import ModelConfig
from prm_jax.models.initializers import fan_in, partitioned
from prm_jax.models.kernels import attend, attend_rows
from prm_jax.models.lora import adapted
from prm_jax.models.norm import RMSNorm
from prm_jax.models.rope import Rotary, rotate
from prm_jax.parallel.shardings import constrain


class Attention(nn.Module):
    """Self-attention of one block."""

    config: ModelConfig

    def setup(self) -> None:
        """The four kernels, and the biases and norms that a family has."""
        c = self.config
        kernel = (c.width, c.heads, c.head_features)
        kv_kernel = (c.width, c.kv_heads, c.head_features)
        into, out = fan_in(c.width), fan_in(c.heads * c.head_features, depth=c.layers)
        query = self.param("query", partitioned(into, "embed", "heads", "head_width"), kernel)
        key = self.param("key", partitioned(into, "embed", "kv_heads", "head_width"), kv_kernel)
        value = self.param("value", partitioned(into, "embed", "kv_heads", "head_width"), kv_kernel)
        back = self.param("out", partitioned(out, "heads", "head_width", "embed"), (c.heads, c.head_features, c.width))
        self.query, self.key = adapted(self, "query", query), adapted(self, "key", key)
        self.value, self.out = adapted(self, "value", value), adapted(self, "out", back)
        if c.attention_bias:
            zeros = nn.initializers.zeros
            self.query_bias = self.param("query_bias", partitioned(zeros, "heads", "head_width"), kernel[1:])
            self.key_bias = self.param("key_bias", partitioned(zeros, "kv_heads", "head_width"), kv_kernel[1:])
            self.value_bias = self.param("value_bias", partitioned(zeros, "kv_heads", "head_width"), kv_kernel[1:])
        if c.qk_norm:
            self.query_norm, self.key_norm = RMSNorm(c, "head_width"), RMSNorm(c, "head_width")

    def __call__(
        self,
        x: Float[Array, "B T D"],
        rotary: Rotary,
        reads: Int[Array, "B T"] | Bool[Array, "B T S"],
        cache: LayerCache | None = None,
        slot: int | Int[Array, ""] = 0,
    ) -> tuple[Float[Array, "B T D"], LayerCache | None]:
        """Attention among the tokens of `x`, or over a cache into which they are written first.

        Args:
          x: normalised residual stream.
          rotary: tables of the positions of `x`.
          reads: without a cache the segments of the tokens, else which key slots each of them may read.
          cache: keys and values so far.
          slot: where the keys of `x` are written in the cache.

        Returns:
          What is added to the residual stream, and the cache.
        """
        queries, keys, values = self._project(x)
        queries = constrain(rotate(queries, rotary), "batch", "length", "heads", "head_width")
        keys, values = (jnp.swapaxes(kv, 1, 2) for kv in (rotate(keys, rotary), values))
        if cache is not None:
            cache = cache.write(keys, values, slot)
            keys, values = cache.keys[:, :, : reads.shape[-1]], cache.values[:, :, : reads.shape[-1]]
        keys, values = (constrain(kv, "batch", "kv_heads", "length", "head_width") for kv in (keys, values))
        if cache is None:
            mixed = attend_rows(self.config, queries, keys, values, reads)
        else:
            mixed = attend(queries, keys, values, reads)
        return jnp.einsum("bthw,hwd->btd", mixed, self.out.astype(mixed.dtype)), cache

    def _project(
        self, x: Float[Array, "B T D"]
    ) -> tuple[Float[Array, "B T H W"], Float[Array, "B T K W"], Float[Array, "B T K W"]]:
        """Queries, keys and values, not yet rotated."""
        dtype = self.config.compute_dtype
        queries = jnp.einsum("btd,dhw->bthw", x, self.query.astype(dtype))
        keys = jnp.einsum("btd,dkw->btkw", x, self.key.astype(dtype))
        values = jnp.einsum("btd,dkw->btkw", x, self.value.astype(dtype))
        if self.config.attention_bias:
            queries, keys = queries + self.query_bias.astype(dtype), keys + self.key_bias.astype(dtype)
            values = values + self.value_bias.astype(dtype)
        if self.config.qk_norm:
            queries, keys = self.query_norm(queries), self.key_norm(keys)
        return queries, keys, values
