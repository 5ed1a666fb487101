"""`LabelledProgram`: what labelling gives and the tasks, PPO and evaluation take.

Text and byte offsets only: no token ids, so that one data set serves every tokenizer.
"""

from __future__ import annotations

import dataclasses
import enum


class Label(enum.IntEnum):
    """The label of a step. Never 0, because seqio packing destroys features that may be 0."""

    NEUTRAL = 1
    WRONG = 2
    RIGHT = 3


@dataclasses.dataclass(frozen=True)
class LabelledProgram:
    """A program with one label per step.

    Attributes:
      problem_id: the `Problem.id` it belongs to.
      source: the problem's source.
      split: the problem's split; labels of test problems never reach training.
      prompt: the problem's prompt.
      text: the program.
      step_ends: byte offset (exclusive, in UTF-8) of the end of each step, as `text.steps` gives them.
      labels: one `Label` per step.
      passed: whether it passed every test that labelling may use.
      operator: name of the mutation or refactoring; where none, `"reference"`, `"demonstration"` or `"sample"`.
      method: `"mutation"`, `"trace"`, `"diagnostics"` or `"prefix_search"`.
      outcome: the `Outcome` value of the verdict.
      edited_step: index of the step that the operator edited; -1 where there was none.
      failing_test: index of the first failing test, the problem's visible ones before the generated ones that it
        gained; -1 where all passed.
      by_generated: whether it passed the problem's own tests and only a generated one tells that it is wrong.
      demonstration: whether SFT imitates it.
    """

    problem_id: str
    source: str
    split: str
    prompt: str
    text: str
    step_ends: tuple[int, ...]
    labels: tuple[Label, ...]
    passed: bool
    operator: str
    method: str
    outcome: str
    edited_step: int = -1
    failing_test: int = -1
    by_generated: bool = False
    demonstration: bool = False

    @property
    def first_wrong(self) -> int:
        """Index of the first wrong step, -1 where there is none."""
        return next((i for i, label in enumerate(self.labels) if label == Label.WRONG), -1)
