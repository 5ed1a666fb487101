"""From `assert` statements to `Test`s; used by every source whose tests are written as asserts.

A test that is split into a call and a literal, or into calls and a comparison, is graded in the parent, where no
program can reach what is expected; so as many as possible are split, and the others stay whole.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from prm_jax.problems.comparisons import split_comparison
from prm_jax.problems.problem import Test


def split_assert(statement: str, visible: bool = True) -> Test:
    """Makes a `Test` of one `assert`.

    `assert expression == literal` (with or without a message) gives a call and an expected value, each as it was
    written. A comparison that the parent can make by itself (`assert not f(1)`, `assert abs(f(1) - 2) < 1e-6`) gives
    the calls and a `check`; anything else (`assert f(1) == g(1)`) gives an `in_child` test.

    Args:
      statement: the source text of one `assert`.
      visible: copied to the test.

    Raises:
      ValueError: if the text is not exactly one assert statement.
    """
    text = statement.strip()
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text!r} is no Python: {error}") from error
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise ValueError(f"{text!r} is not one assert statement")
    sides = comparison_sides(body[0])
    if sides is None:
        return checked(body[0].test, visible) or Test(call=text, expected=None, visible=visible)
    call, expected = (ast.get_source_segment(text, side) or ast.unparse(side) for side in sides)
    return Test(call=_joined(call), expected=_joined(expected), visible=visible)


def as_assert(test: Test) -> str:
    """The test as one `assert` statement, of which `split_assert` makes a test that says the same."""
    if test.in_child:
        return test.call
    call = ast.parse(test.call, mode="eval").body
    check = ast.parse(test.check or f"_0 == {test.expected}", mode="eval").body
    parts = call.elts if test.check is not None and isinstance(call, ast.Tuple) else [call]
    return ast.unparse(ast.Assert(_Filler(parts).visit(check)))


class _Filler(ast.NodeTransformer):
    """Puts the calls of a test into its check."""

    def __init__(self, calls: Sequence[ast.expr]) -> None:
        self._calls = {f"_{index}": call for index, call in enumerate(calls)}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._calls.get(node.id, node)


def checked(expression: ast.expr, visible: bool) -> Test | None:
    """The test that an expression is true, with its comparison made in the parent; None where that cannot be."""
    found = split_comparison(expression)
    if found is None:
        return None
    calls, check = found
    return Test(
        call=ast.unparse(ast.Tuple(calls, ast.Load())), expected=None, visible=visible, check=ast.unparse(check)
    )


def comparison_sides(statement: ast.stmt) -> tuple[ast.expr, ast.expr] | None:
    """The two sides of `assert expression == literal`; None for any other statement."""
    if not (isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare)):
        return None
    comparison = statement.test
    right = comparison.comparators[0]
    if len(comparison.ops) != 1 or not isinstance(comparison.ops[0], ast.Eq) or not is_literal(right):
        return None
    return comparison.left, right


def is_literal(node: ast.expr) -> bool:
    """Whether `ast.literal_eval` can compute the expression."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def called_name(expression: str, defined: set[str]) -> str | None:
    """The first function of `defined` that an expression (or a statement) calls, None if it calls none of them."""
    calls = (node.func for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Call))
    return next((func.id for func in calls if isinstance(func, ast.Name) and func.id in defined), None)


def _joined(expression: str) -> str:
    """The expression on one line, so that it also stands alone where its outer parentheses are lost."""
    return expression if "\n" not in expression else ast.unparse(ast.parse(f"({expression})", mode="eval"))
