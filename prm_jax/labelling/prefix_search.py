"""Step labels by prefix search: which beginning of a failing program can a policy still bring to a good end?

In: a policy's programs, the policy as a `Complete`, a sandbox; out: `LabelledProgram`s with the method
`"prefix_search"`. The stage `prm` calls it. A step is right if one of K completions of the program up to it passes, and
the first one behind the longest such beginning is wrong (Dai et al., arXiv 2410.17621, section 3.1: bisection, which
takes the beginnings of one that can be saved for savable too). All open searches are one batch in each round, for the
policy and for the sandbox.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from prm_jax.errors import UserError
from prm_jax.execution.grade import program_for
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.labelling.agreement import placed
from prm_jax.labelling.complete import Complete
from prm_jax.labelling.label import LabelConfig, run_references
from prm_jax.labelling.labelled_program import LabelledProgram
from prm_jax.labelling.rows import Reference, row_of
from prm_jax.labelling.tally import Tally
from prm_jax.labelling.variants import executed_steps, failing_labels
from prm_jax.problems.problem import Problem
from prm_jax.text.steps import Step, split_steps

METHOD = "prefix_search"


@dataclasses.dataclass(frozen=True)
class PrefixSearchConfig:
    """How prefixes are searched, and which programs are kept.

    Attributes:
      completions: K, completions of each prefix; 0 for no search.
      revised_only: whether only failing programs are kept of which some beginning could be saved (Dai et al.: their
        best choice, table 2). Otherwise passing programs are kept too, labelled by coverage, and failing ones of which
        nothing could be saved, with the first step wrong, if another program of the problem passes.
      min_pass_rate: problems of whose programs fewer pass are left out: too hard ("minus hard" in Dai et al.).
      max_pass_rate: those of which more pass are left out: too easy ("medium only" together with `min_pass_rate`).
      seed: of the completions.
    """

    completions: int = 0
    revised_only: bool = True
    min_pass_rate: float = 0.0
    max_pass_rate: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min_pass_rate <= self.max_pass_rate <= 1:
            raise UserError(
                f"PrefixSearchConfig: min_pass_rate={self.min_pass_rate}, max_pass_rate={self.max_pass_rate}; expected "
                "0 <= min_pass_rate <= max_pass_rate <= 1"
            )
        if self.completions < 0:
            raise UserError(f"PrefixSearchConfig.completions={self.completions}; expected 0 (no search) or more")


@dataclasses.dataclass
class _Search:
    """The search in one program.

    Attributes:
      index: which of the programs.
      reference: of its problem.
      text: the program.
      steps: its steps.
      ends: the closed steps that have a say, as indices into `steps`.
      low: so many of them can be saved.
      high: no more of them may be.
      saved: a program that passes and begins with the first `low` of them.
    """

    index: int
    reference: Reference
    text: str
    steps: tuple[Step, ...]
    ends: tuple[int, ...]
    low: int
    high: int
    saved: str = ""

    @classmethod
    def start(cls, index: int, reference: Reference, text: str) -> _Search:
        steps = split_steps(text)
        ends = tuple(i for i, step in enumerate(steps) if step.closed and not step.neutral and step.kind != "end")
        return cls(index, reference, text, steps, ends, 0, len(ends))

    @property
    def middle(self) -> int:
        return (self.low + self.high + 1) // 2

    @property
    def prefix(self) -> str:
        end = self.steps[self.ends[self.middle - 1]].end
        return self.text.encode("utf-8", "surrogatepass")[:end].decode("utf-8", "surrogatepass")

    @property
    def wrong(self) -> int:
        """The first step behind what can be saved."""
        first = self.ends[self.low - 1] + 1 if self.low else 0
        return next(i for i, step in enumerate(self.steps) if i >= first and not step.neutral)


def search_prefixes(
    samples: Sequence[tuple[Problem, str]],
    complete: Complete,
    sandbox: Sandbox,
    config: PrefixSearchConfig,
    labels: LabelConfig,
    tally: Tally | None = None,
) -> list[LabelledProgram | None]:
    """Labels a policy's own programs by what it can still make of their beginnings.

    Args:
      samples: problems with a program for each; a problem should come several times, since the share of its programs
        that pass is what the choices of `config` go by.
      complete: the policy; it may be another checkpoint than the one that wrote the programs.
      sandbox: runs programs and references.
      config: how to search and what to keep.
      labels: CPU limits, and the label of what follows the first wrong step.
      tally: receives the number of programs, of flaky and unknown ones, and where the trace puts the first wrong step
        of each failing one that is kept.

    Returns:
      One entry per sample; None where it is not kept, where its verdict is unknown or flaky, where nothing could be
      saved and no program of the problem passes, or where the reference fails.
    """
    problems = {problem.id: problem for problem, _ in samples}
    references = dict(zip(problems, run_references(list(problems.values()), sandbox, labels), strict=True))
    verdicts = sandbox.run([_program(references[problem.id], problem, text, labels) for problem, text in samples])
    tally = Tally() if tally is None else tally
    tally.runs["samples"] += len(samples)
    rates = _pass_rates(samples, verdicts)
    found: list[LabelledProgram | None] = [None] * len(samples)
    searches = []
    for i, ((problem, text), verdict) in enumerate(zip(samples, verdicts, strict=True)):
        reference = references[problem.id]
        known = not verdict.flaky and verdict.outcome is not Outcome.UNKNOWN
        if not known:
            tally.dropped["flaky" if verdict.flaky else "unknown"] += 1
        rate = rates.get(problem.id, 0.0)
        if reference is None or not known or not config.min_pass_rate <= rate <= config.max_pass_rate:
            continue
        if verdict.outcome is not Outcome.PASSED:
            searches.append(_Search.start(i, reference, text))
        elif not config.revised_only:
            found[i] = labels.traced_row(reference, text, verdict, "sample")
    _bisect(searches, complete, sandbox, config, labels)
    for search, coverage in zip(searches, _coverage(searches, sandbox, labels), strict=True):
        if search.low or (not config.revised_only and rates[search.reference.problem.id] > 0):
            verdict = verdicts[search.index]
            found[search.index] = _row(search, verdict, coverage, labels.after_error)
            tally.agreement[placed(search.text, verdict, search.reference, search.wrong, METHOD)] += 1
    return found


def _program(reference: Reference | None, problem: Problem, text: str, labels: LabelConfig) -> Program:
    limit = labels.cpu_limit(reference.verdict) if reference else labels.min_cpu_seconds
    return program_for(problem, text, hidden=False, cpu_seconds=limit, trace=True)


def _pass_rates(samples: Sequence[tuple[Problem, str]], verdicts: Sequence[Verdict]) -> Mapping[str, float]:
    """The share of each problem's programs that pass."""
    total: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for (problem, _), verdict in zip(samples, verdicts, strict=True):
        total[problem.id] += 1
        passed[problem.id] += verdict.outcome is Outcome.PASSED
    return {name: passed[name] / count for name, count in total.items()}


def _bisect(
    searches: Sequence[_Search], complete: Complete, sandbox: Sandbox, config: PrefixSearchConfig, labels: LabelConfig
) -> None:
    """Halves every search until each has its longest beginning that can be saved."""
    number = 0
    while running := [search for search in searches if search.low < search.high]:
        prefixes = [search.prefix for search in running]
        pairs = [(search.reference.problem, prefix) for search, prefix in zip(running, prefixes, strict=True)]
        written = complete(pairs, config.completions, config.seed + number)
        number += 1
        tried = [
            (search, text)
            for search, prefix, texts in zip(running, prefixes, written, strict=True)
            for text in texts
            if text.startswith(prefix)
        ]
        verdicts = sandbox.run(
            [
                dataclasses.replace(_program(search.reference, search.reference.problem, text, labels), trace=False)
                for search, text in tried
            ]
        )
        saved: dict[int, str] = {}
        for (search, text), verdict in zip(tried, verdicts, strict=True):
            if verdict.outcome is Outcome.PASSED and not verdict.flaky:
                saved.setdefault(search.index, text)
        for search in running:
            if search.index in saved:
                search.low, search.saved = search.middle, saved[search.index]
            else:
                search.high = search.middle - 1


def _coverage(searches: Sequence[_Search], sandbox: Sandbox, labels: LabelConfig) -> list[frozenset[int]]:
    """The steps that run, of each program that was saved: those of the beginning are the search's own."""
    programs = [
        _program(search.reference, search.reference.problem, search.saved or search.text, labels) for search in searches
    ]
    return [
        executed_steps(program.text, split_steps(program.text), verdict.executed_lines)
        for program, verdict in zip(programs, sandbox.run(programs), strict=True)
    ]


def _row(search: _Search, verdict: Verdict, executed: frozenset[int], after_error: str) -> LabelledProgram:
    labels = failing_labels(search.steps, search.wrong, executed, after_error)
    return row_of(search.reference.problem, search.text, search.steps, labels, verdict, "sample", METHOD)
