"""RMSNorm, of the residual stream and of single heads. `blocks.py`, `attention.py` and `decoder.py` use it."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prm_jax.models.config import ModelConfig
from prm_jax.models.initializers import partitioned


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * scale over the last axis, in float32 (Zhang and Sennrich 2019, equation 4).

    Attributes:
      config: the model's.
      axis: logical name of the last axis.
    """

    config: ModelConfig
    axis: str = "embed"

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        """Normalises `x`; the output has the compute dtype."""
        scale = self.param("scale", partitioned(nn.initializers.ones, self.axis), (x.shape[-1],))
        x = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        return (x * jax.lax.rsqrt(mean_square + self.config.norm_eps) * scale).astype(self.config.compute_dtype)
