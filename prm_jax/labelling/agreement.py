"""How well the trace agrees with the mutation: where it puts the wrong step of mutants whose edited step is known.

In: labelled mutants and the references they were made of; out: counts for the card. `label.py` calls it. The trace is
what labels a policy's own programs, where nobody knows the wrong step; here somebody does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from prm_jax.execution.grade import program_for
from prm_jax.execution.sandbox import Sandbox
from prm_jax.labelling.labelled_program import LabelledProgram
from prm_jax.labelling.operators import MUTATION_NAMES
from prm_jax.labelling.rows import Reference
from prm_jax.labelling.trace import FirstError, first_wrong_step

PLACES = ("same step", "same block", "earlier", "later", "undecided")


def compare(
    mutants: Sequence[tuple[Reference, LabelledProgram]], limits: Sequence[float], sandbox: Sandbox
) -> Counter[str]:
    """Traces mutants and holds the first wrong step against the edited one.

    Args:
      mutants: failing mutants, each with its reference.
      limits: CPU seconds that a call may take, for each.
      sandbox: runs them.

    Returns:
      Counts by `"<method>: <place>"`: the method is `"trace"` or `"diagnostics"`; the place, one of `PLACES`, is where
      it puts the wrong step. `"same block"`: another step, and of the edited one nothing is said.
    """
    verdicts = sandbox.run(
        [
            program_for(reference.problem, row.text, hidden=False, cpu_seconds=limit, trace=True)
            for (reference, row), limit in zip(mutants, limits, strict=True)
        ]
    )
    counts: Counter[str] = Counter()
    for (reference, row), verdict in zip(mutants, verdicts, strict=True):
        found = first_wrong_step(row.text, verdict, reference.problem.reference, reference.verdict)
        counts[f"{found.method}: {_place(found, row.edited_step)}"] += 1
    return counts


def _place(found: FirstError, edited: int) -> str:
    if found.step < 0:
        return "undecided"
    if found.step == edited:
        return "same step"
    if edited in found.neutral:
        return "same block"
    return "earlier" if found.step < edited else "later"


def chosen_mutants(rows: Iterable[LabelledProgram], count: int, seed: int) -> list[LabelledProgram]:
    """Up to `count` of a problem's mutants that fail its own tests, drawn at random."""
    failing = [row for row in rows if row.operator in MUTATION_NAMES and not row.passed and not row.by_generated]
    if len(failing) <= count:
        return failing
    return random.Random(f"{seed}/agreement/{failing[0].problem_id}").sample(failing, count)
