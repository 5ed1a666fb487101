"""Step labels from execution: of variants of the references, and of a policy's own programs.

`label_problems` turns `Problem`s into labelled references, demonstrations, mutants and refactorings; `beam.py` calls
it shard by shard. `label_samples` labels what a policy wrote by tracing it beside the reference; the stages of PPO and
evaluation call it. Only visible tests are used. All programs of a call go through the sandbox in one batch.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence

from prm_jax.errors import UserError
from prm_jax.execution.grade import REFERENCE_CPU_SECONDS, cpu_limit, program_for
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.labelling.card import Tally
from prm_jax.labelling.donors import Donors
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.operators import REFACTORINGS
from prm_jax.labelling.trace import first_wrong_step
from prm_jax.labelling.variants import (
    Variant,
    executed_steps,
    failing_labels,
    map_executed,
    passing_labels,
    sample_variants,
)
from prm_jax.problems.problem import Problem
from prm_jax.text.steps import Step, split_steps


@dataclasses.dataclass(frozen=True)
class LabelConfig:
    """How problems are labelled.

    Attributes:
      steps: whether steps are labelled; all are neutral otherwise, and nothing has to be traced: enough for rows that
        only SFT reads.
      mutants_per_step: number of mutants of each step of a reference.
      refactorings_per_step: number of refactorings of each step.
      variants_per_program: at most so many of them, drawn at random; 0 keeps all.
      foreign_statements: whether mutants may take statements of the other problems of its split in the same call; then
        the rows of a problem depend on these too.
      after_error: the label of what follows the first wrong step, `"neutral"` or `"wrong"`.
      cpu_factor: CPU limit of a call, as a multiple of the reference's CPU time over all its calls.
      min_cpu_seconds: least CPU limit of a call.
      seed: seed of the sampling; each problem has a stream of its own.
    """

    steps: bool = True
    mutants_per_step: int = 2
    refactorings_per_step: int = 1
    variants_per_program: int = 0
    foreign_statements: bool = True
    after_error: str = "neutral"
    cpu_factor: float = 20.0
    min_cpu_seconds: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.after_error not in ("neutral", "wrong"):
            raise UserError(f"after_error={self.after_error!r}; expected 'neutral' or 'wrong'")
        if not self.steps and (self.mutants_per_step or self.refactorings_per_step):
            raise UserError("LabelConfig.steps is False: variants without labels teach nothing; set both shares to 0")

    def cpu_limit(self, reference: Verdict) -> float:
        """CPU seconds that a call may take, from the reference's verdict."""
        return cpu_limit(reference.cpu_seconds, self.cpu_factor, self.min_cpu_seconds)


@dataclasses.dataclass(frozen=True)
class Reference:
    """A problem with what is known of its reference: its verdict on the visible tests, traced, and its steps."""

    problem: Problem
    verdict: Verdict
    steps: tuple[Step, ...]
    executed: frozenset[int]


def run_references(
    problems: Sequence[Problem], sandbox: Sandbox, config: LabelConfig, tally: Tally | None = None
) -> list[Reference | None]:
    """Runs each problem's reference on its visible tests, and traces it unless no step is to be labelled.

    Returns:
      One entry per problem; None, with the reason in `tally`, where the reference does not pass.
    """
    verdicts = sandbox.run(
        [
            program_for(each, each.reference, hidden=False, cpu_seconds=REFERENCE_CPU_SECONDS, trace=config.steps)
            for each in problems
        ]
    )
    references: list[Reference | None] = []
    for problem, verdict in zip(problems, verdicts, strict=True):
        if verdict.outcome is Outcome.PASSED and not verdict.flaky and problem.visible_tests:
            steps = split_steps(problem.reference)
            ran = executed_steps(problem.reference, steps, verdict.executed_lines)
            executed = ran if config.steps else frozenset()
            references.append(Reference(problem, verdict, steps, executed))
        else:
            references.append(None)
            if tally is not None:
                tally.skipped[problem.id] = _reason(problem, verdict)
    return references


def _reason(problem: Problem, verdict: Verdict) -> str:
    if not problem.visible_tests:
        return "no visible tests"
    if verdict.flaky:
        return "the reference is flaky"
    return f"the reference does not pass its tests: {verdict.outcome}" + (
        f" ({verdict.exception})" if verdict.exception else ""
    )


def label_problems(
    problems: Sequence[Problem], sandbox: Sandbox, config: LabelConfig, tally: Tally | None = None
) -> list[LabelledProgram]:
    """Labels each problem's reference, its demonstration where it has one, and variants of the reference.

    A mutant that fails: the edited step is wrong, the steps before it right. A variant that passes: right. Steps
    that no test executes are neutral. Flaky and unknown verdicts label nothing. A demonstration is labelled as a
    policy's own program is, by trace.

    Args:
      problems: any problems; one whose reference fails its visible tests gives no rows.
      sandbox: runs the programs.
      config: how to label.
      tally: receives what was left out and why.

    Returns:
      The rows, in the order of the problems.
    """
    tally = Tally() if tally is None else tally
    references = [each for each in run_references(problems, sandbox, config, tally) if each]
    donors = _donors(references) if config.foreign_statements else {}
    pairs = [(each, variant) for each in references for variant in _sample(each, config, donors)]
    verdicts = sandbox.run([_variant_program(reference, variant, config) for reference, variant in pairs])
    rows: dict[str, list[LabelledProgram]] = {each.problem.id: [_reference_row(each)] for each in references}
    for reference, row in _demonstrations(references, sandbox, config, tally):
        rows[reference.problem.id].append(row)
    for (reference, variant), verdict in zip(pairs, verdicts, strict=True):
        judged = _variant_row(reference, variant, verdict, config, tally)
        if judged is not None:
            rows[reference.problem.id].append(judged)
    return [row for group in rows.values() for row in group]


def _demonstrations(
    references: Sequence[Reference], sandbox: Sandbox, config: LabelConfig, tally: Tally
) -> Iterator[tuple[Reference, LabelledProgram]]:
    """The rows of demonstrations that are not the reference."""
    shown = [each for each in references if each.problem.demonstration]
    if not shown:
        return
    limits = [config.cpu_limit(each.verdict) for each in shown]
    verdicts = sandbox.run(
        [
            program_for(each.problem, each.problem.demonstration, hidden=False, cpu_seconds=limit, trace=config.steps)
            for each, limit in zip(shown, limits, strict=True)
        ]
    )
    for each, verdict in zip(shown, verdicts, strict=True):
        row = _traced_row(each, each.problem.demonstration, verdict, config, "demonstration")
        if row is None:
            tally.dropped["unclear demonstration"] += 1
        else:
            yield each, dataclasses.replace(row, demonstration=True)


def _variant_program(reference: Reference, variant: Variant, config: LabelConfig) -> Program:
    """The run of a variant; traced only where the reference's coverage cannot tell which steps ran."""
    limit = config.cpu_limit(reference.verdict)
    return program_for(reference.problem, variant.text, hidden=False, cpu_seconds=limit, trace=variant.spread)


def _donors(references: Sequence[Reference]) -> dict[str, Donors]:
    """The statements that may stand in for others: of the same split only, so that none leaks from test to train."""
    splits = {each.problem.split for each in references}
    return {
        split: Donors(each.problem.reference for each in references if each.problem.split == split) for split in splits
    }


def _sample(reference: Reference, config: LabelConfig, donors: Mapping[str, Donors]) -> list[Variant]:
    problem = reference.problem
    mutants, refactorings = config.mutants_per_step, config.refactorings_per_step
    if not mutants and not refactorings:
        return []
    rng = random.Random(f"{config.seed}/{problem.id}")
    variants = sample_variants(problem.reference, mutants, refactorings, rng, donors.get(problem.split))
    if config.variants_per_program and len(variants) > config.variants_per_program:
        return rng.sample(variants, config.variants_per_program)
    return variants


def _reference_row(reference: Reference) -> LabelledProgram:
    labels = passing_labels(reference.steps, reference.executed)
    problem = reference.problem
    row = _row(problem, problem.reference, reference.steps, labels, reference.verdict, "reference", "mutation")
    return dataclasses.replace(row, demonstration=not problem.demonstration)


def _variant_row(
    reference: Reference, variant: Variant, verdict: Verdict, config: LabelConfig, tally: Tally
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
    if passed:
        labels = passing_labels(steps, executed)
    else:
        labels = failing_labels(steps, variant.edited, executed, config.after_error)
    return _row(reference.problem, variant.text, steps, labels, verdict, variant.operator, "mutation", variant.edited)


def label_samples(
    samples: Sequence[tuple[Problem, str]],
    sandbox: Sandbox,
    config: LabelConfig,
    limits: Mapping[str, float] | None = None,
) -> list[LabelledProgram | None]:
    """Labels a policy's own programs by trace against the reference.

    Args:
      samples: problems with a program for each; a problem may come many times.
      sandbox: runs the programs and, once a problem, the references.
      config: how to label.
      limits: CPU seconds a call by problem id; taken from the references where not given.

    Returns:
      One entry per sample; None where the verdict is unknown or flaky, or the reference does not pass.
    """
    problems = {problem.id: problem for problem, _ in samples}
    references = dict(zip(problems, run_references(list(problems.values()), sandbox, config), strict=True))
    programs = []
    for problem, text in samples:
        reference = references[problem.id]
        limit = (limits or {}).get(problem.id) or (config.cpu_limit(reference.verdict) if reference else 1.0)
        # No variant of the reference: only its trace can tell which step is wrong.
        programs.append(program_for(problem, text, hidden=False, cpu_seconds=limit, trace=True))
    verdicts = sandbox.run(programs)
    return [
        _traced_row(references[problem.id], text, verdict, config, "sample")
        for (problem, text), verdict in zip(samples, verdicts, strict=True)
    ]


def _traced_row(
    reference: Reference | None, text: str, verdict: Verdict, config: LabelConfig, operator: str
) -> LabelledProgram | None:
    """The row of a traced program; None where its verdict teaches nothing."""
    if reference is None or verdict.flaky or verdict.outcome is Outcome.UNKNOWN:
        return None
    problem = reference.problem
    steps = split_steps(text)
    executed = executed_steps(text, steps, verdict.executed_lines)
    method = "trace"
    if not config.steps:
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
            labels = failing_labels(steps, error.step, executed, config.after_error, error.neutral)
    return _row(problem, text, steps, labels, verdict, operator, method)


def _row(
    problem: Problem,
    text: str,
    steps: Sequence[Step],
    labels: tuple[Label, ...],
    verdict: Verdict,
    operator: str,
    method: str,
    edited_step: int = -1,
) -> LabelledProgram:
    failing = [i for i, passed in enumerate(verdict.passed) if not passed]
    passed = verdict.outcome is Outcome.PASSED
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
        failing_test=-1 if passed else (failing[0] if failing else 0),
    )
