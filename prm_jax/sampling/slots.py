"""The device's side of continuous batching: slots that decode together, each filled again when its row has ended.

`engine.py` calls it from the host. Everything has a fixed shape: a call takes some steps for all slots, or reads some
prompts into free ones. All slots write to the same place of a cache that is a ring (`models/cache.py`): a row that
begins later has its prompt written just before that place, and neither its start nor its end moves another row.
S slots, R requests, M prompts, P prompt tokens, C cache slots, D width.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from prm_jax.models.cache import KVCache, init_cache
from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.lora import merged
from prm_jax.models.stacking import unroll
from prm_jax.parallel.shardings import constrain
from prm_jax.sampling.rules import SamplingConfig


@flax.struct.dataclass
class Slots:
    """Rows that are decoded together.

    Attributes:
      token: each row's last token, not yet in the cache.
      position: its position in the row.
      left: how many more tokens may be sampled; 0: the slot is free, and what it computes means nothing.
      seed: of the row's noise.
      cache: keys and values of all tokens before `token`.
      clock: where in the cache the next tokens are written.
    """

    token: Int[Array, " S"]
    position: Int[Array, " S"]
    left: Int[Array, " S"]
    seed: UInt32[Array, " S"]
    cache: KVCache
    clock: Int[Array, ""]


@flax.struct.dataclass
class Refill:
    """Prompts, and the requests that begin with them.

    Attributes:
      tokens: the prompts, padded on the right.
      lengths: their lengths, at least 1.
      prompt: which of the prompts each request begins with.
      slot: where it goes; S for a request that only fills the shape.
      seed: of its noise.
    """

    tokens: Int[Array | np.ndarray, "M P"]
    lengths: Int[Array | np.ndarray, " M"]
    prompt: Int[Array | np.ndarray, " R"]
    slot: Int[Array | np.ndarray, " R"]
    seed: UInt32[Array | np.ndarray, " R"]


@flax.struct.dataclass
class Sampled:
    """What one call of `advance` sampled.

    Attributes:
      tokens: ids by step; of a slot's column the first `counts` mean something.
      logprobs: float32 log-probabilities of the same, see `SamplingConfig.choose`.
      counts: tokens of each slot.
      left: `Slots.left` after them; 0 where the row has ended.
    """

    tokens: Int[Array, "T S"]
    logprobs: Float[Array, "T S"]
    counts: Int[Array, " S"]
    left: Int[Array, " S"]


@functools.partial(jax.jit, static_argnums=1)
def unrolled(params: Any, model: ModelConfig) -> Any:
    """A policy's trunk layer by layer, its adapters added up: once for all calls."""
    params, model = merged(params, model)
    return unroll(params["trunk"], model)[0]


@functools.partial(jax.jit, static_argnames=("model", "slots", "length"))
def empty(*, model: ModelConfig, slots: int, length: int) -> Slots:
    """Free slots for rows of at most `length` tokens."""
    zeros = jnp.zeros(slots, jnp.int32)
    cache = init_cache(model, slots, length)
    return _placed(Slots(zeros, zeros, zeros, zeros.astype(jnp.uint32), cache, jnp.int32(0)))


@functools.partial(jax.jit, static_argnames=("model", "config"), donate_argnames="slots")
def refill(trunk: Any, slots: Slots, new: Refill, *, model: ModelConfig, config: SamplingConfig) -> Slots:
    """The slots with new rows; each prompt is read once, however many requests begin with it.

    A prompt's last token is not read here: it is the row's `token`, and the row's first step reads it.
    """
    width = new.tokens.shape[1]
    positions = jnp.arange(width) - (width - (new.lengths - 1))[:, None]
    tokens = jnp.take_along_axis(new.tokens, jnp.maximum(positions, 0), axis=1)
    # What stands on the padding is never read by another token.
    tokens = constrain(jnp.where(positions >= 0, tokens, 0), "batch", "length")
    cache = init_cache(model, len(tokens), width)
    _, cache = _apply(trunk, model, tokens, jnp.maximum(positions, 0), cache, 0, method="decode")

    def filled(ring: Float[Array, "S K C W"], read: Float[Array, "M K P W"]) -> Float[Array, "S K C W"]:
        padded = jnp.pad(read, ((0, 0), (0, 0), (0, ring.shape[2] - width), (0, 0)))
        rows = jnp.roll(padded, slots.clock - width, axis=2)[new.prompt]
        return ring.at[new.slot].set(rows, mode="drop")

    last = jnp.take_along_axis(new.tokens, new.lengths[:, None] - 1, axis=1)[:, 0]
    return _placed(
        Slots(
            token=slots.token.at[new.slot].set(last[new.prompt], mode="drop"),
            position=slots.position.at[new.slot].set(new.lengths[new.prompt] - 1, mode="drop"),
            left=slots.left.at[new.slot].set(config.max_new_tokens, mode="drop"),
            seed=slots.seed.at[new.slot].set(new.seed, mode="drop"),
            cache=jax.tree.map(filled, slots.cache, cache),
            clock=slots.clock,
        )
    )


@functools.partial(jax.jit, static_argnames=("steps", "model", "config", "eos_id"), donate_argnames="slots")
def advance(
    trunk: Any,
    slots: Slots,
    live: Bool[Array, " S"],
    floor: Int[Array, ""],
    *,
    steps: int,
    model: ModelConfig,
    config: SamplingConfig,
    eos_id: int,
) -> tuple[Slots, Sampled]:
    """At most `steps` tokens for each slot.

    Args:
      trunk: unrolled parameters.
      slots: the slots.
      live: slots that the host still wants tokens of.
      floor: the call ends as soon as no more than so many rows go on.
      steps: T.
      model: the policy's shape, with unrolled layers.
      config: the sampling rule.
      eos_id: the id that ends a row.

    Returns:
      The slots, and what was sampled, whole on every device of a mesh, so that each host can read it.
    """
    count = len(slots.token)
    slots = dataclasses.replace(slots, left=jnp.where(live, slots.left, 0))
    tokens, logprobs = jnp.zeros((steps, count), jnp.int32), jnp.zeros((steps, count), jnp.float32)
    sampled = Sampled(tokens, logprobs, jnp.zeros(count, jnp.int32), slots.left)

    def goes_on(state: tuple[Int[Array, ""], Slots, Sampled]) -> Bool[Array, ""]:
        return (state[0] < steps) & (jnp.sum(state[1].left > 0) > floor)

    def step(state: tuple[Int[Array, ""], Slots, Sampled]) -> tuple[Int[Array, ""], Slots, Sampled]:
        """Reads each slot's last token and chooses its next one; slots that do not run keep theirs."""
        number, slots, sampled = state
        running = slots.left > 0
        hidden, cache = _apply(
            trunk, model, slots.token[:, None], slots.position[:, None], slots.cache, slots.clock, method="decode"
        )
        logits = _apply(trunk, model, hidden, method="logits")[:, 0]
        keys = jax.vmap(jax.random.key)(slots.seed)
        chosen, logprobs = config.choose(logits, keys, slots.position + 1)
        slots = Slots(
            token=jnp.where(running, chosen, slots.token),
            position=slots.position + running,
            left=jnp.where(chosen == eos_id, 0, slots.left - running),
            seed=slots.seed,
            cache=cache,
            clock=(slots.clock + 1) % cache.length,
        )
        sampled = Sampled(
            tokens=jax.lax.dynamic_update_slice(sampled.tokens, chosen[None], (number, 0)),
            logprobs=jax.lax.dynamic_update_slice(sampled.logprobs, logprobs[None], (number, 0)),
            counts=sampled.counts + running,
            left=slots.left,
        )
        return number + 1, slots, sampled

    _, slots, sampled = jax.lax.while_loop(goes_on, step, (jnp.int32(0), slots, sampled))
    return _placed(slots), jax.tree.map(lambda leaf: constrain(leaf, *[None] * leaf.ndim), sampled)


@jax.jit
def kept(slots: Slots, rows: Int[Array, " s"]) -> Slots:
    """The slots with these rows alone."""
    return jax.tree.map(lambda leaf: leaf[rows] if leaf.ndim else leaf, slots)


def _apply(trunk: Any, model: ModelConfig, *args: Any, method: str) -> Any:
    return Decoder(model).apply({"params": trunk}, *args, method=method)


def _placed(slots: Slots) -> Slots:
    """The slots, split over a mesh as the decoder splits its activations."""
    axes = ("batch", "kv_heads", "length", "head_width")
    return jax.tree.map(lambda leaf: constrain(leaf, *axes[: leaf.ndim]), slots)
