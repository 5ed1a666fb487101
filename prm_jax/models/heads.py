"""The scalar heads of PRM, ORM and critic. `policy.py` calls them. B batch, T tokens, D width."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from prm_jax.models.initializers import fan_in, partitioned

_FORGET = 1e4
"""A leak that no surprise outlives, in nats."""


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
    """A scalar head that also reads how surprised the trunk was by the tokens of late.

    A trunk that starts from a policy knows which line it would have written, but a token's hidden state is made before
    the trunk's opinion of that token is: to compare the two it would have to learn again what its last layer knows.
    One token gives a wrong line away, and the score is asked for on the line's last one. So the head adds to the affine
    score a weighted sum of leaky maxima of the surprise, see `leaky_max`; leaks and weights are learnt.

    Attributes:
      zero: as in `ScalarHead`; else surprise at first speaks against a line, with `PRIOR` per nat.
    """

    LEAKS = (0.5, 1.0, 2.0, 4.0)
    """First leaks, nats per token: an expected token ends the memory of a surprise of 8 nats after 16, 8, 4 or 2."""
    PRIOR = 0.3

    zero: bool = False

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], logprobs: Float[Array, "B T"], segments: Int[Array, "B T"]
    ) -> Float[Array, "B T"]:
        """Raw scores of the hidden states; `logprobs` and `segments` as `policy.policy_forward` has them."""
        rates = self.param("log_leak", lambda key: jnp.log(jnp.array(self.LEAKS, jnp.float32)))
        prior = 0.0 if self.zero else -self.PRIOR / len(self.LEAKS)
        weights = self.param("surprise", nn.initializers.constant(prior), (len(self.LEAKS),))
        recent = leaky_max(-logprobs, jnp.exp(rates), segments)
        return ScalarHead(self.zero, name="score")(hidden) + recent @ weights


def leaky_max(
    values: Float[Array, "B T"], leaks: Float[Array, " K"], segments: Int[Array, "B T"]
) -> Float[Array, "B T K"]:
    """m_t = max(x_t, m_(t-1) - leak), from anew in every segment; float32, one for each leak."""
    first = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    forget = jnp.where(first[..., None], _FORGET, leaks)

    def follow(early: tuple[Array, Array], late: tuple[Array, Array]) -> tuple[Array, Array]:
        """Two maps m -> max(x, m - leak), one after the other: again such a map."""
        return jnp.maximum(late[0], early[0] - late[1]), early[1] + late[1]

    x = jnp.broadcast_to(values.astype(jnp.float32)[..., None], forget.shape)
    return jax.lax.associative_scan(follow, (x, forget), axis=1)[0]
