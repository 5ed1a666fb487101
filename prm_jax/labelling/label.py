"""Step labels from execution: of variants of the references, and of a policy's own programs.

`label_problems` turns `Problem`s into labelled references, demonstrations, mutants and refactorings; `beam.py` calls
it shard by shard. `label_samples` labels what a policy wrote by tracing it beside the reference; the stages of PPO and
evaluation call it. Only visible tests are used, and generated ones. All programs of a call go through the sandbox in
one batch, those that pass a second time with generated tests.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence

from prm_jax.errors import UserError
from prm_jax.execution.grade import REFERENCE_CPU_SECONDS, cpu_limit, program_for
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.labelling.agreement import chosen_mutants, compare
from prm_jax.labelling.donors import Donors
from prm_jax.labelling.generated import GeneratedTests, generate_tests
from prm_jax.labelling.labelled_program import LabelledProgram
from prm_jax.labelling.rows import Reference, reference_row, traced_row, variant_row
from prm_jax.labelling.splice import Edit
from prm_jax.labelling.tally import Tally
from prm_jax.labelling.variants import Variant, executed_steps, sample_variants
from prm_jax.problems.problem import Problem
from prm_jax.text.steps import split_steps

SLOW_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class LabelConfig:
    """How problems are labelled.

    Attributes:
      steps: whether steps are labelled; all are neutral otherwise, and nothing has to be traced: enough for rows that
        only SFT reads.
      mutants_per_step: number of mutants of each step of a reference.
      refactorings_per_step: number of refactorings of each step.
      variants_per_program: at most so many of them, drawn at random; 0 keeps all.
      variants_per_slow_program: likewise, where the reference takes more than `SLOW_SECONDS` of CPU: one such problem
        would otherwise take as long as hundreds of others.
      rewrites_per_step: number of times that a teacher, a policy, writes each step anew; 0 for no teacher.
      teacher: the run directory of that policy, the SFT policy there; its model is that of the experiment.
      foreign_statements: whether mutants may take statements of the other problems of its split in the same call; then
        the rows of a problem depend on these too.
      generated_inputs: number of calls made of those of a problem's tests, of which the reference tells the values. A
        variant that passes the tests has to pass these as well; those that tell a mutant from the reference are added
        to the problem's tests. 0 for none.
      compared_mutants: number of failing mutants of each problem that are also labelled by trace, as a policy's own
        programs are: the card tells how often the two agree. 0 for none.
      after_error: the label of what follows the first wrong step, `"neutral"` or `"wrong"`.
      cpu_factor: CPU limit of a call, as a multiple of the reference's CPU time over all its calls.
      min_cpu_seconds: least CPU limit of a call.
      seed: seed of the sampling; each problem has a stream of its own.
    """

    steps: bool = True
    mutants_per_step: int = 2
    refactorings_per_step: int = 1
    variants_per_program: int = 0
    variants_per_slow_program: int = 8
    rewrites_per_step: int = 0
    teacher: str = ""
    foreign_statements: bool = True
    generated_inputs: int = 0
    compared_mutants: int = 0
    after_error: str = "neutral"
    cpu_factor: float = 20.0
    min_cpu_seconds: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.after_error not in ("neutral", "wrong"):
            raise UserError(f"after_error={self.after_error!r}; expected 'neutral' or 'wrong'")
        if self.rewrites_per_step and not self.teacher:
            raise UserError("LabelConfig.rewrites_per_step needs LabelConfig.teacher, the run directory of a policy")
        if not self.steps and (self.mutants_per_step or self.refactorings_per_step):
            raise UserError("LabelConfig.steps is False: variants without labels teach nothing; set both shares to 0")

    def cpu_limit(self, reference: Verdict) -> float:
        """CPU seconds that a call may take, from the reference's verdict."""
        return cpu_limit(reference.cpu_seconds, self.cpu_factor, self.min_cpu_seconds)

    def traced_row(
        self, reference: Reference | None, text: str, verdict: Verdict, operator: str
    ) -> LabelledProgram | None:
        """`rows.traced_row` with these choices."""
        return traced_row(reference, text, verdict, operator, judge_steps=self.steps, after_error=self.after_error)


def run_references(
    problems: Sequence[Problem], sandbox: Sandbox, config: LabelConfig, tally: Tally | None = None
) -> list[Reference | None]:
    """Runs each problem's reference on its visible tests, and traces it unless no step is to be labelled.

    Returns:
      One entry per problem; None, with the reason in `tally`, where the reference does not pass.
    """
    verdicts = _reference_verdicts(problems, sandbox, trace=False)
    if config.steps:
        # The limits of the variants, few of which are traced, follow from the time without a trace.
        traced = _reference_verdicts(problems, sandbox, trace=True)
        verdicts = [
            dataclasses.replace(trace, cpu_seconds=plain.cpu_seconds) if plain.outcome is Outcome.PASSED else plain
            for plain, trace in zip(verdicts, traced, strict=True)
        ]
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
    if tally is not None:
        tally.runs["references"] += len(problems)
    return references


def _reference_verdicts(problems: Sequence[Problem], sandbox: Sandbox, trace: bool) -> list[Verdict]:
    return sandbox.run(
        [
            program_for(each, each.reference, hidden=False, cpu_seconds=REFERENCE_CPU_SECONDS, trace=trace)
            for each in problems
        ]
    )


def _reason(problem: Problem, verdict: Verdict) -> str:
    if not problem.visible_tests:
        return "no visible tests"
    if verdict.flaky:
        return "the reference is flaky"
    return f"the reference does not pass its tests: {verdict.outcome}" + (
        f" ({verdict.exception})" if verdict.exception else ""
    )


def label_problems(
    problems: Sequence[Problem],
    sandbox: Sandbox,
    config: LabelConfig,
    tally: Tally | None = None,
    rewrites: Mapping[str, Sequence[Edit]] | None = None,
) -> list[LabelledProgram]:
    """Labels each problem's reference, its demonstration where it has one, and variants of the reference.

    A mutant that fails: the edited step is wrong, the steps before it right. A variant that passes the tests, and the
    generated ones: right. Steps that no test executes are neutral. Flaky and unknown verdicts label nothing. A
    demonstration is labelled as a policy's own program is, by trace.

    Args:
      problems: any problems; one whose reference fails its visible tests gives no rows.
      sandbox: runs the programs.
      config: how to label.
      tally: receives what was left out and why, and the generated tests that problems gain.
      rewrites: by problem id what a teacher wrote in the place of the reference's steps.

    Returns:
      The rows, in the order of the problems.
    """
    tally = Tally() if tally is None else tally
    references = [each for each in run_references(problems, sandbox, config, tally) if each]
    references = _with_generated(references, sandbox, config, tally)
    donors = _donors(references) if config.foreign_statements else {}
    rewrites = rewrites or {}
    pairs = [
        (each, variant)
        for each in references
        for variant in _sample(each, config, donors, rewrites.get(each.problem.id, ()))
    ]
    verdicts = sandbox.run([_variant_program(reference, variant, config) for reference, variant in pairs])
    if config.generated_inputs:
        verdicts = _confirmed(pairs, verdicts, sandbox, config)
    tally.runs["variants"] += len(pairs)
    rows: dict[str, list[LabelledProgram]] = {each.problem.id: [reference_row(each)] for each in references}
    for reference, row in _demonstrations(references, sandbox, config, tally):
        rows[reference.problem.id].append(row)
    for (reference, variant), verdict in zip(pairs, verdicts, strict=True):
        judged = variant_row(reference, variant, verdict, config.after_error, tally)
        if judged is not None:
            rows[reference.problem.id].append(judged)
    for each in references:
        _keep_tests(each, rows[each.problem.id], tally)
    if config.compared_mutants:
        _compare(references, rows, sandbox, config, tally)
    return [row for group in rows.values() for row in group]


def _with_generated(
    references: Sequence[Reference], sandbox: Sandbox, config: LabelConfig, tally: Tally
) -> list[Reference]:
    """The references with generated tests, if there are to be any, and with the steps that these execute too."""
    if not config.generated_inputs or not references:
        return list(references)
    problems = [each.problem for each in references]
    limits = [config.cpu_limit(each.verdict) for each in references]
    made = generate_tests(problems, limits, sandbox, config.generated_inputs, config.seed, tally.inputs)
    return [_with_tests(reference, tests) for reference, tests in zip(references, made, strict=True)]


def _with_tests(reference: Reference, made: GeneratedTests) -> Reference:
    ran = executed_steps(reference.problem.reference, reference.steps, made.lines)
    return dataclasses.replace(reference, executed=reference.executed | ran, generated=made.tests)


def _confirmed(
    pairs: Sequence[tuple[Reference, Variant]], verdicts: Sequence[Verdict], sandbox: Sandbox, config: LabelConfig
) -> list[Verdict]:
    """The verdicts on all tests: what passed the problem's own has been run with the generated ones as well."""
    found = list(verdicts)
    again = [
        i
        for i, ((reference, _), verdict) in enumerate(zip(pairs, verdicts, strict=True))
        if reference.generated and verdict.outcome is Outcome.PASSED and not verdict.flaky
    ]
    programs = []
    for reference, variant in (pairs[i] for i in again):
        program = _variant_program(reference, variant, config)
        programs.append(dataclasses.replace(program, tests=reference.generated))
    for i, verdict in zip(again, sandbox.run(programs), strict=True):
        own = found[i]
        lines = own.executed_lines | verdict.executed_lines
        found[i] = dataclasses.replace(verdict, passed=own.passed + verdict.passed, executed_lines=lines)
    return found


def _keep_tests(reference: Reference, rows: list[LabelledProgram], tally: Tally) -> None:
    """Gives the problem the generated tests that are the first to tell that a variant is wrong, and numbers them."""
    own = len(reference.problem.visible_tests)
    kept = sorted({row.failing_test for row in rows if row.by_generated})
    place = {test: own + i for i, test in enumerate(kept)}
    for i, row in enumerate(rows):
        if row.by_generated:
            rows[i] = dataclasses.replace(row, failing_test=place[row.failing_test])
    if kept:
        tally.tests[reference.problem.id] = tuple(reference.generated[test - own] for test in kept)


def _compare(
    references: Sequence[Reference],
    rows: Mapping[str, Sequence[LabelledProgram]],
    sandbox: Sandbox,
    config: LabelConfig,
    tally: Tally,
) -> None:
    """Counts where the trace puts the first wrong step of some mutants."""
    mutants = [
        (each, row)
        for each in references
        for row in chosen_mutants(rows[each.problem.id], config.compared_mutants, config.seed)
    ]
    limits = [config.cpu_limit(each.verdict) for each, _ in mutants]
    tally.agreement.update(compare(mutants, limits, sandbox))


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
        row = config.traced_row(each, each.problem.demonstration, verdict, "demonstration")
        tally.runs["demonstrations"] += 1
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


def _sample(
    reference: Reference, config: LabelConfig, donors: Mapping[str, Donors], rewrites: Sequence[Edit]
) -> list[Variant]:
    problem = reference.problem
    mutants, refactorings = config.mutants_per_step, config.refactorings_per_step
    if not (mutants or refactorings or rewrites):
        return []
    rng = random.Random(f"{config.seed}/{problem.id}")
    variants = sample_variants(problem.reference, mutants, refactorings, rng, donors.get(problem.split), rewrites)
    most = [config.variants_per_program]
    if reference.verdict.cpu_seconds > SLOW_SECONDS:
        most.append(config.variants_per_slow_program)
    limit = min(filter(None, most), default=len(variants))
    return rng.sample(variants, limit) if limit < len(variants) else variants


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
        config.traced_row(references[problem.id], text, verdict, "sample")
        for (problem, text), verdict in zip(samples, verdicts, strict=True)
    ]
