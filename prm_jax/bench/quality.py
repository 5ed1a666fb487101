"""`prm_jax bench quality`: programs per second that one core measures without running them.

Comes in: the path of MBPP, and how many programs. Goes out: a table on standard output. Called by `cli.py`. The lines
are nested: each does what the one before it does, and more.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import time
from collections.abc import Callable, Sequence

from prm_jax.bench.arguments import require_positive
from prm_jax.problems.mbpp import SPLIT_TASKS, MbppSource
from prm_jax.problems.problem import Problem
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.quality.constraints import Constraints, check_facts
from prm_jax.quality.finding import score
from prm_jax.quality.integrity import from_facts, given_names, integrity
from prm_jax.quality.walk import walk

RULES = Constraints(
    imports_allowed=("decimal", "math", "re"),
    calls_banned=("round", "print"),
    types_replace=(("float", "Decimal"),),
    naming_functions="[a-z_0-9]+",
    naming_variables="[a-z_0-9]{2,}",
    exceptions_swallowed=False,
    complexity_nesting=3,
)
"""A rule of every section of a domain's `constraints.toml`."""
PASSES = 3
"""The fastest of so many passes over the programs counts: what slows one down is the machine, not the work."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
      kind: which programs.
      what: one of `WORK`.
      programs: how many.
      seconds: CPU time of this process for all of them.
    """

    kind: str
    what: str
    programs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Programs per second of one core."""
        return self.programs / self.seconds

    def __str__(self) -> str:
        """The line."""
        return f"{self.kind:18}{self.what:13}{self.rate:9.0f}/s"


def _parse(problem: Problem) -> None:
    ast.parse(problem.reference)


def _integrity(problem: Problem) -> None:
    integrity(problem.reference, given_names(problem.entry_point, problem.setup))


def _with_rules(problem: Problem) -> None:
    facts = walk(problem.reference)
    from_facts(facts, given_names(problem.entry_point, problem.setup))
    score(check_facts(facts, RULES))


WORK: dict[str, Callable[[Problem], None]] = {
    "parse": _parse,
    "integrity": _integrity,
    "with rules": _with_rules,
}
"""Python's own parser; structure, naming and calls; these and a domain's rules."""


def run(mbpp: str | None = None, programs: int = 2000) -> list[Measurement]:
    """Measures and prints.

    Args:
      mbpp: path of `mbpp.jsonl`; without it MBPP is left out.
      programs: programs of each kind; MBPP has no more than 974.

    Returns:
      The measurements, in the order of the table.

    Raises:
      UserError: if `programs` is not positive, or MBPP cannot be read.
    """
    require_positive(programs=programs)
    kinds = {"synthetic": SyntheticSource("train", programs, 4, 8).load()}
    if mbpp:
        kinds["MBPP references"] = MbppSource(mbpp, tuple(SPLIT_TASKS)).load()[:programs]
    print(f"CPU time of one core, load {os.getloadavg()[0]:.1f} (0 is an idle machine)")
    found = []
    for kind, problems in kinds.items():
        for what, work in WORK.items():
            measured = Measurement(kind, what, len(problems), _fastest(work, problems))
            print(measured, flush=True)
            found.append(measured)
    if not mbpp:
        print("MBPP: left out, as no --mbpp FILE was given")
    return found


def _fastest(work: Callable[[Problem], None], problems: Sequence[Problem]) -> float:
    seconds = []
    for _ in range(PASSES):
        start = time.process_time()
        for problem in problems:
            work(problem)
        seconds.append(time.process_time() - start)
    return min(seconds)
