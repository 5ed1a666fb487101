"""Policies and scorers as plain functions over parameter pytrees.

A policy's parameters are `{"trunk": ...}`, a scorer's (PRM, ORM, critic) `{"trunk": ..., "head": ...}`: plain nested
dicts of float32 arrays. Training, PPO and evaluation call this. B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.heads import ScalarHead, SurpriseHead
from prm_jax.parallel.shardings import constrain, unboxed

Params = dict[str, Any]


def _apply(module: nn.Module, params: Params, *args: Any, method: str | None = None) -> Any:
    return module.apply({"params": params}, *args, method=method)


def boxed_policy(config: ModelConfig, key: Key[Array, ""]) -> Params:
    """A policy's parameters, each boxed with its logical axes: what `parallel.shardings` reads shardings from."""
    row = jnp.zeros((1, 1), jnp.int32)
    return {"trunk": Decoder(config).init(key, row, row, row)["params"]}


def boxed_scorer(config: ModelConfig, key: Key[Array, ""], zero_head: bool = False) -> Params:
    """A scorer's parameters, each boxed with its logical axes."""
    trunk_key, head_key = jax.random.split(key)
    row, hidden = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, config.width))
    trunk = Decoder(config, unembedding=config.reads_surprise).init(trunk_key, row, row, row)["params"]
    if config.reads_surprise:
        head = SurpriseHead(zero_head).init(head_key, hidden, jnp.zeros((1, 1)), row)["params"]
    else:
        head = ScalarHead(zero_head).init(head_key, hidden)["params"]
    return {"trunk": trunk, "head": head}


@functools.partial(jax.jit, static_argnames="config")
def init_policy(config: ModelConfig, key: Key[Array, ""]) -> Params:
    """Parameters of a random policy, split over the mesh if one is set."""
    return unboxed(boxed_policy(config, key))


@functools.partial(jax.jit, static_argnames=("config", "zero_head", "parts"))
def _random_scorer(config: ModelConfig, key: Key[Array, ""], zero_head: bool, parts: tuple[str, ...]) -> Params:
    boxed = boxed_scorer(config, key, zero_head)
    return unboxed({name: boxed[name] for name in parts})


def init_scorer(
    config: ModelConfig, key: Key[Array, ""], trunk: Params | None = None, *, zero_head: bool = False
) -> Params:
    """Parameters of a scorer, split over the mesh if one is set.

    Args:
      config: the trunk's.
      key: of the random values.
      trunk: `params["trunk"]` of a policy or scorer to start from; it is copied, without the output table of untied
        embeddings where the scorer does not read its surprise. None for a random trunk.
      zero_head: whether all scores are 0 at first.
    """
    if trunk is None:
        return _random_scorer(config, key, zero_head, ("trunk", "head"))
    names = jax.eval_shape(functools.partial(boxed_scorer, config), key)["trunk"]
    return {
        "trunk": {name: jax.tree.map(jnp.copy, trunk[name]) for name in names},
        **_random_scorer(config, key, zero_head, ("head",)),
    }


def policy_logits(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T V"]:
    """Float32 logits; those at t are for the token at t + 1. Arguments as in `Decoder.__call__`."""
    hidden = policy_hidden(params, config, tokens, segments, positions)
    return _apply(Decoder(config), params["trunk"], hidden, method="logits")


def policy_hidden(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T D"]:
    """The trunk's hidden states. Arguments as in `Decoder.__call__`."""
    return _apply(Decoder(config), params["trunk"], tokens, segments, positions)


def over_logits(
    params: Params,
    config: ModelConfig,
    hidden: Float[Array, "B T D"],
    targets: Int[Array, "B T"],
    reduce: Callable[[Float[Array, "B t V"], Int[Array, "B t"]], Any],
) -> Any:
    """What a function says of the logits, which need not exist for all tokens at once.

    Args:
      params: a policy's.
      config: its shape; `logit_chunk` tells for how many tokens of a row.
      hidden: the trunk's hidden states.
      targets: an id for each of them.
      reduce: from the float32 logits of some tokens and their targets to a pytree of arrays `[B, t]`.

    Returns:
      The pytree, its arrays `[B, T]`.
    """
    decoder, trunk = Decoder(config), params["trunk"]
    length, chunk = hidden.shape[1], config.logit_chunk
    if chunk is None or chunk >= length:
        return reduce(_apply(decoder, trunk, hidden, method="logits"), targets)
    # Gathered here, the table is gathered once and not for each chunk.
    name = "embedding" if config.tied_embeddings else "output"
    trunk = {**trunk, name: constrain(trunk[name].astype(config.compute_dtype), "vocab", None)}

    @jax.checkpoint
    def one(own: tuple[Float[Array, "B t D"], Int[Array, "B t"]]) -> Any:
        return reduce(_apply(decoder, trunk, own[0], method="logits"), own[1])

    def chunked(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, -length % chunk), *[(0, 0)] * (x.ndim - 2)))
        return jnp.moveaxis(x.reshape(len(x), -1, chunk, *x.shape[2:]), 1, 0)

    found = jax.lax.map(one, (chunked(hidden), chunked(targets)))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)[:, :length], found)


def token_logprobs(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    temperature: float = 1.0,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """`policy_forward` without the hidden states."""
    return policy_forward(params, config, tokens, segments, positions, temperature)[1:]


def policy_forward(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    temperature: float = 1.0,
) -> tuple[Float[Array, "B T D"], Float[Array, "B T"], Float[Array, "B T"]]:
    """What the policy says of given tokens, at a temperature, with the features that a critic reads.

    Args:
      params: a policy's.
      config: its shape.
      tokens: token ids.
      segments: as in `Decoder.__call__`.
      positions: as in `Decoder.__call__`.
      temperature: divides the logits.

    Returns:
      The trunk's hidden states; log p(tokens[t] | the earlier tokens of its segment) and the entropy of that choice,
      in nats, float32, both 0 on the first token of a segment and on padding.
    """

    def choices(logits: Float[Array, "B t V"], targets: Int[Array, "B t"]) -> tuple[Array, Array]:
        logits = logits / temperature
        # Only reductions of the logits follow, which XLA fuses: the log-softmax is never stored.
        normaliser = jax.nn.logsumexp(logits, axis=-1)
        chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0] - normaliser
        return chosen, normaliser - jnp.sum(jnp.exp(logits - normaliser[..., None]) * logits, axis=-1)

    hidden = policy_hidden(params, config, tokens, segments, positions)
    chosen, entropy = over_logits(params, config, hidden[:, :-1], tokens[:, 1:], choices)
    inside = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    chosen, entropy = (jnp.pad(jnp.where(inside, x, 0.0), ((0, 0), (1, 0))) for x in (chosen, entropy))
    return hidden, chosen, entropy


def scores(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T"]:
    """Raw scores z of a scorer's head, float32. Arguments as in `Decoder.__call__`."""
    if config.reads_surprise:
        hidden, logprobs, _ = policy_forward(params, config, tokens, segments, positions)
        return _apply(SurpriseHead(), params["head"], hidden, logprobs, segments)
    hidden = _apply(Decoder(config, unembedding=False), params["trunk"], tokens, segments, positions)
    return _apply(ScalarHead(), params["head"], hidden)
