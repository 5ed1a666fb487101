"""How the next token is chosen from its logits. `sample.py` calls it. B batch, V vocabulary."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from prm_jax.errors import UserError
from prm_jax.parallel.shardings import constrain
from prm_jax.sampling.noise import gumbel_noise


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """A sampling rule. Hashable.

    Attributes:
      temperature: divides the logits.
      top_k: only the k most probable tokens may be chosen, and ties with the last of them; 0 for all.
      top_p: only the most probable tokens that together reach this probability, after `top_k`; 1 for all.
      greedy: choose the most probable token; the seed is not read.
      max_new_tokens: a completion that has not ended by then is cut.
      stop: texts before which a completion ends, such as `stops.LEAVES_FUNCTION`; looked for in the completion alone,
        not across the prompt's end. Read where programs are wanted as texts (`prm_jax generate`, evaluation): what a
        policy is trained on ends with `eos`.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False
    max_new_tokens: int = 96
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        if "" in self.stop:
            raise UserError("SamplingConfig.stop has an empty text, which every completion holds: leave it out.")
        if self.temperature <= 0:
            raise UserError(f"SamplingConfig.temperature is {self.temperature}; it must be positive (or greedy=True).")
        if self.top_k < 0:
            raise UserError(f"SamplingConfig.top_k is {self.top_k}; it must be 0 (all tokens) or more.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"SamplingConfig.top_p is {self.top_p}; it must be above 0 and at most 1.")
        if self.max_new_tokens < 1:
            raise UserError(f"SamplingConfig.max_new_tokens is {self.max_new_tokens}; it must be at least 1.")

    def truncate(self, logits: Float[Array, "B V"]) -> Float[Array, "B V"]:
        """The logits with those of the tokens that may not be chosen at -inf."""
        if 0 < self.top_k < logits.shape[-1]:
            smallest = jax.lax.top_k(logits, self.top_k)[0][:, -1:]
            logits = jnp.where(logits >= smallest, logits, -jnp.inf)
        if self.top_p < 1:
            descending = -jnp.sort(-logits, axis=-1)
            probabilities = jax.nn.softmax(descending, axis=-1)
            before = jnp.cumsum(probabilities, axis=-1) - probabilities
            smallest = jnp.min(jnp.where(before < self.top_p, descending, jnp.inf), axis=-1, keepdims=True)
            logits = jnp.where(logits >= smallest, logits, -jnp.inf)
        return logits

    def choose(
        self, logits: Float[Array, "B V"], keys: Key[Array, " B"], positions: Int[Array, " B"]
    ) -> tuple[Int[Array, " B"], Float[Array, " B"]]:
        """One token for each row, by the Gumbel-max rule (Maddison et al. 2014, section 2).

        Args:
          logits: float32.
          keys: one for each row.
          positions: position of the token within its row: with the key, all that its noise depends on.

        Returns:
          The tokens, and their log-probabilities after temperature and before truncation.
        """
        logits = logits / self.temperature
        perturbed = self.truncate(logits)
        if not self.greedy:
            perturbed += constrain(gumbel_noise(keys, positions, logits.shape[-1]), "batch", "vocab")
        tokens = _largest(perturbed)
        chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
        return tokens, chosen - jax.nn.logsumexp(logits, axis=-1)


def _largest(scores: Float[Array, "B V"]) -> Int[Array, " B"]:
    """The first of the largest of each row.

    `jnp.argmax` in simple operations: XLA's CPU compiler leaves its loop, and the noise that it fuses into it, scalar.
    """
    scores = jax.lax.optimization_barrier(scores)
    vocabulary = scores.shape[-1]
    # The comparison is so turned that a row of NaN has a token too.
    smaller = scores < jnp.max(scores, axis=-1, keepdims=True)
    return jnp.min(jnp.where(smaller, vocabulary, jnp.arange(vocabulary)), axis=-1).astype(jnp.int32)
