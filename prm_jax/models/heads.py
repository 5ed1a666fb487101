"""The scalar heads of PRM, ORM and critic. `policy.py` calls them. B batch, T tokens, D width."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from prm_jax.models.attention import causal_mask
from prm_jax.models.blocks import Block
from prm_jax.models.config import ModelConfig
from prm_jax.models.initializers import fan_in, partitioned
from prm_jax.models.norm import RMSNorm
from prm_jax.models.rope import rotary_table
from prm_jax.parallel.shardings import constrain


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


class SurpriseHead(nn.Module):
    """A scalar head behind one more block that also reads how surprised the trunk was by each token.

    A trunk that starts from a policy knows which line it would have written, but a token's hidden state is made before
    the trunk's opinion of that token is: to compare the two it would have to learn again what its last layer knows. So
    log(1 + s), with s = -log p(token | the tokens before) in nats, is added to the hidden states along a learnt
    direction, and a block looks back over the tokens of a step.

    Attributes:
      config: the trunk's.
      zero: as in `ScalarHead`.
    """

    config: ModelConfig
    zero: bool = False

    @nn.compact
    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        logprobs: Float[Array, "B T"],
        segments: Int[Array, "B T"],
        positions: Int[Array, "B T"],
    ) -> Float[Array, "B T"]:
        """Raw scores of the hidden states; `logprobs`, `segments`, `positions` as `policy.policy_forward` has them."""
        direction = self.param("direction", partitioned(fan_in(1), "embed"), (self.config.width,))
        surprise = jnp.log1p(-logprobs)[..., None] * direction
        x = constrain(hidden + surprise.astype(hidden.dtype), "batch", "length", "embed")
        x, _ = Block(self.config, name="block")(x, rotary_table(positions, self.config), causal_mask(segments))
        return ScalarHead(self.zero, name="score")(RMSNorm(self.config, name="norm")(x))
