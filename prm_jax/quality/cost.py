"""Cost: what a program does to get its results, against the reference on the same tests.

Comes in: verdicts of traced runs (`Program.trace`); for `cost_by_size` programs, which it runs itself. Goes out: a
`Cost`, or one `Size` for a small and a large input. Called by `ppo/verify.py` for rewards and by whoever reports. Only
programs that pass are worth a comparison.

Lines are counted, because their number is the same in every run; a comprehension counts as the line that it stands on.
A program that ends its trace is found out, unless it puts the tracer back. Bytecode instructions are finer, and see
comprehensions, but a program can stop their count. Neither sees work within builtins. Processor time sees all, but
varies between runs. Only lines may enter a reward; the others are for reports.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from prm_jax.execution.opcodes import MAX_OPCODES
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import CallTrace, Outcome, Program, Verdict
from prm_jax.problems.problem import Problem, Test

_CPU_GRAIN = 1e-3  # Seconds; below it, differences are noise.
_MODES: tuple[dict[str, bool], ...] = ({"trace": True}, {"opcodes": True}, {})
"""What a program is asked for in each of its runs: time is taken of one that nothing slows down."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """How dear a program is; 1 is as cheap as the reference or cheaper, 0.5 twice as dear. All in [0, 1].

    With c_t and r_t the lines that program and reference execute on test t, s and l the tests with the fewest and the
    most r_t, and e a millisecond:

    Attributes:
      lines: min(1, sum r_t / sum c_t). This is the measure `"cost"`.
      growth: min(1, (c_s / r_s) / (c_l / r_l)): below 1 where the program falls back as inputs grow.
      cpu: min(1, (CPU seconds of the reference + e) / (CPU seconds of the program + e)).
    """

    lines: float
    growth: float
    cpu: float


def cost(program: Verdict, reference: Verdict) -> Cost | None:
    """Compares two traced runs on the same tests.

    A test on which the reference's trace is not complete, or on which one of the two has none, is left out. A cut trace
    of the program counts with the lines that it has: its cost is then an upper bound of the score. Where the program
    ended its own trace, `lines` and `growth` are 0.

    Returns:
      None where no test is left.
    """
    pairs = [
        (_lines(ours), _lines(theirs))
        for ours, theirs in zip(program.traces, reference.traces, strict=False)
        if ours is not None and theirs is not None and theirs.complete
    ]
    if not pairs:
        return None
    if any(math.isinf(ours) for ours, _ in pairs):
        return Cost(lines=0.0, growth=0.0, cpu=_cpu(program, reference))
    by_reference = sorted(pairs, key=lambda pair: pair[1])
    (small, small_reference), (large, large_reference) = by_reference[0], by_reference[-1]
    total, total_reference = map(sum, zip(*pairs, strict=True))
    return Cost(
        lines=min(1.0, total_reference / total),
        growth=min(1.0, small / small_reference * large_reference / large),
        cpu=_cpu(program, reference),
    )


@dataclasses.dataclass(frozen=True)
class Size:
    """How dear a program is on one input, as in `Cost`: c / r of the reference and the program, at most 1.

    Attributes:
      test: the input.
      lines: executed lines; None where the reference's trace is not complete, 0 where the program ended its own.
      opcodes: executed bytecode instructions; None where the reference has more than are counted.
      cpu: CPU seconds of the process, each with a millisecond added.
    """

    test: Test
    lines: float | None
    opcodes: float | None
    cpu: float


def cost_by_size(
    programs: Sequence[tuple[str, Problem]], sandbox: Sandbox, cpu_seconds: float = 1.0
) -> list[tuple[Size, Size] | None]:
    """Measures programs on the input on which their reference executes the fewest instructions, and the most.

    Args:
      programs: texts, each with its problem.
      sandbox: runs programs and references, each three times on each of the two inputs.
      cpu_seconds: CPU limit of a call.

    Returns:
      One entry per program: the small input and the large one, perhaps the same; None where the program or the
      reference does not pass both.
    """
    known = dict.fromkeys(problem for _, problem in programs)
    counted = [_program(each.reference, each, each.visible_tests, cpu_seconds, opcodes=True) for each in known]
    inputs = dict(zip(known, map(_smallest_and_largest, known, sandbox.run(counted)), strict=True))
    runs: dict[tuple[str, Problem], list[Program]] = {}
    for text, problem in programs:
        for each in (text, problem.reference):
            runs[each, problem] = [
                _program(each, problem, (test,), cpu_seconds, **mode) for test in inputs[problem] for mode in _MODES
            ]
    flat = [program for own in runs.values() for program in own]
    verdicts = iter(sandbox.run(flat))
    found = {key: [next(verdicts) for _ in own] for key, own in runs.items()}
    return [
        _sizes(inputs[problem], found[text, problem], found[problem.reference, problem]) for text, problem in programs
    ]


def _program(text: str, problem: Problem, tests: tuple[Test, ...], cpu_seconds: float, **mode: bool) -> Program:
    return Program(text, tests, problem.setup, cpu_seconds, **mode)


def _smallest_and_largest(problem: Problem, verdict: Verdict) -> tuple[Test, ...]:
    """The tests with the fewest and the most instructions; none where the reference does not pass."""
    if verdict.outcome is not Outcome.PASSED:
        return ()
    counts = [count or 0 for count in verdict.opcodes]
    tests = problem.visible_tests
    return tests[counts.index(min(counts))], tests[counts.index(max(counts))]


def _sizes(tests: Sequence[Test], program: Sequence[Verdict], reference: Sequence[Verdict]) -> tuple[Size, Size] | None:
    if not tests or any(verdict.outcome is not Outcome.PASSED for verdict in (*program, *reference)):
        return None
    small, large = _each_size(tests, program, reference)
    return small, large


def _each_size(tests: Sequence[Test], program: Sequence[Verdict], reference: Sequence[Verdict]) -> Iterator[Size]:
    for index, test in enumerate(tests):
        start = index * len(_MODES)
        (traced, counted, plain), (their_traced, their_counted, their_plain) = (
            verdicts[start : start + len(_MODES)] for verdicts in (program, reference)
        )
        ours, theirs = traced.traces[0], their_traced.traces[0]
        mine, yours = counted.opcodes[0], their_counted.opcodes[0]
        yield Size(
            test,
            lines=min(1.0, _lines(theirs) / _lines(ours)) if ours and theirs and theirs.complete else None,
            opcodes=min(1.0, yours / max(1, mine)) if mine and yours and yours < MAX_OPCODES else None,
            cpu=_cpu(plain, their_plain),
        )


def _cpu(program: Verdict, reference: Verdict) -> float:
    return min(1.0, (reference.cpu_seconds + _CPU_GRAIN) / (program.cpu_seconds + _CPU_GRAIN))


def _lines(trace: CallTrace) -> float:
    """Executed lines; infinitely many where the program saw to it that they are not known."""
    return max(1, len(trace.events)) if trace.events or trace.complete else math.inf
