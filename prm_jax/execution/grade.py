"""Programs from problems, CPU limits from references, and verdicts on samples: the usual ways into the sandbox.

Comes in: `Problem`s and program texts. Goes out: `Program`s, limits, `Verdict`s. Called by labelling, PPO, evaluation
and `prm_jax generate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Program, Verdict
from prm_jax.problems.problem import Problem

DEFAULT_CPU_SECONDS = 1.0
REFERENCE_CPU_SECONDS = 10.0
MAX_CPU_SECONDS = 5.0


def program_for(
    problem: Problem, text: str, *, hidden: bool, cpu_seconds: float = DEFAULT_CPU_SECONDS, trace: bool = False
) -> Program:
    """The program that checks `text` on the visible tests of `problem`, and on the hidden ones where `hidden`."""
    tests = problem.tests if hidden else problem.visible_tests
    return Program(text=text, tests=tests, setup=problem.setup, cpu_seconds=cpu_seconds, trace=trace)


def cpu_limit(reference_seconds: float, factor: float, minimum: float) -> float:
    """CPU seconds of a call, from what the reference needs for all its tests: `factor` times that.

    At least `minimum`, and at most `MAX_CPU_SECONDS` or twice the reference: one slow reference would otherwise hold
    up a whole data set with those of its variants that never end.
    """
    return max(minimum, min(factor * reference_seconds, max(MAX_CPU_SECONDS, 2 * reference_seconds)))


def reference_limits(
    problems: Sequence[Problem], sandbox: Sandbox, factor: float = 20.0, minimum: float = 0.1
) -> dict[str, float]:
    """CPU seconds per call by problem id: `cpu_limit` of what the reference needs for all its tests."""
    programs = [
        program_for(problem, problem.reference, hidden=True, cpu_seconds=REFERENCE_CPU_SECONDS) for problem in problems
    ]
    return {
        problem.id: cpu_limit(verdict.cpu_seconds, factor, minimum)
        for problem, verdict in zip(problems, sandbox.run(programs), strict=True)
    }


def grade(
    samples: Sequence[tuple[Problem, str]],
    sandbox: Sandbox,
    *,
    hidden: bool,
    limits: Mapping[str, float] | None = None,
    trace: bool = False,
) -> list[Verdict]:
    """Verdicts on program texts behind their problems' heads, in order.

    `limits` are CPU seconds per call by problem id (else 1 s).
    """
    limits = limits or {}
    return sandbox.run(
        [
            program_for(
                problem,
                problem.head + text,
                hidden=hidden,
                cpu_seconds=limits.get(problem.id, DEFAULT_CPU_SECONDS),
                trace=trace,
            )
            for problem, text in samples
        ]
    )
