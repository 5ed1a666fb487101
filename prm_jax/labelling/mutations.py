"""Mutations of expressions: mistakes of one token or one operand, as programmers and language models make them.

Each function takes a `Code` and yields every edit of its kind; `operators.py` holds the table. An edit is not
known to break the program: labelling executes each mutant. The examples use `f(a, b, n, xs, s)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prm_jax.labelling.splice import Code, Edit, all_names, local_names

COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">=")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<=")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.In: ("in", ("not in",)),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, tuple[str, ...]]] = {
    ast.Add: ("+", ("-", "*")),
    ast.Sub: ("-", ("+",)),
    ast.Mult: ("*", ("+", "**")),
    ast.Mod: ("%", ("//",)),
    ast.FloorDiv: ("//", ("%", "*")),
    ast.Pow: ("**", ("*",)),
}
CALLS: dict[str, tuple[str, ...]] = {
    "append": ("extend", "insert"),
    "extend": ("append",),
    "max": ("min",),
    "min": ("max",),
    "sum": ("len", "max"),
    "len": ("sum",),
    "sorted": ("list", "reversed"),
    "reversed": ("sorted",),
    "sort": ("reverse",),
    "set": ("list",),
    "any": ("all",),
    "all": ("any",),
    "add": ("discard",),
    "int": ("str", "float"),
    "str": ("int", "repr"),
    "abs": ("int",),
    "upper": ("lower", "title"),
    "lower": ("upper",),
    "startswith": ("endswith",),
    "endswith": ("startswith",),
    "isdigit": ("isalpha",),
    "isalpha": ("isdigit",),
    "find": ("rfind", "count"),
    "count": ("index",),
    "strip": ("split",),
    "keys": ("values",),
    "values": ("keys",),
    "items": ("keys",),
    "pop": ("remove",),
    "floor": ("ceil",),
    "ceil": ("floor",),
}


def comparison_swap(code: Code) -> Iterator[Edit]:
    """Compare with the neighbouring or the opposite relation: ``return a < b`` becomes ``return a <= b``."""
    for node in code.all(ast.Compare):
        left = node.left
        for operation, right in zip(node.ops, node.comparators, strict=True):
            symbol, others = COMPARISONS.get(type(operation), ("", ()))
            for other in others:
                yield from code.replace_between(left, right, symbol, other)
            left = right


def arithmetic_swap(code: Code) -> Iterator[Edit]:
    """Compute with another operator: ``return a + b`` becomes ``return a - b``."""
    for left, operation, right in _arithmetic(code):
        symbol, others = ARITHMETIC.get(type(operation), ("", ()))
        for other in others:
            yield from code.replace_between(left, right, symbol, other)


def division_swap(code: Code) -> Iterator[Edit]:
    """Exchange integer and true division: ``return a // b`` becomes ``return a / b``."""
    for left, operation, right in _arithmetic(code):
        if isinstance(operation, ast.FloorDiv):
            yield from code.replace_between(left, right, "//", "/")
        if isinstance(operation, ast.Div):
            yield from code.replace_between(left, right, "/", "//")


def _arithmetic(code: Code) -> Iterator[tuple[ast.expr, ast.operator, ast.expr]]:
    for node in code.all(ast.BinOp, ast.AugAssign):
        if isinstance(node, ast.BinOp):
            yield node.left, node.op, node.right
        else:
            yield node.target, node.op, node.value


def swapped_operands(code: Code) -> Iterator[Edit]:
    """Exchange the sides of an operator that does not commute: ``return a - b`` becomes ``return b - a``."""
    for node in code.all(ast.BinOp):
        if isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow):
            yield code.swap(node.left, node.right)


def swapped_arguments(code: Code) -> Iterator[Edit]:
    """Exchange neighbouring arguments of a call: ``return pow(a, b)`` becomes ``return pow(b, a)``."""
    for node in code.all(ast.Call):
        for left, right in zip(node.args, node.args[1:], strict=False):
            yield code.swap(left, right)


def off_by_one(code: Code) -> Iterator[Edit]:
    """Move the bound of a range, a slice or an index by one: ``return xs[:n]`` becomes ``return xs[:n + 1]``."""
    for bound in _bounds(code):
        if isinstance(bound, ast.Constant) and type(bound.value) is int:
            yield code.replace(bound, str(bound.value + 1))
            yield code.replace(bound, str(bound.value - 1))
        elif isinstance(bound, ast.BinOp) and _is_one(bound.right) and isinstance(bound.op, ast.Add | ast.Sub):
            yield code.replace(bound, code.source(bound.left))
        else:
            yield code.replace(bound, f"{code.operand(bound)} + 1")
            yield code.replace(bound, f"{code.operand(bound)} - 1")


def _bounds(code: Code) -> Iterator[ast.expr]:
    for node in code.all(ast.Call, ast.Slice, ast.Subscript):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            yield from (node.args[:2])
        elif isinstance(node, ast.Slice):
            yield from (bound for bound in (node.lower, node.upper) if bound)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant | ast.BinOp):
            yield node.slice


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value == 1


def integer_change(code: Code) -> Iterator[Edit]:
    """Write another number: ``return a * 2`` becomes ``return a * 3``."""
    bounds = set(_bounds(code))
    for node in code.all(ast.Constant):
        if type(node.value) is int and node not in bounds:
            for value in (node.value + 1, node.value - 1):
                yield code.replace(node, str(value) if value >= 0 else f"({value})")


def string_change(code: Code) -> Iterator[Edit]:
    """Write another string: ``return s.split(",")`` becomes ``return s.split(" ")``."""
    for node in code.all(ast.Constant):
        in_expression = not isinstance(code.parent[node], ast.Expr | ast.JoinedStr)
        if isinstance(node.value, str) and in_expression and len(node.value) <= 3:
            yield code.replace(node, '" "' if node.value != " " else '""')
            if node.value:
                yield code.replace(node, '""')


def wrong_variable(code: Code) -> Iterator[Edit]:
    """Read another variable that is bound by then: ``return a + b`` becomes ``return a + a``."""
    scopes = {function: local_names(function) for function in code.functions()}
    for node in code.all(ast.Name):
        function = code.function_of(node)
        if function is None or not isinstance(node.ctx, ast.Load) or node.id not in scopes[function]:
            continue
        for name, line in scopes[function].items():
            if name != node.id and line < node.lineno:
                yield code.replace(node, name)


def wrong_return(code: Code) -> Iterator[Edit]:
    """Return some other variable: ``return a + b`` becomes ``return b``."""
    for node in code.all(ast.Return):
        function = code.function_of(node)
        if node.value is None or function is None:
            continue
        for name, line in local_names(function).items():
            if line < node.lineno:
                yield code.replace(node.value, name)


def wrong_start(code: Code) -> Iterator[Edit]:
    """Start an accumulator from another value: ``m = 0`` becomes ``m = 1``."""
    others = {"0": ("1", "-1"), "1": ("0",), "[]": ("[0]", "None"), '""': ('" "',), "''": ("' '",), "{}": ("[]",)}
    others |= {"True": ("False",), "False": ("True",), "None": ("0",), "set()": ("[]",)}
    for node in code.all(ast.Assign):
        value = node.value
        for other in others.get(code.source(value), ()):
            yield code.replace(value, other)
        if isinstance(value, ast.Subscript) and isinstance(node.targets[0], ast.Name):
            yield code.replace(value, "0")


def negated_condition(code: Code) -> Iterator[Edit]:
    """Ask for the opposite: ``return a if a < b else b`` becomes ``return a if not a < b else b``."""
    for node in code.all(ast.If, ast.While, ast.IfExp, ast.comprehension):
        for test in node.ifs if isinstance(node, ast.comprehension) else [node.test]:
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                yield code.replace(test, code.source(test.operand))
            else:
                plain = isinstance(test, ast.Name | ast.Call | ast.Compare | ast.Subscript)
                yield code.replace(test, f"not {code.source(test)}" if plain else f"not ({code.source(test)})")


def and_or_swap(code: Code) -> Iterator[Edit]:
    """Exchange `and` and `or`: ``return a > n and b > n`` becomes ``return a > n or b > n``."""
    for node in code.all(ast.BoolOp):
        old, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from code.replace_between(left, right, old, other)


def wrong_call(code: Code) -> Iterator[Edit]:
    """Call the wrong builtin or method: ``return max(xs)`` becomes ``return min(xs)``."""
    for node in code.all(ast.Call):
        function = node.func
        name = getattr(function, "id", getattr(function, "attr", ""))
        for other in CALLS.get(name, ()):
            if isinstance(function, ast.Name | ast.Attribute):
                end = code.end(function)
                yield Edit(end - len(name), end, other)


def misspelt_name(code: Code) -> Iterator[Edit]:
    """Misspell a variable: ``return a + b`` becomes ``return a + b1``."""
    taken = all_names(code.tree)
    for node in code.all(ast.Name):
        if isinstance(node.ctx, ast.Load):
            wrong = node.id[:-1] if len(node.id) > 3 else f"{node.id}1"
            if wrong.isidentifier() and wrong not in taken:
                yield code.replace(node, wrong)


def unbalanced_bracket(code: Code) -> Iterator[Edit]:
    """Forget a closing bracket: ``return max(xs)`` becomes ``return max(xs``."""
    for node in code.all(ast.Call, ast.Subscript, ast.List, ast.ListComp):
        end = code.end(node)
        if code.text[end - 1] in ")]":
            yield Edit(end - 1, end, "")
