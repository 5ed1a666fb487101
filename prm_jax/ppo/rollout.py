"""`Rollout`: sampled programs as rows of arrays, and `StepTable`: where their steps end.

`assemble` and `step_table` run on the host after sampling; `scoring.py`, `rewards.py` and `update.py` fill and read
the rest. Rows are padded on the right, prompt and completion side by side. Ids are never made again from text. B
batch, T tokens, S steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.struct
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from prm_jax.batches import PromptBatch
from prm_jax.text.step_map import step_end_tokens
from prm_jax.text.steps import Step, split_steps
from prm_jax.text.tokenizer import Tokenizer

# Steps are padded to a multiple of this, so that reward rules compile for few shapes.
_STEP_BUCKET = 8


class Rollout(flax.struct.PyTreeNode):
    """What PPO learns from.

    Attributes:
      tokens: prompt, completion and `eos` where it was reached; 0 where padded.
      segments: 1 on prompt and completion, 0 where padded.
      positions: position within the row, 0 where padded.
      completion: True on the sampled tokens, `eos` included.
      logprobs: log-probability of each sampled token under the policy that sampled it, 0 elsewhere.
      ref_logprobs: the same under the SFT reference.
      values: the critic's value of the state in which each token was chosen.
      rewards: token rewards, without the KL penalty.
      problem: index into the host's table of problems.
      known: False where the verdict is unknown: the row is then outside every loss and statistic.
      judged: False on the tokens that the reward rule cannot judge: they are outside every loss.
      behaviour: where an earlier policy sampled the rows, its log-probability of each sampled token; `logprobs` are
        then those of the policy that is to learn. None where that policy sampled them itself.
    """

    tokens: Int[Array, "B T"]
    segments: Int[Array, "B T"]
    positions: Int[Array, "B T"]
    completion: Bool[Array, "B T"]
    logprobs: Float[Array, "B T"]
    ref_logprobs: Float[Array, "B T"]
    values: Float[Array, "B T"]
    rewards: Float[Array, "B T"]
    problem: Int[Array, " B"]
    known: Bool[Array, " B"]
    judged: Bool[Array, "B T"]
    behaviour: Float[Array, "B T"] | None = None

    @property
    def mask(self) -> Bool[Array, "B T"]:
        """The tokens that count: sampled, judged, in a row whose verdict is known."""
        return self.completion & self.judged & self.known[:, None]


@dataclasses.dataclass(frozen=True)
class StepTable:
    """The steps of sampled programs.

    Attributes:
      texts: the programs.
      steps: the steps of each program, the end of the program last.
      ends: index into the row of each step's last token, -1 where the step is open or padding.
      scored: True where the step is closed and not neutral.
    """

    texts: tuple[str, ...]
    steps: tuple[tuple[Step, ...], ...]
    ends: Int[np.ndarray, "B S"]
    scored: Bool[np.ndarray, "B S"]


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple that is at least `length`."""
    return -(-length // multiple) * multiple


def repeat_prompts(prompts: PromptBatch, times: int) -> PromptBatch:
    """Each prompt `times` in a row; a group of samples stays together."""
    return PromptBatch(*(np.repeat(np.asarray(field), times, axis=0) for field in prompts))


def assemble(prompts: PromptBatch, completions: Any) -> Rollout:
    """Joins prompts and completions into rows of T = P + N tokens, whatever their lengths, so that T never changes.

    Args:
      prompts: one prompt per completion.
      completions: `sampling.sample.Completions`: tokens, logprobs [B, N], lengths [B].

    Returns:
      A rollout of numpy arrays, whole on every host, which all read it; what is jitted splits its rows over the
      mesh. It has the sampler's `logprobs`; reference, values and rewards are zero and every row is known.
    """
    starts, lengths = np.asarray(prompts.lengths), np.asarray(completions.lengths)
    sampled, logprobs = np.asarray(completions.tokens), np.asarray(completions.logprobs)
    totals = starts + lengths
    columns = np.arange(prompts.tokens.shape[1] + sampled.shape[1])[None, :]
    in_prompt = columns < starts[:, None]
    inside = columns < totals[:, None]
    completion = inside & ~in_prompt

    def place(prompt: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Entries of `prompt` up to its length, then those of `after`, then zeros."""
        before = np.take_along_axis(prompt, np.minimum(columns, prompt.shape[1] - 1), axis=1)
        offset = np.clip(columns - starts[:, None], 0, after.shape[1] - 1)
        behind = np.take_along_axis(after, offset, axis=1)
        return np.where(in_prompt, before, np.where(completion, behind, 0)).astype(after.dtype)

    prompt_tokens = np.asarray(prompts.tokens)
    tokens = place(prompt_tokens, sampled).astype(np.int32)
    zeros = np.zeros(tokens.shape, np.float32)
    arrays: dict[str, Any] = {
        "tokens": tokens,
        "segments": inside.astype(np.int32),
        "positions": np.where(inside, columns, 0).astype(np.int32),
        "completion": completion,
        "logprobs": place(np.zeros(prompt_tokens.shape), logprobs).astype(np.float32),
        "ref_logprobs": zeros,
        "values": zeros,
        "rewards": zeros,
        "problem": np.asarray(prompts.problem, np.int32),
        "known": np.ones(len(starts), bool),
        "judged": completion,
    }
    return Rollout(**arrays)


def completion_ids(completions: Any, row: int) -> list[int]:
    """The sampled ids of one row, `eos` included where it was reached."""
    return [int(i) for i in np.asarray(completions.tokens[row])[: int(completions.lengths[row])]]


def program_text(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The program that sampled ids stand for."""
    return tokenizer.decode([i for i in ids if i != tokenizer.eos_id])


def step_table(prompts: PromptBatch, completions: Any, tokenizer: Tokenizer) -> StepTable:
    """Finds the steps of sampled programs and the tokens on which they end.

    Args:
      prompts: one prompt per completion.
      completions: as for `assemble`, fetched to the host.
      tokenizer: the policy's.

    Returns:
      The table; its indices point into the rows that `assemble` makes.
    """
    texts, all_steps, all_ends = [], [], []
    for row, start in enumerate(np.asarray(prompts.lengths)):
        ids = completion_ids(completions, row)
        text = program_text(ids, tokenizer)
        steps = split_steps(text)
        ends = step_end_tokens(ids, tokenizer, steps)
        texts.append(text)
        all_steps.append(steps)
        all_ends.append([end + int(start) if end >= 0 else -1 for end in ends])
    neutral = [[step.neutral for step in steps] for steps in all_steps]
    table = _pad(all_ends, -1)
    scored = (table >= 0) & (_pad(neutral, 1) == 0)
    return StepTable(texts=tuple(texts), steps=tuple(all_steps), ends=table, scored=scored)


def _pad(rows: Sequence[Sequence[int]], fill: int) -> Int[np.ndarray, "B S"]:
    width = round_up(max(max(map(len, rows)), 1), _STEP_BUCKET)
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], np.int32)
