"""Policies and scorers as plain functions over parameter pytrees.

A policy's parameters are `{"trunk": ...}`, a scorer's (PRM, ORM, critic) `{"trunk": ..., "head": ...}`: plain nested
dicts of float32 arrays. Training, PPO and evaluation call this. B batch, T tokens, V vocabulary.
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
from prm_jax.models.unembedding import NextToken, next_token
from prm_jax.parallel.shardings import unboxed

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
    decoder = Decoder(config)
    hidden = _apply(decoder, params["trunk"], tokens, segments, positions)
    return _apply(decoder, params["trunk"], hidden, method="logits")


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
    hidden = _apply(Decoder(config), params["trunk"], tokens, segments, positions)
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
        return _apply(SurpriseHead(), params["head"], hidden, logprobs, segments)
    hidden = _apply(Decoder(config, unembedding=False), params["trunk"], tokens, segments, positions)
    return _apply(ScalarHead(), params["head"], hidden)
