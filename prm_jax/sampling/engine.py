"""Any number of prompts in, completions out: continuous batching.

Slots decode together; as soon as enough of them have ended, waiting requests take their place (`slots.py` is the
device's side, this file the host's, which has the queue). Stages call `sample_many`. B requests, S slots, T steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int, UInt32

from prm_jax.ahead.memory import check_fits
from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import Completions
from prm_jax.sampling.slots import Refill, Sampled, advance, empty, kept, refill, unrolled
from prm_jax.sampling.stops import StopWatch

# Decoding steps between two looks of the host, at most. Where the host looks for stop sequences, what a row is given
# behind one is lost; a look costs little beside the steps of a CPU.
_STEPS = 16
_STEPS_TO_A_STOP = {"cpu": 4}

# Waiting requests go in as soon as this share of the slots is free. A larger one leaves more slots idle, a smaller one
# reads fewer prompts at a time.
_REFILL_SHARE = 8

# When no request waits and half of the slots have ended, the others go on as half as many: at most this often, and
# never as fewer than this. Each number of slots is one more loop to compile.
_HALVINGS = 2
_FEWEST_SLOTS = 16

# Prompts are padded to the next of 16, 24, 32, 48, 64, 96, …: each width is compiled once.
_NARROWEST = 16

SMALLER = (
    "set SamplingConfig.max_new_tokens or TextConfig.max_prompt lower, or give gin/meshes/fsdp.gin or fsdp_tensor.gin "
    "(several devices)"
)
"""What makes decoding fit."""


def sample_many(
    params: Any,
    prompts: PromptBatch,
    seeds: UInt32[np.ndarray, " B"],
    *,
    model: ModelConfig,
    config: SamplingConfig,
    eos_id: int,
    batch_size: int,
    token_bytes: Callable[[int], bytes] | None = None,
    progress: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Completions:
    """One completion for each of any number of prompts.

    A row's completion depends on its own prompt, its seed and the parameters: not on the other rows, their order,
    their number or the padding (up to rounding, which can turn a near tie). Neighbouring rows with the same prompt
    share one reading of it. Stacked or adapted parameters are held a second time, layer by layer, while this runs.

    Args:
      params: a policy's parameters.
      prompts: numpy arrays, padded on the right, none empty.
      seeds: one for each row; the noise of a token is that of its row's seed and its position.
      model: shape of the policy.
      config: the sampling rule.
      eos_id: the id that ends a completion.
      batch_size: slots, that is rows decoded together.
      token_bytes: the tokenizer's; needed where `config.stop` names stop sequences.
      progress: called with the number of completions that have ended since its last call.
      say: takes a line that tells what decoding needs of each device, before it begins; where it is None that is not
        looked at.

    Returns:
      Completions as numpy arrays, in the order of the prompts. One that a stop sequence ended has the tokens up to that
      which completed it, and is not `finished`.

    Raises:
      UserError: there are no prompts, `batch_size` is not positive, or, with `say`, decoding does not fit.
      ValueError: there are stop sequences and no `token_bytes`.
    """
    count = len(prompts.lengths)
    if count == 0 or batch_size < 1:
        raise UserError(f"Cannot sample {count} prompts with {batch_size} slots; both must be positive.")
    if config.stop and token_bytes is None:
        raise ValueError("stop sequences are looked for in bytes: token_bytes is missing")
    watch = StopWatch(config.stop, token_bytes, count) if config.stop and token_bytes else None
    steps = _STEPS if watch is None else _STEPS_TO_A_STOP.get(jax.default_backend(), _STEPS)
    config = dataclasses.replace(config, stop=())  # The device does not read them: one program for all.
    queue = _Queue(prompts, np.asarray(seeds, np.uint32), min(batch_size, count))
    table = _Table(count, queue.slots, config.max_new_tokens, eos_id, watch)
    trunk = unrolled(params, model)
    model = dataclasses.replace(model.without_lora(), scan_layers=False, scan_decoding=False)
    slots = empty(model=model, slots=queue.slots, length=queue.widest + config.max_new_tokens)
    rule: dict[str, Any] = {"steps": steps, "model": model, "config": config, "eos_id": eos_id}
    if say is not None:
        decoding: Any = advance
        traced = decoding.trace(trunk, slots, table.live, np.int32(0), **rule)
        check_fits(f"decoding {queue.slots} programs", traced, SMALLER, say)
    while queue.waiting or table.live.any():
        while queue.wants(free := np.flatnonzero(~table.live)):
            requests, new = queue.take(free)
            table.begin(free[: len(requests)], requests)
            slots = refill(trunk, slots, new, model=model, config=config)
        floor = queue.floor if queue.waiting else _smaller(len(table.live), queue.slots)
        slots, sampled = advance(trunk, slots, table.live, np.int32(floor), **rule)
        ended = table.record(jax.device_get(sampled))
        if progress is not None and ended:
            progress(ended)
        if not queue.waiting and table.live.sum() <= floor and floor:
            slots = kept(slots, table.keep(floor))
    return table.completions


def _smaller(slots: int, first: int) -> int:
    """How many slots to go on with when so many rows are left; 0 where it is not worth it."""
    # On a mesh, moving rows would move them between devices.
    one_device = jax.sharding.get_abstract_mesh().size <= 1
    half = slots // 2
    return half if one_device and half >= max(_FEWEST_SLOTS, first >> _HALVINGS) else 0


class _Queue:
    """The requests that wait, shortest prompts first, so that prompts of like lengths are read together."""

    def __init__(self, prompts: PromptBatch, seeds: UInt32[np.ndarray, " B"], slots: int) -> None:
        tokens, lengths = np.asarray(prompts.tokens, np.int32), np.asarray(prompts.lengths, np.int32)
        self.slots = slots
        self.widest = _bucket(int(lengths.max()))
        self._tokens = np.zeros((len(lengths), self.widest), np.int32)
        width = min(self.widest, tokens.shape[1])
        self._tokens[:, :width] = tokens[:, :width]
        self._lengths, self._seeds = lengths, seeds
        begins = np.ones(len(lengths), bool)
        begins[1:] = (self._tokens[1:] != self._tokens[:-1]).any(axis=1) | (lengths[1:] != lengths[:-1])
        self._prompt = np.cumsum(begins) - 1
        self.chunk = -(-slots // _REFILL_SHARE)
        # How many prompts a refill reads: that of its requests if all are sampled equally often.
        self._reads = min(self.chunk, -(-self.chunk * int(begins.sum()) // len(lengths)) + 1)
        self._order = np.lexsort((self._prompt, lengths))
        self.waiting = len(lengths)

    @property
    def floor(self) -> int:
        """How many slots may go on until the next look at the queue."""
        return self.slots - min(self.waiting, self.chunk)

    def wants(self, free: Int[np.ndarray, " F"]) -> bool:
        """Whether enough slots are free for what waits."""
        return 0 < min(self.waiting, self.chunk) <= len(free)

    def take(self, free: Int[np.ndarray, " F"]) -> tuple[Int[np.ndarray, " r"], Refill]:
        """The next requests, and how they go into the first free slots."""
        start = len(self._order) - self.waiting
        requests = self._order[start : start + self.chunk]
        prompts = self._prompt[requests]
        which = np.cumsum(np.diff(prompts, prepend=prompts[0]) != 0)
        which = which[which < self._reads]
        requests = requests[: len(which)]
        self.waiting -= len(requests)
        # What only fills the shape: prompts of one token, requests of no slot.
        first = requests[np.searchsorted(which, np.arange(which[-1] + 1))]
        lengths = np.ones(self._reads, np.int32)
        lengths[: len(first)] = self._lengths[first]
        tokens = np.zeros((self._reads, _bucket(int(lengths.max()))), np.int32)
        tokens[: len(first)] = self._tokens[first, : tokens.shape[1]]
        prompt, slot, seed = np.zeros((3, self.chunk), np.int64)
        slot[:] = self.slots
        prompt[: len(which)], slot[: len(which)], seed[: len(which)] = which, free[: len(which)], self._seeds[requests]
        return requests, Refill(tokens, lengths, prompt.astype(np.int32), slot.astype(np.int32), seed.astype(np.uint32))


class _Table:
    """Which request each slot serves, and what has been sampled for the requests."""

    def __init__(self, requests: int, slots: int, longest: int, eos_id: int, watch: StopWatch | None) -> None:
        self.live: Bool[np.ndarray, " S"] = np.zeros(slots, bool)
        self._request = np.zeros(slots, np.int64)
        self._eos_id, self._watch = eos_id, watch
        self.completions = Completions(
            tokens=np.zeros((requests, longest), np.int32),
            logprobs=np.zeros((requests, longest), np.float32),
            lengths=np.zeros(requests, np.int32),
            finished=np.zeros(requests, bool),
        )

    def begin(self, slots: Int[np.ndarray, " r"], requests: Int[np.ndarray, " r"]) -> None:
        """Notes that the slots serve these requests now."""
        self.live[slots], self._request[slots] = True, requests

    def record(self, sampled: Sampled) -> int:
        """Takes down what was sampled; returns how many completions it has ended."""
        own = self.completions
        counts, ended = self._until_stops(sampled)
        step, slot = np.nonzero(np.arange(len(sampled.tokens))[:, None] < counts)
        row = self._request[slot]
        own.tokens[row, own.lengths[row] + step] = sampled.tokens[step, slot]
        own.logprobs[row, own.lengths[row] + step] = sampled.logprobs[step, slot]
        own.lengths[self._request[self.live]] += counts[self.live]
        row = self._request[ended]
        own.finished[row] = own.tokens[row, own.lengths[row] - 1] == self._eos_id
        self.live &= ~ended
        return len(row)

    def _until_stops(self, sampled: Sampled) -> tuple[Int[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
        """How many of its tokens each slot keeps, and which slots have ended."""
        counts, ended = np.array(sampled.counts), self.live & (sampled.left == 0)
        if self._watch is not None:
            tokens = np.asarray(sampled.tokens)
            for slot in np.flatnonzero(self.live):
                kept = self._watch.tokens_to_stop(self._request[slot], tokens[: counts[slot], slot])
                if kept is not None:
                    counts[slot], ended[slot] = kept, True
        return counts, ended

    def keep(self, slots: int) -> Int[np.ndarray, " s"]:
        """Goes on with so many slots, all live ones among them; returns which they are."""
        kept = np.argsort(~self.live, stable=True)[:slots]
        self.live, self._request = self.live[kept], self._request[kept]
        return kept


def _bucket(length: int) -> int:
    """The width to which prompts of this length are padded."""
    width = _NARROWEST
    while width < length:
        width = width * 3 // 2 if width & (width - 1) == 0 else width * 4 // 3
    return width
