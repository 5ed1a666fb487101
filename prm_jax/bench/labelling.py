"""`prm_jax bench labelling`: variants per second, phase by phase.

Comes in: how many variants, and the path of MBPP. Goes out: a table on standard output. Called by `cli.py`. The phases
are those of `labelling/label.py`, each over all variants before the next begins, so that each can be timed alone. Then
the pipeline of `labelling/beam.py` does all of it once more, with one worker and with two.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from prm_jax.bench.arguments import require_positive
from prm_jax.execution.grade import program_for
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Program
from prm_jax.labelling.donors import Donors
from prm_jax.labelling.jsonl import write_labelled
from prm_jax.labelling.label import LabelConfig, run_references
from prm_jax.labelling.rows import Reference, variant_row
from prm_jax.labelling.tally import Tally
from prm_jax.labelling.trace import first_wrong_step
from prm_jax.labelling.variants import Variant, sample_variants
from prm_jax.problems.mbpp import SPLIT_TASKS, MbppSource
from prm_jax.problems.problem import Problem
from prm_jax.problems.synthetic import SyntheticSource

PHASES = {
    "make": "edit references, a mutant or a refactoring each",
    "run": "run them on the visible tests",
    "trace": "run them with a trace and find the first wrong step, as for a policy's programs",
    "steps": "cut them into steps and label these",
    "write": "write the rows",
}
PIPELINES = {
    "worker": "all of it by the pipeline, one worker with one zygote",
    "workers": "all of it by the pipeline, two workers with one zygote each",
}
_PER_STEP = LabelConfig()
_PROBLEM_VARIANTS = 10  # About as many variants as a synthetic problem gives; more problems are made than are needed.

T = TypeVar("T")
Pair = tuple[Reference, Variant]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
      kind: which problems.
      phase: one of `PHASES` or of `PIPELINES`.
      variants: how many.
      seconds: wall time of all of them.
    """

    kind: str
    phase: str
    variants: int
    seconds: float

    @property
    def rate(self) -> float:
        """Variants per second."""
        return self.variants / self.seconds

    def __str__(self) -> str:
        """The line."""
        return f"{self.kind:10}{self.phase:8}{self.rate:9.0f}/s   {(PHASES | PIPELINES)[self.phase]}"


def run(mbpp: str | None = None, programs: int = 2000) -> list[Measurement]:
    """Measures and prints.

    Args:
      mbpp: path of `mbpp.jsonl`; without it MBPP is left out.
      programs: variants of each kind of problems, at most.

    Returns:
      The measurements, in the order of the table.

    Raises:
      UserError: if `programs` is not positive, MBPP cannot be read, or this machine confines too weakly.
    """
    require_positive(programs=programs)
    kinds = {"synthetic": SyntheticSource("train", programs // _PROBLEM_VARIANTS + 1, 4, 8).load()}
    if mbpp:
        kinds["MBPP"] = MbppSource(mbpp, tuple(SPLIT_TASKS)).load()
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} (0 is an idle machine); make, steps and write use one core")
    found = []
    with Sandbox(SandboxConfig(workers=cores)) as sandbox:
        for kind, problems in kinds.items():
            own = []
            for each in _measure(kind, problems, programs, sandbox):
                print(each, flush=True)
                own.append(each)
            seconds = sum(each.seconds / each.variants for each in own if each.phase != "trace")
            print(f"{kind:10}all but trace: {1 / seconds:.0f}/s, 70,000 variants in {70_000 * seconds / 60:.1f} min")
            one, two = (_pipeline(kind, problems, programs, phase) for phase in PIPELINES)
            print(one, two, f"{kind:10}two workers need {two.seconds / one.seconds:.2f} of one's time", sep="\n")
            found += [*own, one, two]
    if not mbpp:
        print("MBPP: left out, as no --mbpp FILE was given")
    return found


def _measure(kind: str, problems: Sequence[Problem], most: int, sandbox: Sandbox) -> Iterator[Measurement]:
    references = [each for each in run_references(problems, sandbox, _PER_STEP) if each]
    pairs, seconds = _timed(lambda: list(itertools.islice(_variants(references), most)))

    def measured(phase: str, seconds: float) -> Measurement:
        return Measurement(kind, phase, len(pairs), seconds)

    yield measured("make", seconds)
    verdicts, seconds = _timed(lambda: sandbox.run([_program(*pair, trace=pair[1].spread) for pair in pairs]))
    yield measured("run", seconds)
    yield measured("trace", _timed(lambda: _trace(pairs, sandbox))[1])
    tally = Tally()
    rows, seconds = _timed(
        lambda: [variant_row(*pair, verdict, "neutral", tally) for pair, verdict in zip(pairs, verdicts, strict=True)]
    )
    yield measured("steps", seconds)
    with tempfile.TemporaryDirectory() as folder:
        kept = [row for row in rows if row is not None]
        yield measured("write", _timed(lambda: write_labelled(Path(folder) / "rows.jsonl", kept))[1])


def _pipeline(kind: str, problems: Sequence[Problem], most: int, phase: str) -> Measurement:
    """The same by the Beam pipeline, from problems to shards and card; `variants` are its rows."""
    from prm_jax.labelling.beam import run_labelling  # Here, since Beam takes seconds to import.

    with tempfile.TemporaryDirectory() as folder:
        workers = 1 + list(PIPELINES).index(phase)
        some = problems[: max(2, most // _PROBLEM_VARIANTS)]
        work = functools.partial(run_labelling, some, folder, _PER_STEP, SandboxConfig(workers=1), workers=workers)
        _, seconds = _timed(work)
        card = json.loads((Path(folder) / "card.json").read_text())
    return Measurement(kind, phase, card["programs"], seconds)


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _variants(references: Sequence[Reference]) -> Iterator[Pair]:
    donors = Donors(each.problem.reference for each in references)
    for each in references:
        rng = random.Random(each.problem.id)
        shares = _PER_STEP.mutants_per_step, _PER_STEP.refactorings_per_step
        for variant in sample_variants(each.problem.reference, *shares, rng, donors):
            yield each, variant


def _program(reference: Reference, variant: Variant, trace: bool) -> Program:
    limit = _PER_STEP.cpu_limit(reference.verdict)
    return program_for(reference.problem, variant.text, hidden=False, cpu_seconds=limit, trace=trace)


def _trace(pairs: Sequence[Pair], sandbox: Sandbox) -> None:
    verdicts = sandbox.run([_program(*pair, trace=True) for pair in pairs])
    for (reference, variant), verdict in zip(pairs, verdicts, strict=True):
        first_wrong_step(variant.text, verdict, reference.problem.reference, reference.verdict)
