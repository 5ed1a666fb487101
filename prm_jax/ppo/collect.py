"""`Collector`: prompts and a policy in, programs with what the interpreter says of them out.

A rollout is sampled chunk after chunk. While the devices sample one, a thread verifies the one before it; that thread
runs programs and nothing of JAX, whose collective operations stay on the main thread, in one order on every host.
`learner.py` calls this. What is sampled depends on the seed, the update's number and the policy. B batch, N new tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, UInt32

from prm_jax.batches import PromptBatch
from prm_jax.models.config import ModelConfig
from prm_jax.parallel.hosts import gathered, own_rows
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.rollout import Rollout, StepTable, assemble, completion_ids, program_text, repeat_prompts, step_table
from prm_jax.ppo.timeline import WAITING, Timeline
from prm_jax.ppo.verify import Verified, Verify
from prm_jax.problems.problem import Problem
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import Completions, prompt_arrays, sample, sample_arrays
from prm_jax.text.tokenizer import Tokenizer
from prm_jax.training.data import batches


@dataclasses.dataclass(frozen=True)
class Pending:
    """A rollout that is being verified: prompts, what was sampled, and of each chunk this host's verdicts to come."""

    prompts: PromptBatch
    completions: Completions
    verdicts: tuple[futures.Future[list[Verified]], ...]


@dataclasses.dataclass(frozen=True)
class Collected:
    """A rollout, the steps of its programs, what the interpreter says of each, and whether it reached `eos`."""

    rollout: Rollout
    table: StepTable
    verified: list[Verified]
    finished: Bool[np.ndarray, " B"]


class Collector:
    """Samples and verifies; `close` it in the end."""

    def __init__(
        self,
        config: PpoConfig,
        model: ModelConfig,
        prompts: PromptBatch,
        problems: Sequence[Problem],
        tokenizer: Tokenizer,
        verify: Verify,
        exact: bool,
        timeline: Timeline,
    ) -> None:
        self.config, self.model, self.prompts, self.problems = config, model, prompts, problems
        self.tokenizer, self.verify, self.exact, self.timeline = tokenizer, verify, exact, timeline
        self.sampling = SamplingConfig(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
        # One thread: a sandbox takes one call at a time.
        self._thread = futures.ThreadPoolExecutor(1, "verification")

    def close(self) -> None:
        """Waits for the chunk that is being verified and drops what would come behind it."""
        self._thread.shutdown(cancel_futures=True)

    def empty(self) -> Completions:
        """Completions of the shapes that `sample` gives, all of them empty."""
        batch, length = self.config.batch_size, self.config.max_new_tokens
        return Completions(
            tokens=np.zeros((batch, length), np.int32),
            logprobs=np.zeros((batch, length), np.float32),
            lengths=np.zeros(batch, np.int32),
            finished=np.zeros(batch, bool),
        )

    def trace(self, params: Any) -> Any:
        """What samples a chunk, traced, to be lowered."""
        prompts, seeds = self._draw(0)
        rows = next(self._chunks())
        jitted: Any = sample_arrays
        return jitted.trace(params, *prompt_arrays(self._once(_at(rows, prompts)), seeds[rows]), **self._rule)

    def no_rollout(self) -> Rollout:
        """A rollout of the shapes of all others, whose completions are empty."""
        return assemble(self._draw(0)[0], self.empty())

    def begin(self, params: Any, index: int) -> Pending:
        """Samples rollout number `index` with a policy; its last chunk at least is still being verified."""
        prompts, seeds = self._draw(index)
        parts, verdicts = [], []
        for chunk, rows in enumerate(self._chunks()):
            own = _at(rows, prompts)
            with self.timeline.span("rollout", chunk):
                parts.append(jax.device_get(self._sample(params, own, seeds[rows])))
            verdicts.append(self._thread.submit(self._verify, chunk, own, parts[-1]))
        completions = parts[0] if len(parts) == 1 else jax.tree.map(lambda *fields: np.concatenate(fields), *parts)
        return Pending(prompts, completions, tuple(verdicts))

    def again(self, completions: Completions, index: int) -> Pending:
        """What `begin` gave, from the completions that it sampled."""
        prompts, _ = self._draw(index)
        completions = jax.tree.map(np.asarray, completions)
        verdicts = [
            self._thread.submit(self._verify, chunk, _at(rows, prompts), _at(rows, completions))
            for chunk, rows in enumerate(self._chunks())
        ]
        return Pending(prompts, completions, tuple(verdicts))

    def wait(self, pending: Pending) -> None:
        """Waits until the sandbox is free again."""
        with self.timeline.span(WAITING):
            futures.wait(pending.verdicts)

    def finish(self, pending: Pending) -> Collected:
        """Waits for the verdicts; raises what verification raised."""
        rollout = assemble(pending.prompts, pending.completions)
        table = step_table(pending.prompts, pending.completions, self.tokenizer)
        with self.timeline.span(WAITING):
            verified = [each for verdicts in pending.verdicts for each in gathered(verdicts.result())]
        return Collected(rollout, table, verified, np.asarray(pending.completions.finished))

    def _draw(self, index: int) -> tuple[PromptBatch, UInt32[np.ndarray, " B"]]:
        config = self.config
        drawn = next(batches(self.prompts, config.prompts_per_update, config.seed, index))
        seeds = np.random.default_rng((config.seed, index)).integers(2**32, size=config.batch_size, dtype=np.uint32)
        return repeat_prompts(drawn, config.samples_per_prompt), seeds

    def _chunks(self) -> Iterator[slice]:
        size, rows = self.config.chunk_size, self.config.batch_size
        return (slice(start, start + size) for start in range(0, rows, size))

    def _sample(self, params: Any, prompts: PromptBatch, seeds: UInt32[np.ndarray, " b"]) -> Completions:
        return sample(params, self._once(prompts), seeds, **self._rule)

    def _once(self, prompts: PromptBatch) -> PromptBatch:
        """Each prompt of a rollout's rows, which are its samples, one time."""
        return _at(slice(None, None, self.config.samples_per_prompt), prompts)

    @property
    def _rule(self) -> dict[str, Any]:
        return {"model": self.model, "config": self.sampling, "eos_id": self.tokenizer.eos_id}

    def _verify(self, chunk: int, prompts: PromptBatch, completions: Completions) -> list[Verified]:
        """This host's verdicts on its part of a chunk; runs in the thread."""
        with self.timeline.span("verification", chunk):
            own = range(len(prompts.lengths))[own_rows(len(prompts.lengths))]
            chosen = [self.problems[prompts.problem[row]] for row in own]
            texts = [program_text(completion_ids(completions, row), self.tokenizer) for row in own]
            return self.verify(chosen, texts, self.exact)


def _at(rows: slice, arrays: Any) -> Any:
    return jax.tree.map(lambda field: field[rows], arrays)
