"""Mutations of statements: lines lost, moved by an indentation, or cut short; state that is shared by mistake.

Each function takes a `Code` and yields every edit of its kind; `operators.py` holds the table. An edit is not
known to break the program: labelling executes each mutant. The examples use `f(a, b, n, xs, s)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prm_jax.labelling.splice import Code, Edit

INDENT = "    "


def augmented_to_plain(code: Code) -> Iterator[Edit]:
    """Overwrite instead of accumulate: ``m += b`` becomes ``m = b``."""
    for node in code.all(ast.AugAssign):
        between = code.text[code.end(node.target) : code.start(node.value)]
        if "=" in between:
            yield Edit(code.end(node.target), code.start(node.value), " = ")


def deleted_statement(code: Code) -> Iterator[Edit]:
    """Lose a line.

    Before::

        a = a + b
        return a

    After::

        return a
    """
    for block in code.blocks():
        for node in block:
            if isinstance(node, ast.Pass | ast.FunctionDef | ast.If | ast.For | ast.While | ast.Try | ast.With):
                continue
            if code.owns_lines(node):
                if len(block) == 1:
                    yield code.replace(node, "pass")
                else:
                    yield Edit(code.line_start(node), code.line_end(node), "")


def swapped_statements(code: Code) -> Iterator[Edit]:
    """Do two things in the wrong order.

    Before::

        a = a + b
        a = a * n
        return a

    After::

        a = a * n
        a = a + b
        return a
    """
    simple = ast.Assign | ast.AugAssign | ast.Expr
    for block in code.blocks():
        for left, right in zip(block, block[1:], strict=False):
            if isinstance(left, simple) and isinstance(right, simple) and code.owns_lines(left):
                yield code.swap(left, right)


def dropped_filter(code: Code) -> Iterator[Edit]:
    """Forget a comprehension's condition: ``return [x for x in xs if x > 4]`` becomes ``return [x for x in xs]``."""
    for node in code.all(ast.comprehension):
        for before, test in zip([node.iter, *node.ifs], node.ifs, strict=False):
            if code.text[code.end(before) : code.start(test)].strip() == "if":
                yield Edit(code.end(before), code.end(test), "")


def missing_return(code: Code) -> Iterator[Edit]:
    """Compute the result and do not return it: ``return a + b`` becomes ``a + b``."""
    for node in code.all(ast.Return):
        if node.value is not None:
            yield code.replace(node, code.source(node.value))


def early_return(code: Code) -> Iterator[Edit]:
    """Return in the first round of a loop.

    Before::

        m = 0
        for x in xs:
            m += x
        return m

    After::

        m = 0
        for x in xs:
            m += x
            return m
    """
    for block in code.blocks():
        for loop, node in zip(block, block[1:], strict=False):
            ends = isinstance(loop, ast.For | ast.While) and not loop.orelse and isinstance(node, ast.Return)
            if ends and code.owns_lines(node):
                yield Edit(code.line_start(node), code.line_start(node), INDENT)


def dedented_statement(code: Code) -> Iterator[Edit]:
    """Let the last line of a block slip out of it.

    Before::

        m = 0
        for x in xs:
            m += x
            m += n
        return m

    After::

        m = 0
        for x in xs:
            m += x
        m += n
        return m
    """
    for outer in code.all(ast.For, ast.While, ast.If):
        if len(outer.body) < 2 or outer.orelse:
            continue
        last = outer.body[-1]
        if code.owns_lines(last) and last.lineno == last.end_lineno:
            yield Edit(code.line_start(last), code.start(last), code.indent(outer))


def lost_base_case(code: Code) -> Iterator[Edit]:
    """Forget the case that ends a function early.

    Before::

        if n < 1:
            return 0
        return a // n

    After::

        return a // n
    """
    for block in code.blocks():
        for node in block[:-1]:
            if not isinstance(node, ast.If) or node.orelse or code.is_elif(node):
                continue
            if isinstance(node.body[-1], ast.Return | ast.Raise) and code.owns_lines(node):
                yield Edit(code.line_start(node), code.line_end(node), "")


def aliased_copy(code: Code) -> Iterator[Edit]:
    """Give a list a second name in place of a copy.

    Before::

        m = list(xs)
        m.append(n)
        return xs, m

    After::

        m = xs
        m.append(n)
        return xs, m
    """
    for node in code.all(ast.Assign, ast.AnnAssign):
        match node.value:
            case ast.Call(func=ast.Name(id="list" | "dict" | "set"), args=[ast.Name() as original], keywords=[]):
                yield code.replace(node.value, original.id)
            case ast.Call(func=ast.Attribute(value=ast.Name() as original, attr="copy"), args=[], keywords=[]):
                yield code.replace(node.value, original.id)
            case ast.Call(func=ast.Attribute(attr="copy" | "deepcopy"), args=[ast.Name() as original], keywords=[]):
                yield code.replace(node.value, original.id)
            case ast.Subscript(value=ast.Name() as original, slice=ast.Slice(lower=None, upper=None, step=None)):
                yield code.replace(node.value, original.id)


def mutable_default(code: Code) -> Iterator[Edit]:
    """Start an accumulator once for all calls, as the default of a parameter.

    Before::

        def gather(x):
            found = []
            found.append(x)
            return found
        gather(a)
        return gather(b)

    After::

        def gather(x, found=[]):
            found.append(x)
            return found
        gather(a)
        return gather(b)
    """
    for function in code.functions():
        given = function.args
        if not given.args or given.vararg or given.kwonlyargs or given.kwarg:
            continue
        taken = {each.arg for each in given.posonlyargs + given.args}
        last: list[ast.arg | ast.expr] = [given.args[-1], *given.defaults]
        end = max(code.offset(*_end(node)) for node in last)
        for node in function.body[:-1]:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=[]) | ast.Dict(keys=[])) if (
                    name not in taken and code.owns_lines(node)
                ):
                    between = code.text[end : code.line_start(node)]
                    start = f", {name}={code.source(node.value)}"
                    yield Edit(end, code.line_end(node), start + between)


def _end(node: ast.arg | ast.expr) -> tuple[int, int]:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def broken_indentation(code: Code) -> Iterator[Edit]:
    """Indent a line by one space too many.

    Before::

        a = a + b
        return a

    After::

        a = a + b
         return a
    """
    for block in code.blocks():
        for node in block[1:]:
            if code.owns_lines(node):
                yield Edit(code.line_start(node), code.line_start(node), " ")


def missing_colon(code: Code) -> Iterator[Edit]:
    """Forget the colon of a header.

    Before::

        if a < b:
            return a
        return b

    After::

        if a < b
            return a
        return b
    """
    for node in code.all(ast.If, ast.While, ast.For):
        last = node.iter if isinstance(node, ast.For) else node.test
        at = code.text.find(":", code.end(last), code.start(node.body[0]))
        if at >= 0:
            yield Edit(at, at + 1, "")
