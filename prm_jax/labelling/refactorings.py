"""Refactorings: other surface forms of the same step, which should change nothing that a test can see.

They balance the mutations: without them a reward model learns that unusual tokens are wrong. Each function takes
a `Code` and yields every edit of its kind; `operators.py` holds the table. Evaluation order, laziness and types
break some of them, so labelling executes each one. The examples use `f(a, b, n, xs, s)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prm_jax.labelling.splice import Code, Edit, all_names, local_names

INDENT = "    "
MIRRORED: dict[type[ast.cmpop], str] = {
    ast.Lt: ">",
    ast.LtE: ">=",
    ast.Gt: "<",
    ast.GtE: "<=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}


def rename_local(code: Code) -> Iterator[Edit]:
    """Give a local variable another name.

    Before::

        t = a + b
        return t

    After::

        value = a + b
        return value
    """
    taken = all_names(code.tree)
    fresh = [name for name in ("value", "acc", "item", "current") if name not in taken]
    for function in code.functions():
        if code.function_of(function) or any(isinstance(node, ast.JoinedStr) for node in ast.walk(function)):
            continue
        arguments = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg | ast.keyword)}
        for name in local_names(function):
            uses = [node for node in code.all(ast.Name) if node.id == name]
            if name not in arguments and all(_inside(code, use, function) for use in uses):
                for other in fresh[:2]:
                    yield _rename(code, uses, other)


def _inside(code: Code, node: ast.AST, function: ast.FunctionDef) -> bool:
    return code.function_of(node) is function


def _rename(code: Code, uses: list[ast.Name], name: str) -> Edit:
    places = sorted((code.start(use), code.end(use)) for use in uses)
    parts, at = [], places[0][0]
    for start, end in places:
        parts += [code.text[at:start], name]
        at = end
    return Edit(places[0][0], at, "".join(parts))


def swap_commutative(code: Code) -> Iterator[Edit]:
    """Exchange the sides of a sum or a product: ``return a + b`` becomes ``return b + a``."""
    for node in code.all(ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Mult) and not isinstance(node.left, ast.BinOp):
            yield code.replace(node, f"{code.operand(node.right)} {SYMBOLS[type(node.op)]} {code.operand(node.left)}")


def flip_comparison(code: Code) -> Iterator[Edit]:
    """Read a comparison from the other side: ``return a < b`` becomes ``return b > a``."""
    for node in code.all(ast.Compare):
        symbol = MIRRORED.get(type(node.ops[0]))
        if symbol and len(node.ops) == 1:
            left, right = code.operand(node.left), code.operand(node.comparators[0])
            yield code.replace(node, f"{right} {symbol} {left}")


def augmented_to_assignment(code: Code) -> Iterator[Edit]:
    """Spell an augmented assignment out: ``a += b`` becomes ``a = a + b``."""
    for node in code.all(ast.AugAssign):
        symbol = SYMBOLS.get(type(node.op))
        if symbol:
            target = code.source(node.target)
            yield code.replace(node, f"{target} = {target} {symbol} {code.operand(node.value)}")


def assignment_to_augmented(code: Code) -> Iterator[Edit]:
    """Shorten an assignment to itself: ``a = a + b`` becomes ``a += b``."""
    for node in code.all(ast.Assign):
        value = node.value
        if isinstance(value, ast.BinOp) and len(node.targets) == 1:
            target, symbol = code.source(node.targets[0]), SYMBOLS.get(type(value.op))
            if symbol and code.source(value.left) == target:
                yield code.replace(node, f"{target} {symbol}= {code.source(value.right)}")


def comprehension_to_loop(code: Code) -> Iterator[Edit]:
    """Write a list comprehension as a loop.

    Before::

        return [x + n for x in xs if x > a]

    After::

        result = []
        for x in xs:
            if x > a:
                result.append(x + n)
        return result
    """
    for node in code.all(ast.Return, ast.Assign):
        value = node.value
        if not isinstance(value, ast.ListComp) or not code.owns_lines(node):
            continue
        if isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name):
            continue
        name = "result" if isinstance(node, ast.Return) else code.source(node.targets[0])  # type: ignore[arg-type]
        reads = {read.id for read in ast.walk(value) if isinstance(read, ast.Name)}
        if name in reads or any(generator.is_async for generator in value.generators):
            continue
        yield code.replace(node, "\n".join(_loop(code, value, name, code.indent(node), isinstance(node, ast.Return))))


def _loop(code: Code, value: ast.ListComp, name: str, indent: str, returns: bool) -> Iterator[str]:
    yield f"{name} = []"
    depth = indent
    for generator in value.generators:
        yield f"{depth}for {code.source(generator.target).strip('()')} in {code.source(generator.iter)}:"
        depth += INDENT
        for test in generator.ifs:
            yield f"{depth}if {code.source(test)}:"
            depth += INDENT
    yield f"{depth}{name}.append({code.source(value.elt)})"
    if returns:
        yield f"{indent}return {name}"


def ternary_to_if(code: Code) -> Iterator[Edit]:
    """Write a conditional expression as a statement.

    Before::

        return a if a < b else b

    After::

        if a < b:
            return a
        else:
            return b
    """
    for node in code.all(ast.Return, ast.Assign):
        value = node.value
        if isinstance(value, ast.IfExp) and code.owns_lines(node):
            head = code.text[code.start(node) : code.start(value)]
            if head.rstrip().endswith(("return", "=")):
                indent = code.indent(node)
                yield code.replace(
                    node,
                    f"if {code.source(value.test)}:\n{indent}{INDENT}{head}{code.source(value.body)}\n"
                    f"{indent}else:\n{indent}{INDENT}{head}{code.source(value.orelse)}",
                )


def if_to_ternary(code: Code) -> Iterator[Edit]:
    """Write two branches as one conditional expression.

    Before::

        if a < b:
            return a
        else:
            return b

    After::

        return a if a < b else b
    """
    for node in code.all(ast.If):
        if len(node.body) != 1 or len(node.orelse) != 1 or code.is_elif(node) or code.is_elif(node.orelse[0]):
            continue
        heads = [_head(code, branch) for branch in (node.body[0], node.orelse[0])]
        if heads[0] and heads[1] and heads[0][0] == heads[1][0]:
            test = code.source(node.test)
            yield code.replace(node, f"{heads[0][0]}{heads[0][1]} if {test} else {heads[1][1]}")


def _head(code: Code, node: ast.stmt) -> tuple[str, str] | None:
    """What stands before the value of a return or an assignment, and the value."""
    if isinstance(node, ast.Return | ast.Assign) and node.value is not None:
        return code.text[code.start(node) : code.start(node.value)], code.source(node.value)
    return None


def negate_if_else(code: Code) -> Iterator[Edit]:
    """Negate a condition and exchange its branches.

    Before::

        if a < b:
            return a
        else:
            return b

    After::

        if not (a < b):
            return b
        else:
            return a
    """
    for node in code.all(ast.If):
        if not node.orelse or code.is_elif(node) or code.is_elif(node.orelse[0]):
            continue
        if not (code.owns_lines(node.body[0]) and code.owns_lines(node.orelse[0])):
            continue
        body = code.text[code.line_start(node.body[0]) : code.end(node.body[-1])]
        middle = code.text[code.end(node.body[-1]) : code.line_start(node.orelse[0])]
        orelse = code.text[code.line_start(node.orelse[0]) : code.end(node.orelse[-1])]
        colon = code.text[code.end(node.test) : code.line_start(node.body[0])]
        yield code.replace(node, f"if not ({code.source(node.test)}){colon}{orelse}{middle}{body}")


def extract_return(code: Code) -> Iterator[Edit]:
    """Name a result before it is returned.

    Before::

        return a + b

    After::

        result = a + b
        return result
    """
    for node in code.all(ast.Return):
        if node.value is not None and not isinstance(node.value, ast.Name | ast.Constant) and code.owns_lines(node):
            yield code.replace(node, f"result = {code.source(node.value)}\n{code.indent(node)}return result")


def inline_return(code: Code) -> Iterator[Edit]:
    """Return an expression without naming it first.

    Before::

        m = a + b
        return m

    After::

        return a + b
    """
    for block in code.blocks():
        for node, last in zip(block, block[1:], strict=False):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(last, ast.Return):
                name = node.targets[0]
                if isinstance(name, ast.Name) and isinstance(last.value, ast.Name) and name.id == last.value.id:
                    yield Edit(code.start(node), code.end(last), f"return {code.source(node.value)}")


def square(code: Code) -> Iterator[Edit]:
    """Exchange the two ways to write a square: ``return a * a`` becomes ``return a ** 2``."""
    for node in code.all(ast.BinOp):
        left, right = code.source(node.left), code.source(node.right)
        if isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Name) and left == right:
            yield code.replace(node, f"{left} ** 2")
        if isinstance(node.op, ast.Pow) and isinstance(node.left, ast.Name) and right == "2":
            yield code.replace(node, f"{left} * {left}")


def range_start(code: Code) -> Iterator[Edit]:
    """Write the start of a range, or leave it out: ``return list(range(n))`` becomes ``return list(range(0, n))``."""
    for node in code.all(ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "range":
            if len(node.args) == 1:
                yield code.replace(node.args[0], f"0, {code.source(node.args[0])}")
            elif len(node.args) == 2 and code.source(node.args[0]) == "0":
                yield Edit(code.start(node.args[0]), code.start(node.args[1]), "")


def parenthesise(code: Code) -> Iterator[Edit]:
    """Put an expression in parentheses: ``return a + b`` becomes ``return (a + b)``."""
    for node in code.all(ast.Return, ast.Assign, ast.AugAssign):
        if isinstance(node.value, ast.BinOp | ast.Compare | ast.BoolOp | ast.IfExp | ast.Call):
            yield code.replace(node.value, f"({code.source(node.value)})")


def add_comment(code: Code) -> Iterator[Edit]:
    """Remark on a line: ``return a + b`` becomes ``return a + b  # the result``."""
    for node in code.all(ast.Return, ast.Assign, ast.AugAssign):
        if code.owns_lines(node) and "#" not in code.text[code.end(node) : code.line_end(node)]:
            remark = "the result" if isinstance(node, ast.Return) else "next value"
            yield Edit(code.end(node), code.end(node), f"  # {remark}")
