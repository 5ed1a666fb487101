"""`prm_jax bench sandbox`: programs per second through the sandbox, and through the executors of others beside it.

Comes in: how many programs, and the path of MBPP. Goes out: a table on standard output. Called by `cli.py`. All
programs are references or written here: the executors of others (`executors.py`) isolate nothing. This process imports
no JAX, since they fork it.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence

from prm_jax.bench.arguments import require_positive
from prm_jax.bench.executors import EXECUTORS, Executor, installed
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.mbpp import SPLIT_TASKS, MbppSource
from prm_jax.problems.problem import Test

OTHERS_SHARE = 10  # One in so many programs is enough for an executor that is so many times slower.
_WARM_UP = 16
_SLOW = 0.5  # CPU seconds of one program that says more of a rate than all others do.


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
      executor: what ran the programs.
      kind: which programs.
      workers: how many at a time.
      programs: how many in all.
      passed: how many passed; all should.
      seconds: wall time.
      slowest: CPU seconds of the program that took most, 0 where that is not known.
    """

    executor: str
    kind: str
    workers: int
    programs: int
    passed: int
    seconds: float
    slowest: float = 0.0

    @property
    def rate(self) -> float:
        """Programs per second."""
        return self.programs / self.seconds

    def __str__(self) -> str:
        """The line."""
        failed = self.programs - self.passed
        remark = f"  ({failed} of {self.programs} did not pass)" if failed else ""
        if self.slowest > _SLOW:
            remark += f"  (one program takes {self.slowest:.1f} s of CPU)"
        return f"{self.executor:12}{self.kind:18}{self.workers:2} at a time{self.rate:9.0f}/s{remark}"


def run(mbpp: str | None = None, programs: int = 2000) -> list[Measurement]:
    """Measures and prints.

    Args:
      mbpp: path of `mbpp.jsonl`; without it MBPP is left out.
      programs: programs of each kind; MBPP has no more than 974.

    Returns:
      The measurements, in the order of the table.

    Raises:
      UserError: if `programs` is not positive, MBPP cannot be read, or this machine confines too weakly.
    """
    require_positive(programs=programs)
    kinds = {"tiny programs": tiny_programs(programs)}
    if mbpp:
        kinds["MBPP references"] = mbpp_references(mbpp)[:programs]
    cores = len(os.sched_getaffinity(0))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        print(f"tier {sandbox.tier().name}, {cores} cores, load {os.getloadavg()[0]:.1f} (0 is an idle machine)")
    others = {name: executor for name, executor in EXECUTORS.items() if installed(executor)}
    found = []
    for workers in dict.fromkeys((1, cores)):
        for kind, made in kinds.items():
            ours = Measurement("prm_jax", kind, workers, len(made), *_in_sandbox(made, workers))
            print(ours, flush=True)
            found.append(ours)
            for name, executor in others.items():
                some = [program for program in made if executor.takes(program)][::OTHERS_SHARE]
                if not some:
                    continue
                theirs = Measurement(name, kind, workers, len(some), *_by(executor, some, workers))
                print(f"{theirs}; prm_jax does {ours.rate / theirs.rate:.1f} times as many", flush=True)
                found.append(theirs)
    if not mbpp:
        print("MBPP: left out, as no --mbpp FILE was given")
    for name, executor in EXECUTORS.items():
        if name not in others:
            print(f'{name}: left out, as it is not installed (pip install "{executor.install}")')
    return found


def tiny_programs(count: int) -> list[Program]:
    """Programs of two lines with three calls each."""
    return [
        Program(
            f"def f(x):\n    return x + {n}\n",
            tuple(Test(f"f({argument})", str(argument + n)) for argument in range(3)),
        )
        for n in range(count)
    ]


def mbpp_references(path: str) -> list[Program]:
    """The references of MBPP with those of their tests that are a call and a value."""
    made = []
    for problem in MbppSource(path, tuple(SPLIT_TASKS)).load():
        tests = tuple(test for test in problem.tests if test.expected is not None)
        if tests:
            made.append(Program(problem.reference, tests, setup=problem.setup, cpu_seconds=10.0))
    return made


def _in_sandbox(programs: Sequence[Program], workers: int) -> tuple[int, float, float]:
    """How many of the programs passed, the seconds that they took once the sandbox was warm, and CPU of the slowest."""
    with Sandbox(SandboxConfig(workers=workers, rerun_share=0.0)) as sandbox:
        sandbox.run(tiny_programs(_WARM_UP))
        start = time.perf_counter()
        verdicts = sandbox.run(programs)
        seconds = time.perf_counter() - start
    passed = sum(verdict.outcome is Outcome.PASSED for verdict in verdicts)
    return passed, seconds, max(verdict.cpu_seconds for verdict in verdicts)


def _by(executor: Executor, programs: Sequence[Program], workers: int) -> tuple[int, float]:
    """The same by an executor of others."""
    start = time.perf_counter()
    return executor.passed(programs, workers), time.perf_counter() - start
