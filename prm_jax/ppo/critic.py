"""The critic: what the state before each token is worth.

Two kinds. `"head"`: an MLP on the policy trunk's features behind a stopped gradient; it costs no forward of its own,
and a value loss cannot reach the policy (through a shared trunk it drove the KL up and the policy to ruin). `"prm"`: a
trunk and a head of its own, copied from a PRM, V = a (2 sigmoid(z) - 1) + b, with a and b fitted on the first
rollout's returns. `scoring.py` and `update.py` call `values`; `loop.py` makes the parameters. B batch, T tokens, D
width.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import whole
from prm_jax.models.policy import boxed_trainable_scorer, scores
from prm_jax.parallel.shardings import unboxed
from prm_jax.ppo.advantages import masked_mean
from prm_jax.ppo.forward import shift_right
from prm_jax.ppo.rewards import score_from_logit

CriticKind = Literal["head", "prm"]


def boxed_critic(kind: CriticKind, model: ModelConfig, hidden: int, key: Key[Array, ""]) -> dict[str, Any]:
    """Parameters of a critic that training changes, each boxed with its logical axes.

    Args:
      kind: which.
      model: configuration of the trunk.
      hidden: width of the MLP of kind `"head"`, whose output starts at zero, so that V = 0 at first.
      key: of the random values.
    """
    if kind == "prm":
        return {"prm": boxed_trainable_scorer(model, key), "scale": jnp.ones(()), "offset": jnp.zeros(())}
    w_in = jax.random.normal(key, (model.width, hidden), jnp.float32) * model.width**-0.5
    zeros = jnp.zeros((hidden,), jnp.float32)
    return {
        "w_in": nn.LogicallyPartitioned(w_in, ("embed", "mlp")),
        "b_in": nn.LogicallyPartitioned(zeros, ("mlp",)),
        "w_out": nn.LogicallyPartitioned(zeros, ("mlp",)),
        "b_out": jnp.zeros((), jnp.float32),
    }


@functools.partial(jax.jit, static_argnames=("model", "hidden"))
def init_head(model: ModelConfig, hidden: int, key: Key[Array, ""]) -> dict[str, Array]:
    """Parameters of kind `"head"`, split over the mesh if one is set; `hidden` as for `boxed_critic`."""
    return unboxed(boxed_critic("head", model, hidden, key))


def init_from_prm(prm_params: Any) -> dict[str, Any]:
    """Parameters of kind `"prm"`: a copy of the PRM's, with a = 1 and b = 0 until `fit_scale` has seen returns.

    Args:
      prm_params: those that training changes, see `lora.trainable`.
    """
    return {
        "prm": jax.tree.map(jnp.array, prm_params),
        "scale": jnp.ones((), jnp.float32),
        "offset": jnp.zeros((), jnp.float32),
    }


def with_frozen(kind: CriticKind, critic: Any, frozen: dict[str, Any] | None) -> Any:
    """A critic with the trunk that it shares with the policy, if adapters are all that is trained."""
    return {**critic, "prm": whole(critic["prm"], frozen)} if kind == "prm" else critic


def values(
    kind: CriticKind,
    critic: Any,
    model: ModelConfig,
    hidden: Float[Array, "B T D"],
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T"]:
    """The value of the state in which each token was chosen, float32; 0 at t = 0.

    Args:
      kind: which critic `critic` holds the parameters of.
      critic: parameters, what is frozen among them.
      model: configuration of the trunk.
      hidden: the policy's features, read by kind `"head"` only and never differentiated.
      tokens: rows, read by kind `"prm"` only, like the next two.
      segments: segments of the rows.
      positions: positions of the rows.
    """
    if kind == "prm":
        score = score_from_logit(scores(critic["prm"], model, tokens, segments, positions))
        return shift_right(critic["scale"] * score + critic["offset"])
    x = jax.lax.stop_gradient(hidden).astype(jnp.float32)
    x = jax.nn.gelu(x @ critic["w_in"] + critic["b_in"])
    return shift_right(x @ critic["w_out"] + critic["b_out"])


def fit_scale(
    critic: Any, values: Float[Array, "B T"], returns: Float[Array, "B T"], mask: Bool[Array, "B T"]
) -> dict[str, Any]:
    """Sets a and b of a critic of kind `"prm"` by least squares of the returns on its present values.

    Args:
      critic: parameters of kind `"prm"`.
      values: what the critic says of a rollout with its present a and b.
      returns: that rollout's returns.
      mask: the tokens that count.

    Returns:
      The parameters with a and b replaced; values that do not vary leave a as it is.
    """
    mean_value, mean_return = masked_mean(values, mask), masked_mean(returns, mask)
    covariance = masked_mean((values - mean_value) * (returns - mean_return), mask)
    variance = masked_mean(jnp.square(values - mean_value), mask)
    slope = jnp.where(variance > 0, covariance / jnp.where(variance > 0, variance, 1.0), 1.0)
    intercept = mean_return - slope * mean_value
    return {**critic, "scale": slope * critic["scale"], "offset": slope * critic["offset"] + intercept}
