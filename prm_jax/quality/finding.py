"""`Finding`: one thing that speaks against a program, at a line; and the scores that findings make.

Every static measure (`structure.py`, `naming.py`, `calls.py`) and a domain's rules (`constraints.py`) give findings.
One formula makes scores of them, for steps and programs alike:

    score(findings) = 2 ** -(sum of their weights)

So a finding of weight 1 halves a score, no finding is 1, and the score of a program is the product of the scores of
its steps. Nothing is divided by a length: code added beside a finding does not dilute it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from prm_jax.text.steps import Step, step_of_line


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One complaint.

    Attributes:
      measure: the measure that it lowers, e.g. `"naming"`.
      rule: the rule within the measure, e.g. `"shadow"`.
      line: 1-based line of the program's text.
      weight: not negative; how many times the score is halved; infinite where nothing good can be said.
      message: one sentence for a person.
    """

    measure: str
    rule: str
    line: int
    weight: float
    message: str


def score(findings: Iterable[Finding]) -> float:
    """2 ** -(sum of weights), in [0, 1]."""
    return 2.0 ** -sum(finding.weight for finding in findings)


def step_scores(steps: Sequence[Step], findings: Iterable[Finding]) -> tuple[float, ...]:
    """The score of each step from the findings on its lines.

    Args:
      steps: what `text.steps.split_steps` gives for the program's text.
      findings: of one measure or of several.

    Returns:
      One value in [0, 1] per step, the end of the program among them.
    """
    weights = [0.0] * len(steps)
    for finding in findings:
        weights[step_of_line(steps, finding.line)] += finding.weight
    return tuple(2.0**-weight for weight in weights)
