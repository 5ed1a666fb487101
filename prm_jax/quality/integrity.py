"""`Integrity`: how a program is written, as scores and as findings.

Comes in: a program's text, and what its problem prescribes. Goes out: an `Integrity`. Called by `ppo/verify.py` for the
reward `+quality`, by reports and by whoever wants to see the findings. A text is parsed and walked once; nothing is
executed. What each measure means stands in `structure.py`, `naming.py`, `calls.py` and `cost.py`, how findings become
scores in `finding.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection

from prm_jax.quality.calls import calls
from prm_jax.quality.facts import Broken, Facts
from prm_jax.quality.finding import Finding, score, step_scores
from prm_jax.quality.naming import naming
from prm_jax.quality.structure import StructureLimits, structure
from prm_jax.quality.walk import walk
from prm_jax.text.steps import Step

_LIMITS = StructureLimits()
STATIC_MEASURES = ("structure", "naming", "calls")


@dataclasses.dataclass(frozen=True)
class Integrity:
    """How a program is written; each measure in [0, 1], 1 where there is nothing to say against it.

    Attributes:
      structure: see `structure.py`.
      naming: see `naming.py`.
      calls: see `calls.py`.
      findings: what lowered them.
    """

    structure: float
    naming: float
    calls: float
    findings: tuple[Finding, ...]

    def step_scores(self, measure: str, steps: tuple[Step, ...]) -> tuple[float, ...]:
        """A measure step by step, one value in [0, 1] for each of `steps`; their product is the program's."""
        return step_scores(steps, (finding for finding in self.findings if finding.measure == measure))


def integrity(text: str, given: Collection[str] = (), limits: StructureLimits = _LIMITS) -> Integrity:
    """Measures a program.

    Args:
      text: any string. One that does not parse scores 0 in every measure, with a finding on the line of the error.
      given: names that the problem prescribes or provides, see `given_names`.
      limits: of the measure `structure`.
    """
    return from_facts(walk(text), given, limits)


def from_facts(facts: Facts | Broken, given: Collection[str] = (), limits: StructureLimits = _LIMITS) -> Integrity:
    """The same from a walk that is done."""
    if isinstance(facts, Broken):
        message = f"does not parse: {facts.message}"
        broken = (Finding(measure, "syntax", facts.line, math.inf, message) for measure in STATIC_MEASURES)
        return Integrity(0.0, 0.0, 0.0, tuple(broken))
    built, named, called = structure(facts, limits), naming(facts, given), calls(facts, given)
    return Integrity(score(built), score(named), score(called), (*built, *named, *called))


@functools.lru_cache(maxsize=1 << 12)
def given_names(entry_point: str, setup: str) -> frozenset[str]:
    """The names that a problem prescribes or provides: its entry point and what its set-up binds."""
    facts = walk(setup)
    bound = frozenset() if isinstance(facts, Broken) else frozenset(facts.scopes[0].bound)
    return bound | {entry_point}
