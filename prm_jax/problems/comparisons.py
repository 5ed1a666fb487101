"""Comparisons that the grader makes by itself: `abs(f(1) - 2.5) < 1e-6`, `isclose`, sets, sorted, `not f()`.

Comes in: the expression of an `assert`. Goes out: the calls in it, which a sandbox evaluates, and the comparison in
which `_0`, `_1`, … stand for their values. `asserts.py` splits with it; `execution/grading.py` asks `holds` with the
values that came back. So neither an expected value nor the comparison is ever near the program.

The comparison is a small language: literals, comparisons, `and`, `or`, `not`, arithmetic on numbers, and the functions
of `FUNCTIONS` on plain values. It is evaluated node by node, never by `eval`. The comparison comes from a test's
author and is trusted; the values come from a program and are not: what an operator does to them is bounded.
"""

from __future__ import annotations

import ast
import builtins
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{each.__name__: each for each in (abs, all, any, bool, float, frozenset, int, isinstance, len, list, max, min)},
    **{each.__name__: each for each in (round, set, sorted, str, sum, tuple)},
    "isclose": math.isclose,
}
TYPES: dict[str, type] = {each.__name__: each for each in (bool, dict, float, frozenset, int, list, set, str, tuple)}
CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "tau": math.tau}
KEYWORDS = {"isclose": {"rel_tol", "abs_tol"}, "sorted": {"reverse"}}

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_MAX_EXPONENT = 1000


def split_comparison(expression: ast.expr) -> tuple[list[ast.expr], ast.expr] | None:
    """The calls of an expression and the comparison of their values; None where it cannot be split.

    All calls must be of one function, which is no builtin: what `f(1) == g(1)` or `isclose(f(1), math.sqrt(2))`
    compares with is computed beside the program, which could change it.
    """
    splitter = _Splitter()
    try:
        check = splitter.visit(expression)
    except _CannotSplitError:
        return None
    if len({ast.dump(call.func) for call in splitter.calls}) != 1:
        return None
    return list(splitter.calls), check


class _CannotSplitError(Exception):
    """Part of an expression is neither a call of the program nor in the language."""


class _Splitter(ast.NodeVisitor):
    """Copies an expression, with a placeholder for each call of the program."""

    def __init__(self) -> None:
        self.calls: list[ast.Call] = []

    def generic_visit(self, node: ast.AST) -> Any:
        raise _CannotSplitError

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in TYPES and node.id not in CONSTANTS.keys() - {"e"}:
            raise _CannotSplitError
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if not (isinstance(node.value, ast.Name) and node.value.id == "math" and node.attr in CONSTANTS):
            raise _CannotSplitError
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Keeps a known function; puts a placeholder for the program's own, which is called in the sandbox."""
        name = _function_name(node.func)
        if name in FUNCTIONS:
            if not {keyword.arg for keyword in node.keywords} <= KEYWORDS.get(name, set()):
                raise _CannotSplitError
            if name == "round":  # A number of digits that a program chose could fill the memory.
                node.args[1:] = map(_small, node.args[1:])
            keywords = [ast.keyword(keyword.arg, self.visit(keyword.value)) for keyword in node.keywords]
            return ast.Call(node.func, [self.visit(argument) for argument in node.args], keywords)
        if not isinstance(node.func, ast.Name) or hasattr(builtins, node.func.id):
            raise _CannotSplitError
        self.calls.append(node)
        return ast.Name(f"_{len(self.calls) - 1}", ast.Load())

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        return ast.Compare(self.visit(node.left), node.ops, [self.visit(each) for each in node.comparators])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return ast.BoolOp(node.op, [self.visit(value) for value in node.values])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if type(node.op) not in _UNARY:
            raise _CannotSplitError
        return ast.UnaryOp(node.op, self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.Pow) and isinstance(node.left, ast.Constant):
            return ast.BinOp(node.left, node.op, _small(node.right))
        if type(node.op) not in _ARITHMETIC:
            raise _CannotSplitError
        return ast.BinOp(self.visit(node.left), node.op, self.visit(node.right))

    def visit_List(self, node: ast.List) -> ast.expr:
        return ast.List([self.visit(item) for item in node.elts], ast.Load())

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:
        return ast.Tuple([self.visit(item) for item in node.elts], ast.Load())

    def visit_Set(self, node: ast.Set) -> ast.expr:
        return ast.Set([self.visit(item) for item in node.elts])

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        if None in node.keys:
            raise _CannotSplitError
        return ast.Dict([self.visit(key) for key in node.keys if key], [self.visit(value) for value in node.values])


def _function_name(function: ast.expr) -> str:
    """The name in `FUNCTIONS` that a call uses: `math.isclose` is `isclose`; `""` for none."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "math":
        return function.attr if function.attr == "isclose" else ""
    return function.id if isinstance(function, ast.Name) else ""


def _small(exponent: ast.expr) -> ast.expr:
    try:
        value = ast.literal_eval(exponent)
    except ValueError:
        raise _CannotSplitError from None
    if not isinstance(value, int | float) or abs(value) > _MAX_EXPONENT:
        raise _CannotSplitError
    return exponent


def holds(check: str, values: Sequence[Any]) -> bool:
    """Whether a comparison that `split_comparison` made is true of the values of its calls.

    Args:
      check: its source text.
      values: plain Python values; `_0` is the first.

    Returns:
      False also where the comparison raises, as the `assert` would have.
    """
    try:
        return bool(_evaluate(_parsed(check), values))
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
        return False


@functools.lru_cache(maxsize=1 << 12)
def _parsed(check: str) -> ast.expr:
    return ast.parse(check, mode="eval").body


def _evaluate(node: ast.expr, values: Sequence[Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _named(node.id, values)
        case ast.Attribute():
            return CONSTANTS[node.attr]
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_evaluate(node.operand, values))
        case ast.BinOp():
            return _arithmetic(node.op, _evaluate(node.left, values), _evaluate(node.right, values))
        case ast.BoolOp():
            return _connect(node, values)
        case ast.Compare():
            return _compare(node, values)
        case ast.Call():
            keywords = {keyword.arg or "": _evaluate(keyword.value, values) for keyword in node.keywords}
            arguments = [_evaluate(argument, values) for argument in node.args]
            return FUNCTIONS[_function_name(node.func)](*arguments, **keywords)
        case ast.List():
            return [_evaluate(item, values) for item in node.elts]
        case ast.Tuple():
            return tuple(_evaluate(item, values) for item in node.elts)
        case ast.Set():
            return {_evaluate(item, values) for item in node.elts}
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_evaluate(key, values): _evaluate(value, values) for key, value in pairs if key}
    raise TypeError(f"{type(node).__name__} is not in the language of comparisons")


def _named(name: str, values: Sequence[Any]) -> Any:
    if name.startswith("_"):
        return values[int(name[1:])]
    return TYPES[name] if name in TYPES else CONSTANTS[name]


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Pow):
        return left**right  # Of literals, see `_small`.
    are_numbers = all(isinstance(side, int | float | complex) for side in (left, right))
    # Of what is not a number only sums and differences: a product or a format could fill the memory.
    if not are_numbers and not (isinstance(op, ast.Add | ast.Sub) and type(left) is type(right)):
        raise TypeError("arithmetic on something that is not a number")
    return _ARITHMETIC[type(op)](left, right)


def _connect(node: ast.BoolOp, values: Sequence[Any]) -> Any:
    value: Any = None
    for part in node.values:
        value = _evaluate(part, values)
        if bool(value) != isinstance(node.op, ast.And):
            break
    return value


def _compare(node: ast.Compare, values: Sequence[Any]) -> bool:
    left = _evaluate(node.left, values)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _evaluate(comparator, values)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True
