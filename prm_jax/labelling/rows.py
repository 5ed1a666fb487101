"""From verdicts to rows: what the run of a reference, of a variant and of any other program says of its steps.

In: a `Reference`, a program and its verdict; out: a `LabelledProgram`, or None where the verdict teaches nothing.
`label.py` calls it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from prm_jax.execution.verdict import Outcome, Verdict
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.operators import REFACTORINGS
from prm_jax.labelling.tally import Tally
from prm_jax.labelling.trace import first_wrong_step
from prm_jax.labelling.variants import Variant, executed_steps, failing_labels, map_executed, passing_labels
from prm_jax.problems.problem import Problem, Test
from prm_jax.text.steps import Step, split_steps


@dataclasses.dataclass(frozen=True)
class Reference:
    """A problem with what is known of its reference.

    Attributes:
      problem: the problem.
      verdict: on its visible tests, traced, with the CPU seconds of a run without a trace.
      steps: of the reference.
      executed: those that the visible tests and the generated ones execute.
      generated: tests with inputs of our own.
    """

    problem: Problem
    verdict: Verdict
    steps: tuple[Step, ...]
    executed: frozenset[int]
    generated: tuple[Test, ...] = ()


def reference_row(reference: Reference) -> LabelledProgram:
    """The row of a reference: what ran is right."""
    labels = passing_labels(reference.steps, reference.executed)
    problem = reference.problem
    row = row_of(problem, problem.reference, reference.steps, labels, reference.verdict, "reference", "mutation")
    return dataclasses.replace(row, demonstration=not problem.demonstration)


def variant_row(
    reference: Reference, variant: Variant, verdict: Verdict, after_error: str, tally: Tally
) -> LabelledProgram | None:
    """The row of a variant; None, counted in `tally`, where its verdict teaches nothing."""
    passed = verdict.outcome is Outcome.PASSED
    if verdict.flaky or verdict.outcome is Outcome.UNKNOWN:
        tally.dropped["flaky" if verdict.flaky else "unknown"] += 1
        return None
    if not passed and variant.spread and variant.operator in REFACTORINGS:
        tally.dropped["broken refactoring"] += 1
        return None
    steps = variant.steps
    if passed and variant.spread:
        executed = executed_steps(variant.text, steps, verdict.executed_lines)
    else:
        executed = map_executed(variant, len(reference.steps), reference.executed)
    labels = passing_labels(steps, executed) if passed else failing_labels(steps, variant.edited, executed, after_error)
    return row_of(reference.problem, variant.text, steps, labels, verdict, variant.operator, "mutation", variant.edited)


def traced_row(
    reference: Reference | None, text: str, verdict: Verdict, operator: str, *, judge_steps: bool, after_error: str
) -> LabelledProgram | None:
    """The row of a program that is no variant; None where its verdict teaches nothing.

    Args:
      reference: the reference of its problem, None where that does not pass.
      text: the program.
      verdict: on the visible tests, traced.
      operator: what made it.
      judge_steps: whether the trace is asked for the first wrong step; all steps are neutral otherwise.
      after_error: the label of what follows that step.
    """
    if reference is None or verdict.flaky or verdict.outcome is Outcome.UNKNOWN:
        return None
    problem = reference.problem
    steps = split_steps(text)
    executed = executed_steps(text, steps, verdict.executed_lines)
    method = "trace"
    if not judge_steps:
        labels = (Label.NEUTRAL,) * len(steps)
    elif verdict.outcome is Outcome.PASSED:
        labels = passing_labels(steps, executed)
    else:
        error = first_wrong_step(text, verdict, problem.reference, reference.verdict)
        method = error.method
        if error.step < 0:
            labels = (Label.NEUTRAL,) * len(steps)
        else:
            if method == "diagnostics" and not verdict.executed_lines:
                executed = frozenset(range(error.step))  # It ran nowhere, so that coverage says nothing.
            labels = failing_labels(steps, error.step, executed, after_error, error.neutral)
    return row_of(problem, text, steps, labels, verdict, operator, method)


def row_of(
    problem: Problem,
    text: str,
    steps: Sequence[Step],
    labels: tuple[Label, ...],
    verdict: Verdict,
    operator: str,
    method: str,
    edited_step: int = -1,
) -> LabelledProgram:
    """The row of a program on its problem's tests, the visible ones and then generated ones."""
    failing = [i for i, passed in enumerate(verdict.passed) if not passed]
    passed = verdict.outcome is Outcome.PASSED
    failing_test = -1 if passed else (failing[0] if failing else 0)
    return LabelledProgram(
        problem_id=problem.id,
        source=problem.source,
        split=problem.split,
        prompt=problem.prompt,
        text=text,
        step_ends=tuple(step.end for step in steps),
        labels=labels,
        passed=passed,
        operator=operator,
        method=method,
        outcome=str(verdict.outcome),
        edited_step=edited_step,
        failing_test=failing_test,
        by_generated=failing_test >= len(problem.visible_tests),
    )
