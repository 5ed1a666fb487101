"""How well the methods agree: where the trace puts the first wrong step of programs that another method labels too.

In: failing programs, their verdicts and references; out: counts for the card. The trace is what labels a policy's own
programs, where nobody knows the wrong step. Of mutants somebody does: `label.py` calls `compare`. Of programs that were
searched the policy's completions tell: `prefix_search.py` calls `placed`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from prm_jax.execution.grade import program_for
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Verdict
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
      Counts of what `placed` says.
    """
    verdicts = sandbox.run(
        [
            program_for(reference.problem, row.text, hidden=False, cpu_seconds=limit, trace=True)
            for (reference, row), limit in zip(mutants, limits, strict=True)
        ]
    )
    counts: Counter[str] = Counter()
    for (reference, row), verdict in zip(mutants, verdicts, strict=True):
        counts[placed(row.text, verdict, reference, row.edited_step, row.method)] += 1
    return counts


def placed(text: str, verdict: Verdict, reference: Reference, step: int, method: str) -> str:
    """Where the trace puts the first wrong step of a program, held against the step that another method names.

    Args:
      text: a failing program.
      verdict: its verdict, traced.
      reference: of its problem.
      step: the wrong step by the other method.
      method: the other method.

    Returns:
      `"<trace or diagnostics> against <method>: <place>"`, the place one of `PLACES`. `"same block"`: another step, and
      nothing is said of the one that the other method names; `"undecided"`: nothing is said at all.
    """
    found = first_wrong_step(text, verdict, reference.problem.reference, reference.verdict)
    return f"{found.method} against {method}: {_place(found, step)}"


def _place(found: FirstError, step: int) -> str:
    if found.step < 0:
        return "undecided"
    if found.step == step:
        return "same step"
    if step in found.neutral:
        return "same block"
    return "earlier" if found.step < step else "later"


def chosen_mutants(rows: Iterable[LabelledProgram], count: int, seed: int) -> list[LabelledProgram]:
    """Up to `count` of a problem's mutants that fail its own tests, drawn at random."""
    failing = [row for row in rows if row.operator in MUTATION_NAMES and not row.passed and not row.by_generated]
    if len(failing) <= count:
        return failing
    return random.Random(f"{seed}/agreement/{failing[0].problem_id}").sample(failing, count)
