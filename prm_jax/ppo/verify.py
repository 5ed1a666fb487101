"""Verification of sampled programs on the host: problems and texts in, one `Verified` each out.

`loop.py` takes this as a callable; the stage binds the sandbox. With `exact=False` a program only runs on the visible
tests; with `exact=True` it is also traced against the reference, so that every step has a label. For `+quality`, how
programs are written is measured too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from prm_jax.execution.grade import grade
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.label import LabelConfig, label_samples
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.ppo.integrity import measure
from prm_jax.ppo.quality import Quality
from prm_jax.ppo.rewards import Grade
from prm_jax.problems.problem import Problem


@dataclasses.dataclass(frozen=True)
class Verified:
    """What the interpreter says of one program.

    Attributes:
      outcome: the verdict's kind.
      labels: one label per step of `text.steps.split_steps`; None where the program was not traced.
      integrity: how well it is written, in the order of `quality.MEASURES`; None where nobody asked or it failed.
    """

    outcome: Outcome
    labels: tuple[Label, ...] | None = None
    integrity: tuple[float, ...] | None = None

    @property
    def known(self) -> bool:
        """False where the sandbox could not tell; such a program is outside every loss."""
        return self.outcome != Outcome.UNKNOWN

    @property
    def passed(self) -> bool:
        """Whether all visible tests passed."""
        return self.outcome == Outcome.PASSED

    @property
    def grade(self) -> Grade:
        """The class of CodeRL's graded outcome. Time and memory limits count as runtime errors."""
        if self.passed:
            return Grade.RIGHT
        if self.outcome == Outcome.SYNTAX_ERROR:
            return Grade.SYNTAX
        return Grade.WRONG if self.outcome == Outcome.WRONG_ANSWER else Grade.RUNTIME

    @property
    def first_wrong(self) -> int:
        """Index of the first wrong step, -1 where there is none or none is known."""
        return next((i for i, label in enumerate(self.labels or ()) if label == Label.WRONG), -1)


Verify = Callable[[Sequence[Problem], Sequence[str], bool], list[Verified]]


def verify(
    problems: Sequence[Problem],
    texts: Sequence[str],
    exact: bool,
    *,
    sandbox: Sandbox,
    limits: Mapping[str, float] | None = None,
    config: LabelConfig,
    in_child: bool = False,
    quality: Quality | None = None,
) -> list[Verified]:
    """Runs programs on the visible tests of their problems.

    Args:
      problems: one per program.
      texts: the programs.
      exact: whether to trace them against their references and label their steps.
      sandbox: where they run.
      limits: CPU seconds of a call by problem id, see `execution.grade.reference_limits`.
      config: options of labelling.
      in_child: whether tests count whose comparison runs beside the program: a policy can learn to cheat those.
      quality: the reward term for which passing programs are measured; None where there is none.

    Returns:
      One entry per program, in order; unknown where two runs of a program disagreed, or no test counts.
    """
    if not in_child:
        problems = [problem.without_in_child_tests() for problem in problems]
    samples = list(zip(problems, texts, strict=True))
    if exact:
        verified = [from_labelled(row) for row in label_samples(samples, sandbox, config, limits)]
    else:
        verdicts = grade(samples, sandbox, hidden=False, limits=limits)
        verified = [
            Verified(verdict.outcome if problem.visible_tests and not verdict.flaky else Outcome.UNKNOWN)
            for problem, verdict in zip(problems, verdicts, strict=True)
        ]
    if quality is None:
        return verified
    passing = [index for index, entry in enumerate(verified) if entry.passed]
    measured = measure([samples[index] for index in passing], quality, sandbox, limits)
    for index, values in zip(passing, measured, strict=True):
        verified[index] = dataclasses.replace(verified[index], integrity=values)
    return verified


def from_labelled(row: LabelledProgram | None) -> Verified:
    """What `label_samples` found, as `Verified`; unknown where it found nothing."""
    return Verified(Outcome.UNKNOWN) if row is None else Verified(Outcome(row.outcome), row.labels)
