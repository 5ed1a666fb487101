"""From token ids to steps: ids and steps in, the token on which each step ends out.

The ids are *given*, and a program's steps are never tokenised one by one, so a sampled program and one from the corpus
are treated alike. PPO, and the PRM's rows of a policy's own programs, keep the ids that were sampled. The corpus, and
every program that evaluation, guided decoding or `prm_jax score` has scored, is a text: `program_row` encodes it whole.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from prm_jax.labelling.labelled_program import Label
from prm_jax.text.pretrained import PretrainedTokenizer
from prm_jax.text.steps import Step
from prm_jax.text.tokenizer import Tokenizer


def render_prompt(prompt: str) -> str:
    """The text that the model reads before a program: the prompt and one newline."""
    return prompt.rstrip() + "\n"


def prompt_ids(prompt: str, tokenizer: Tokenizer) -> list[int]:
    """The ids before a program: `[bos]` and the rendered prompt, or what the checkpoint's chat template makes of it."""
    if isinstance(tokenizer, PretrainedTokenizer) and tokenizer.chat.apply:
        return tokenizer.chat_ids(prompt)
    return [tokenizer.bos_id, *tokenizer.encode(render_prompt(prompt))]


def program_row(prompt: str, text: str, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """A program as the model sees it: `prompt_ids`, the program, `[eos]`.

    Returns:
      All ids, and the number of those that come before the program.
    """
    before = prompt_ids(prompt, tokenizer)
    return [*before, *tokenizer.encode(text), tokenizer.eos_id], len(before)


def step_end_tokens(ids: Sequence[int], tokenizer: Tokenizer, steps: Sequence[Step]) -> list[int]:
    """The token on which each step ends.

    Args:
      ids: the ids of a program without its prompt; what follows the first `eos`, if there is one, is ignored.
      tokenizer: the tokenizer of the ids.
      steps: the steps of the text that the ids stand for (`tokenizer.decode(ids)`), or of a text that goes on
        behind it.

    Returns:
      For each step the index into `ids` of the token that holds its last byte; for the end of the program that of
      `eos`. -1 for a step that the ids do not close: its newline, or `eos` in the last line, is not among them.
      Several steps may end on one token.
    """
    ids = list(ids)
    eos = ids.index(tokenizer.eos_id) if tokenizer.eos_id in ids else -1
    program = ids if eos < 0 else ids[:eos]
    byte_ends = list(itertools.accumulate(len(tokenizer.token_bytes(i)) for i in program))
    total = byte_ends[-1] if byte_ends else 0

    def end_token(step: Step) -> int:
        if step.kind == "end":
            return eos
        if step.end > total or not (step.closed or eos >= 0):
            return -1
        return bisect.bisect_left(byte_ends, step.end)

    return [end_token(step) for step in steps]


def labelled_ids(
    prompt: str, text: str, steps: Sequence[Step], labels: Sequence[int], tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """A labelled program as a PRM sees it.

    Args:
      prompt: the prompt.
      text: the program.
      steps: its steps.
      labels: one `Label` per step.
      tokenizer: makes the ids.

    Returns:
      The ids of `program_row`, and one `Label` for each: on the tokens that end steps; neutral on the others.
    """
    ids, start = program_row(prompt, text, tokenizer)
    program = ids[start:]
    dense = token_labels(len(program), step_end_tokens(program, tokenizer, steps), labels)
    return ids, [int(Label.NEUTRAL)] * start + dense


def token_labels(length: int, ends: Sequence[int], labels: Sequence[int]) -> list[int]:
    """One label per token of a program.

    Args:
      length: number of tokens of the program, `eos` included.
      ends: what `step_end_tokens` gave.
      labels: one `Label` per step.

    Returns:
      `length` labels: `NEUTRAL` where no step ends. Where several steps end on one token, wrong goes before right
      and right before neutral.
    """
    dense = [int(Label.NEUTRAL)] * length
    for end, label in zip(ends, labels, strict=True):
        if end >= 0 and label != Label.NEUTRAL and dense[end] != Label.WRONG:
            dense[end] = int(label)
    return dense
