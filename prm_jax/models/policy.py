"""Policies and scorers as plain functions over parameter pytrees.

A policy's parameters are `{"trunk": ...}`, a scorer's (PRM, ORM, critic) `{"trunk": ..., "head": ...}`: plain nested
dicts of float32 arrays. Either may have `"adapters"` too, see `lora.py`. Training, PPO and evaluation call this. B
batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.heads import ScalarHead, SurpriseHead
from prm_jax.models.lora import COLLECTION, boxed_adapters, trainable
from prm_jax.models.unembedding import NextToken, next_token
from prm_jax.parallel.shardings import unboxed

Params = dict[str, Any]


def _head(module: nn.Module, params: Params, *args: Any) -> Any:
    return module.apply({"params": params["head"]}, *args)


def _trunk(decoder: Decoder, params: Params, *args: Any, method: str | None = None) -> Any:
    adapters = {COLLECTION: params[COLLECTION]} if COLLECTION in params else {}
    return decoder.apply({"params": params["trunk"], **adapters}, *args, method=method)


def boxed_policy(config: ModelConfig, key: Key[Array, ""]) -> Params:
    """A policy's parameters, each boxed with its logical axes: what `parallel.shardings` reads shardings from."""
    row = jnp.zeros((1, 1), jnp.int32)
    trunk = Decoder(config).init(key, row, row, row)["params"]
    return {"trunk": trunk, **_boxed_adapters(trunk, config, key)}


def _boxed_adapters(boxed_trunk: Any, config: ModelConfig, key: Key[Array, ""]) -> Params:
    if not config.lora.rank:
        return {}
    return {COLLECTION: boxed_adapters(boxed_trunk, config, jax.random.fold_in(key, 1))}


def boxed_scorer(config: ModelConfig, key: Key[Array, ""], zero_head: bool = False) -> Params:
    """A scorer's parameters, each boxed with its logical axes."""
    trunk_key, head_key = jax.random.split(key)
    row, hidden = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, config.width))
    trunk = Decoder(config, unembedding=config.reads_surprise).init(trunk_key, row, row, row)["params"]
    if config.reads_surprise:
        head = SurpriseHead(zero_head).init(head_key, hidden, jnp.zeros((1, 1)), row)["params"]
    else:
        head = ScalarHead(zero_head).init(head_key, hidden)["params"]
    return {"trunk": trunk, **_boxed_adapters(trunk, config, trunk_key), "head": head}


def boxed_trainable_policy(config: ModelConfig, key: Key[Array, ""]) -> Params:
    """The parts of `boxed_policy` that training changes."""
    return trainable(boxed_policy(config, key), config)


def boxed_trainable_scorer(config: ModelConfig, key: Key[Array, ""]) -> Params:
    """The parts of `boxed_scorer` that training changes."""
    return trainable(boxed_scorer(config, key), config)


@functools.partial(jax.jit, static_argnames="config")
def init_policy(config: ModelConfig, key: Key[Array, ""]) -> Params:
    """Parameters of a random policy, split over the mesh if one is set."""
    return unboxed(boxed_policy(config, key))


@functools.partial(jax.jit, static_argnames="config")
def _random_adapters(config: ModelConfig, key: Key[Array, ""]) -> Params:
    return unboxed(boxed_policy(config, key)[COLLECTION])


def with_adapters(params: Params, config: ModelConfig, key: Key[Array, ""]) -> Params:
    """The same network with new adapters, where the configuration asks for such and it has none yet."""
    if not config.lora.rank or COLLECTION in params:
        return params
    return {**params, COLLECTION: _random_adapters(config, key)}


@functools.partial(jax.jit, static_argnames=("config", "zero_head", "parts"))
def _random_scorer(config: ModelConfig, key: Key[Array, ""], zero_head: bool, parts: tuple[str, ...]) -> Params:
    boxed = boxed_scorer(config, key, zero_head)
    return unboxed({name: boxed[name] for name in parts})


def init_scorer(
    config: ModelConfig, key: Key[Array, ""], start: Params | None = None, *, zero_head: bool = False
) -> Params:
    """Parameters of a scorer, split over the mesh if one is set.

    Args:
      config: the trunk's.
      key: of the random values.
      start: the policy or scorer whose trunk to start from; it is copied, without the output table of untied
        embeddings where the scorer does not read its surprise. With adapters they alone are copied, and the trunk is
        shared. None for a random one.
      zero_head: whether all scores are 0 at first.
    """
    parts = jax.eval_shape(functools.partial(boxed_scorer, config), key)
    if start is None:
        return _random_scorer(config, key, zero_head, tuple(parts))
    head = _random_scorer(config, key, zero_head, ("head",))
    if config.lora.rank:
        adapters = jax.tree.map(jnp.copy, with_adapters(start, config, key)[COLLECTION])
        return {"trunk": start["trunk"], COLLECTION: adapters, **head}
    return {"trunk": {name: jax.tree.map(jnp.copy, start["trunk"][name]) for name in parts["trunk"]}, **head}


def policy_logits(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T V"]:
    """Float32 logits; those at t are for the token at t + 1. Arguments as in `Decoder.__call__`."""
    decoder = Decoder(config)
    hidden = _trunk(decoder, params, tokens, segments, positions)
    return _trunk(decoder, params, hidden, method="logits")


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
    wanted: Bool[Array, "B T"] | None = None,
) -> tuple[Float[Array, "B T D"], Float[Array, "B T"], Float[Array, "B T"]]:
    """What the policy says of given tokens, at a temperature, with the features that a critic reads.

    Args:
      params: a policy's.
      config: its shape.
      tokens: token ids.
      segments: as in `Decoder.__call__`.
      positions: as in `Decoder.__call__`.
      temperature: divides the logits.
      wanted: the tokens of which anything is asked; None for all. Logits of others may be left out.

    Returns:
      The trunk's hidden states; log p(tokens[t] | the earlier tokens of its segment) and the entropy of that choice,
      in nats, float32, both 0 on the first token of a segment, on padding and where nothing is wanted.
    """
    hidden, said = _forward(params, config, tokens, segments, positions, temperature, wanted)
    return hidden, said.logprobs, said.entropy


def token_predictions(
    params: Params,
    config: ModelConfig,
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    wanted: Bool[Array, "B T"] | None = None,
) -> NextToken:
    """What the policy says of given tokens, and whether each was the likeliest. Arguments as in `policy_forward`."""
    return _forward(params, config, tokens, segments, positions, 1.0, wanted)[1]


def _forward(
    params: Params, config: ModelConfig, tokens: Any, segments: Any, positions: Any, temperature: float, wanted: Any
) -> tuple[Array, NextToken]:
    hidden = _trunk(Decoder(config), params, tokens, segments, positions)
    inside = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    inside = inside if wanted is None else inside & wanted[:, 1:]
    table = params["trunk"]["embedding" if config.tied_embeddings else "output"]
    said = next_token(hidden[:, :-1], table, tokens[:, 1:], inside, temperature, config.remat)
    return hidden, NextToken(*(jnp.pad(x, ((0, 0), (1, 0))) for x in said))


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
        return _head(SurpriseHead(), params, hidden, logprobs, segments)
    hidden = _trunk(Decoder(config, unembedding=False), params, tokens, segments, positions)
    return _head(ScalarHead(), params, hidden)
