"""One block of the decoder: RMSNorm, attention, RMSNorm, gated feed-forward.

`decoder.py` scans or unrolls it. B batch, T tokens, S key slots, D width.
"""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Bool, Float, Int

from prm_jax.models.attention import Attention
from prm_jax.models.cache import LayerCache
from prm_jax.models.config import ModelConfig
from prm_jax.models.initializers import fan_in, partitioned
from prm_jax.models.lora import adapted
from prm_jax.models.norm import RMSNorm
from prm_jax.models.rope import Rotary
from prm_jax.models.swiglu import swiglu
from prm_jax.parallel.shardings import constrain


class FeedForward(nn.Module):
    """A gated feed-forward layer, see `swiglu`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """What is added to the residual stream."""
        c, dtype = self.config, self.config.compute_dtype
        into = partitioned(fan_in(c.width), "embed", "mlp")
        out = partitioned(fan_in(c.mlp_width, depth=c.layers), "mlp", "embed")
        gate = adapted(self, "gate", self.param("gate", into, (c.width, c.mlp_width))).astype(dtype)
        up = adapted(self, "up", self.param("up", into, (c.width, c.mlp_width))).astype(dtype)
        down = adapted(self, "down", self.param("down", out, (c.mlp_width, c.width))).astype(dtype)
        return swiglu(x, gate, up, down)


class Block(nn.Module):
    """Pre-norm residual block."""

    config: ModelConfig

    def setup(self) -> None:
        """Two norms, attention and the feed-forward layer."""
        self.attention_norm = RMSNorm(self.config)
        self.attention = Attention(self.config)
        self.mlp_norm = RMSNorm(self.config)
        self.mlp = FeedForward(self.config)

    def __call__(
        self, x: Float[Array, "B T D"], rotary: Rotary, segments: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T D"], None]:
        """Whole rows at once; the second output is what `nn.scan` collects: nothing."""
        x, _ = self._forward(x, rotary, segments, None, 0)
        return x, None

    def decode(
        self,
        x: Float[Array, "B T D"],
        rotary: Rotary,
        mask: Bool[Array, "B T S"],
        cache: LayerCache,
        slot: int | Int[Array, ""],
    ) -> tuple[Float[Array, "B T D"], LayerCache]:
        """The next T tokens of rows whose keys and values are cached."""
        x, cache = self._forward(x, rotary, mask, cache, slot)
        return x, cache

    def _forward(self, x, rotary, reads, cache, slot):  # The two public methods above carry the types.
        mixed, cache = self.attention(self.attention_norm(x), rotary, reads, cache, slot)
        x = constrain(x + mixed, "batch", "length", "embed")
        x = constrain(x + self.mlp(self.mlp_norm(x)), "batch", "length", "embed")
        return x, cache
