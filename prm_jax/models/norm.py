"""RMSNorm, of the residual stream and of single heads. `blocks.py`, `attention.py` and `decoder.py` use it."""

from __future__ import annotations

import functools
from typing import Any

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
        return rms_norm(x, scale, self.config.norm_eps).astype(self.config.compute_dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: Float[Array, "*B D"], scale: Float[Array, " D"], eps: float) -> Float[Array, "*B D"]:
    """The norm in float32. For the backward pass `x` alone is kept, where JAX would keep three arrays of its size."""
    return _forwards(x, scale, eps)[0]


def _forwards(x: Any, scale: Any, eps: float) -> tuple[Array, Any]:
    wide = x.astype(jnp.float32)
    return wide * _shrink(wide, eps) * scale, (x, scale)


def _backwards(eps: float, kept: Any, slope: Float[Array, "*B D"]) -> tuple[Array, Array]:
    """With r = 1 / sqrt(mean(x^2) + eps) and g the slope times the scale: dx = r g - r^3 x mean(g x)."""
    x, scale = kept
    wide = x.astype(jnp.float32)
    shrink, of_normal = _shrink(wide, eps), slope * scale
    common = jnp.mean(of_normal * wide, axis=-1, keepdims=True)
    of_scale = jnp.sum(slope * wide * shrink, axis=tuple(range(x.ndim - 1)))
    return (shrink * (of_normal - wide * shrink**2 * common)).astype(x.dtype), of_scale


rms_norm.defvjp(_forwards, _backwards)


def _shrink(x: Float[Array, "*B D"], eps: float) -> Float[Array, "*B 1"]:
    return jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)
