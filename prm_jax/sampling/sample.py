"""A batch of prompts in, completions out: a prefill and one loop with a key-value cache, in one jitted function.

PPO's rollout calls `sample`: its batch is split over a mesh and stays so to its last row. Any number of prompts is
`engine.py`'s. Prompts are moved to the right end of their slots, so that all rows write their next token to the same
slot. B batch, M prompts, P prompt slots, N completion slots, D width.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from prm_jax.batches import PromptBatch
from prm_jax.models.cache import KVCache, init_cache
from prm_jax.models.config import ModelConfig
from prm_jax.models.decoder import Decoder
from prm_jax.models.lora import merged
from prm_jax.models.stacking import unroll
from prm_jax.parallel.shardings import constrain, split_rows
from prm_jax.sampling.rules import SamplingConfig

# When half of the rows have finished, the others go on as a batch of half the size: at most this often, and never
# to fewer rows than this. Each size is one more loop to compile.
_HALVINGS = 2
_FEWEST_ROWS = 32


@flax.struct.dataclass
class Completions:
    """What was sampled, row by row of the prompts.

    Attributes:
      tokens: sampled ids, `eos` included, 0 after it.
      logprobs: float32 log-probability of each, after temperature and before truncation; 0 after the end.
      lengths: number of sampled tokens, `eos` counted.
      finished: whether `eos` was sampled; False: cut by length, or by a stop sequence.
    """

    tokens: Int[Array | np.ndarray, "B N"]
    logprobs: Float[Array | np.ndarray, "B N"]
    lengths: Int[Array | np.ndarray, " B"]
    finished: Bool[Array | np.ndarray, " B"]

    def placed_in(self, whole: Completions, rows: Int[Array, " b"]) -> Completions:
        """`whole`, with these completions at the given rows."""
        return jax.tree.map(lambda old, own: old.at[rows].set(own), whole, self)


@flax.struct.dataclass
class _Rows:
    """The rows that are being decoded together.

    Attributes:
      index: which row of the batch each is.
      key: noise key.
      prompt_length: tokens of the prompt.
      token: the token chosen last, not yet in the cache.
      completions: what has been chosen so far.
      cache: keys and values of all tokens before `token`.
    """

    index: Int[Array, " B"]
    key: Key[Array, " B"]
    prompt_length: Int[Array, " B"]
    token: Int[Array, " B"]
    completions: Completions
    cache: KVCache

    def taken(self, kept: Int[Array, " b"]) -> _Rows:
        """Some of the rows."""
        others = (self.index, self.key, self.prompt_length, self.token, self.completions)
        index, key, prompt_length, token, completions = jax.tree.map(lambda leaf: leaf[kept], others)
        return _Rows(index, key, prompt_length, token, completions, self.cache.rows(kept))


@dataclasses.dataclass(frozen=True)
class _Sampler:
    """The model and the rule, as the two steps of decoding."""

    decoder: Decoder
    variables: Any
    config: SamplingConfig
    eos_id: int

    def prefill(self, tokens: Int[Array, "M P"], lengths: Int[Array, " M"], seeds: UInt32[Array, " B"]) -> _Rows:
        """Reads each prompt once and chooses the first token of each row."""
        prompts, width = tokens.shape
        batch, samples = len(seeds), len(seeds) // prompts
        padding = width - lengths
        positions = jnp.arange(width) - padding[:, None]
        shifted = jnp.take_along_axis(tokens, jnp.maximum(positions, 0), axis=1)
        # What stands on the padding slots is never read by another slot.
        shifted = constrain(jnp.where(positions >= 0, shifted, 0), "batch", "length")
        cache = init_cache(self.decoder.config, prompts, width)
        hidden, cache = self._apply(shifted, jnp.maximum(positions, 0), cache, 0, method="decode")
        cache = cache.repeated(samples, width + self.config.max_new_tokens)
        hidden, lengths = (jnp.repeat(leaf, samples, axis=0) for leaf in (hidden[:, -1:], lengths))
        keys = jax.vmap(jax.random.key)(seeds)
        empty = Completions(
            tokens=jnp.zeros((batch, self.config.max_new_tokens), jnp.int32),
            logprobs=jnp.zeros((batch, self.config.max_new_tokens), jnp.float32),
            lengths=jnp.zeros(batch, jnp.int32),
            finished=jnp.zeros(batch, bool),
        )
        # The cache stands on the mesh already, by its heads too.
        index, token = jnp.arange(batch), jnp.zeros(batch, jnp.int32)
        index, keys, lengths, token, empty, hidden = split_rows((index, keys, lengths, token, empty, hidden))
        return self._choose(_Rows(index, keys, lengths, token, empty, cache), hidden, 0)

    def advance(self, rows: _Rows, step: Int[Array, ""], width: int) -> _Rows:
        """Reads the token of `step - 1` and chooses that of `step`; `width` is P."""
        positions = (rows.prompt_length + step - 1)[:, None]
        hidden, cache = self._apply(rows.token[:, None], positions, rows.cache, width + step - 1, method="decode")
        return self._choose(dataclasses.replace(rows, cache=cache), hidden, step)

    def _apply(self, *args: Any, method: str) -> Any:
        return self.decoder.apply(self.variables, *args, method=method)

    def _choose(self, rows: _Rows, hidden: Float[Array, "B 1 D"], step: int | Int[Array, ""]) -> _Rows:
        """Chooses the token of `step` in the rows that have not finished."""
        logits = self._apply(hidden, method="logits")[:, 0]
        tokens, logprobs = self.config.choose(logits, rows.key, rows.prompt_length + step)
        so_far = rows.completions
        tokens, logprobs = (jnp.where(so_far.finished, 0, new) for new in (tokens, logprobs))
        completions = Completions(
            tokens=jax.lax.dynamic_update_slice(so_far.tokens, tokens[:, None], (0, step)),
            logprobs=jax.lax.dynamic_update_slice(so_far.logprobs, logprobs[:, None], (0, step)),
            lengths=so_far.lengths + ~so_far.finished,
            finished=so_far.finished | (tokens == self.eos_id),
        )
        return dataclasses.replace(rows, token=tokens, completions=completions)


def _batch_sizes(batch: int) -> list[int]:
    """The sizes that a batch shrinks through; only its own where moving rows would move them between devices."""
    sizes = [batch]
    if jax.sharding.get_abstract_mesh().size > 1:
        return sizes
    while len(sizes) <= _HALVINGS and sizes[-1] // 2 >= _FEWEST_ROWS:
        sizes.append(sizes[-1] // 2)
    return sizes


@functools.partial(jax.jit, static_argnames=("model", "config", "eos_id"))
def sample_arrays(
    params: Any,
    tokens: Int[Array, "M P"],
    lengths: Int[Array, " M"],
    seeds: UInt32[Array, " B"],
    *,
    model: ModelConfig,
    config: SamplingConfig,
    eos_id: int,
) -> Completions:
    """The jitted part of `sample`, whose arguments they are: prompts as arrays of whole rows."""
    # Adapters are added up here, and unless told otherwise stacked parameters sliced, once and not in the loop.
    params, model = merged(params, model)
    trunk, decoded = (params["trunk"], model) if model.scan_decoding else unroll(params["trunk"], model)
    sampler = _Sampler(Decoder(decoded), {"params": trunk}, config, eos_id)
    rows, step = sampler.prefill(tokens, lengths, seeds), jnp.int32(1)
    completions = rows.completions
    sizes = _batch_sizes(len(seeds))
    for size, next_size in zip(sizes, [*sizes[1:], 0], strict=True):
        # The unfinished first: nothing but finished rows is left behind, or the length is reached and no row goes on.
        kept = jnp.argsort(rows.completions.finished, stable=True)[:size]
        rows = rows if size == sizes[0] else rows.taken(kept)

        def unfinished(state: tuple[Int[Array, ""], _Rows], floor: int = next_size) -> Bool[Array, ""]:
            return (state[0] < config.max_new_tokens) & (jnp.sum(~state[1].completions.finished) > floor)

        def body(state: tuple[Int[Array, ""], _Rows]) -> tuple[Int[Array, ""], _Rows]:
            return state[0] + 1, sampler.advance(state[1], state[0], tokens.shape[1])

        step, rows = jax.lax.while_loop(unfinished, body, (step, rows))
        completions = rows.completions.placed_in(completions, rows.index)
    return jax.tree.map(lambda leaf: constrain(leaf, *[None] * leaf.ndim), completions)


def sample(
    params: Any,
    prompts: PromptBatch,
    seeds: UInt32[Array | np.ndarray, " B"],
    *,
    model: ModelConfig,
    config: SamplingConfig,
    eos_id: int,
) -> Completions:
    """As many completions of every prompt; each prompt is read once.

    A row's completion depends on its own prompt, its seed and the parameters: not on its neighbours, their order or
    the padding (up to rounding, which can turn a near tie).

    Args:
      params: a policy's parameters.
      prompts: M prompts padded on the right, none empty.
      seeds: one for each completion, B in all, a multiple of M; those of a prompt are side by side. The noise of a
        token is that of its row's seed and its position.
      model: shape of the policy.
      config: the sampling rule.
      eos_id: the id that ends a completion.

    Returns:
      Completions, in the order of the seeds, whole on every device of a mesh, so that each host can read them.

    Raises:
      ValueError: the prompts have not as many seeds each.
    """
    if len(seeds) % len(prompts.lengths):
        raise ValueError(f"{len(seeds)} seeds are no multiple of {len(prompts.lengths)} prompts")
    return sample_arrays(params, *prompt_arrays(prompts, seeds), model=model, config=config, eos_id=eos_id)


def prompt_arrays(
    prompts: PromptBatch, seeds: UInt32[Array | np.ndarray, " B"]
) -> tuple[Int[Array, "M P"], Int[Array, " M"], UInt32[Array, " B"]]:
    """Prompts and seeds as `sample_arrays` takes them."""
    tokens, lengths = jnp.asarray(prompts.tokens, jnp.int32), jnp.asarray(prompts.lengths, jnp.int32)
    return tokens, lengths, jnp.asarray(seeds, jnp.uint32)
