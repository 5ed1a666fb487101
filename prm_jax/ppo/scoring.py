"""Scoring a rollout: log-probabilities of policy and reference, values, and the scores of a PRM or ORM.

Jitted, in fixed-size pieces of the batch so that memory does not grow with the rollout. `loop.py` calls it after
sampling. B batch, T tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import policy_forward, scores, token_logprobs
from prm_jax.parallel.shardings import constrain, split_rows
from prm_jax.ppo import critic as critics
from prm_jax.ppo import forward
from prm_jax.ppo.critic import CriticKind
from prm_jax.ppo.rewards import score_from_logit
from prm_jax.ppo.rollout import Rollout

Rows = tuple[Int[Array, "b T"], Int[Array, "b T"], Int[Array, "b T"]]


def _in_pieces(score: Callable[[Rows], Any], rollout: Rollout, batch: int, widths: tuple[int, ...]) -> Any:
    """`score((tokens, segments, positions))` on pieces of at most `batch` rows, one after the other.

    Rows of like length go together, so that a piece can be cut to a narrow width; what is cut off scores 0.
    """
    total, length = rollout.tokens.shape
    size = next(size for size in range(min(batch, total), 0, -1) if total % size == 0)
    order = jnp.argsort(jnp.sum(rollout.segments > 0, axis=1))
    rows = (rollout.tokens, rollout.segments, rollout.positions)
    pieces = jax.tree.map(lambda x: _each_split(x[order].reshape(total // size, size, length)), rows)

    def padded(rows: Rows) -> Any:
        return jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (0, length - x.shape[1]))), score(rows))

    scored = jax.lax.map(lambda rows: forward.at_narrowest_width(padded, rows, rows[1], widths), pieces)
    back = jnp.argsort(order)
    return split_rows(jax.tree.map(lambda x: _each_split(x).reshape(total, length)[back], scored))


def _each_split(pieces: Array) -> Array:
    """The rows of every piece over the mesh, not the pieces: those come one after the other."""
    return constrain(pieces, None, "batch", "length")


@functools.partial(jax.jit, static_argnames=("model", "kind", "temperature", "batch", "widths"))
def score_policy(
    params: Any,
    reference: Any,
    critic: Any,
    rollout: Rollout,
    *,
    model: ModelConfig,
    kind: CriticKind,
    temperature: float,
    batch: int,
    widths: tuple[int, ...] = (),
) -> tuple[Float[Array, "B T"], Float[Array, "B T"], Float[Array, "B T"], Float[Array, ""]]:
    """The trainer's log-probabilities in place of the sampler's, the reference's, and the values.

    PPO's ratio is then exactly 1 before the first step, whatever the sampler's rounding.

    Args:
      params: the policy that sampled the rollout.
      reference: the SFT policy.
      critic: parameters of the critic.
      rollout: with the sampler's log-probabilities.
      model: configuration of policy and reference.
      kind: kind of the critic.
      temperature: that of sampling.
      batch: rows of one forward.
      widths: tokens that they are cut to, see `PpoConfig.widths`.

    Returns:
      `logprobs`, `ref_logprobs` and `values` of the rollout, and the largest |log p(sampler) - log p(trainer)| over
      its sampled tokens.
    """

    def score(rows: Rows) -> tuple[Array, Array, Array]:
        hidden, logprobs, _ = policy_forward(params, model, *rows, temperature)
        value = critics.values(kind, critic, model, hidden, *rows)
        ref_logprobs, _ = token_logprobs(reference, model, *rows, temperature)
        return logprobs, ref_logprobs, value

    filled = _in_pieces(score, rollout, batch, widths)
    logprobs, ref_logprobs, value = (jnp.where(rollout.completion, x, 0.0) for x in filled)
    gap = jnp.max(jnp.where(rollout.completion, jnp.abs(logprobs - rollout.logprobs), 0.0))
    return logprobs, ref_logprobs, value, gap


@functools.partial(jax.jit, static_argnames=("model", "batch", "widths"))
def score_steps(
    scorer: Any, rollout: Rollout, *, model: ModelConfig, batch: int, widths: tuple[int, ...] = ()
) -> Float[Array, "B T"]:
    """S = 2 sigmoid(z) - 1 of a PRM or ORM on every token, float32; meaningful where a step or the program ends."""

    def score(rows: Rows) -> Float[Array, "b T"]:
        return score_from_logit(scores(scorer, model, *rows))

    # Every host reads the scores.
    return constrain(_in_pieces(score, rollout, batch, widths), None, None)
