"""Programs as rows for the page: each step with its text, its PRM score as a colour, and the interpreter's mark.

`sections.py` calls `program_view`. Program text is untrusted; it leaves here as plain strings, which the templates
escape.
"""

from __future__ import annotations

import dataclasses
import math

from prm_jax.evaluation.ranking import predicted_first_wrong
from prm_jax.labelling.labelled_program import Label
from prm_jax.report.data import ShownProgram
from prm_jax.report.numbers import number

# What a program may take of the page; the page must stay small whatever a policy writes.
_MOST_BYTES = 3000
_MOST_STEPS = 100
_MOST_PROMPT = 2000
_STRONGEST = 0.6
_MARKS = {Label.RIGHT: ("✓", "right"), Label.WRONG: ("✗", "wrong"), Label.NEUTRAL: ("·", "not judged")}


@dataclasses.dataclass(frozen=True)
class StepView:
    """One step: first line number, text without its newline, score, CSS background, the mark and what it means."""

    line: str
    text: str
    score: str
    background: str
    mark: str
    meaning: str
    suspected: bool


@dataclasses.dataclass(frozen=True)
class ProgramView:
    """One program, ready for the template."""

    arm: str
    problem_id: str
    origin: str
    prompt: str
    verdict: str
    passed: bool
    steps: tuple[StepView, ...]
    cut: bool


def program_view(shown: ShownProgram, threshold: float = 0.5) -> ProgramView:
    """A program, ready for the template.

    Args:
      shown: the program.
      threshold: in a program that fails, the first step that scores below it is marked as suspected; see
        `ranking.predicted_first_wrong`.
    """
    labelled, scores = shown.scored.labelled, shown.scored.scores
    data = labelled.text.encode("utf-8", "replace")
    suspect = -1 if labelled.passed else predicted_first_wrong(scores, threshold)
    steps, start, line = [], 0, 1
    for i, (end, label, score) in enumerate(zip(labelled.step_ends, labelled.labels, scores, strict=True)):
        if end > _MOST_BYTES or i == _MOST_STEPS:
            break
        text = data[start:end].decode("utf-8", "replace")
        is_end = i == len(labelled.labels) - 1
        mark, meaning = _MARKS[label]
        steps.append(
            StepView(
                line="" if is_end else str(line),
                text="end of the program" if is_end else text.removesuffix("\n"),
                score="" if math.isnan(score) else number(score),
                background=score_colour(score),
                mark=mark,
                meaning=meaning,
                suspected=i == suspect,
            )
        )
        start, line = end, line + text.count("\n")
    return ProgramView(
        arm=shown.arm,
        problem_id=labelled.problem_id,
        origin=labelled.operator.replace("_", " "),
        prompt=labelled.prompt[:_MOST_PROMPT],
        verdict="passed" if labelled.passed else labelled.outcome.replace("_", " "),
        passed=labelled.passed,
        steps=tuple(steps),
        cut=len(steps) < len(labelled.labels),
    )


def score_colour(score: float) -> str:
    """A CSS colour: orange at 0, clear at 0.5, blue at 1; told apart with any colour vision, on light and dark."""
    if math.isnan(score):
        return "transparent"
    red, green, blue = (213, 94, 0) if score < 0.5 else (0, 114, 178)
    return f"rgba({red},{green},{blue},{_STRONGEST * abs(2 * score - 1):.2f})"
