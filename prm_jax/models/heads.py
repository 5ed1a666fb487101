"""The scalar head of PRM, ORM and critic. `policy.py` calls it. B batch, T tokens, D width."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from prm_jax.models.initializers import fan_in, partitioned


class ScalarHead(nn.Module):
    """One affine score to a token, in float32.

    Attributes:
      zero: whether the kernel starts at zero, so that every score is 0 at first.
    """

    zero: bool = False

    @nn.compact
    def __call__(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T"]:
        """Raw scores of the hidden states."""
        width = hidden.shape[-1]
        initializer = nn.initializers.zeros if self.zero else fan_in(width)
        kernel = self.param("kernel", partitioned(initializer, "embed"), (width,))
        bias = self.param("bias", nn.initializers.zeros, ())
        return jnp.einsum("btd,d->bt", hidden.astype(jnp.float32), kernel) + bias
