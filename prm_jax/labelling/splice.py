"""Edits of program text by position, and the view of a program in which operators look for them.

An operator takes a `Code` and gives `Edit`s; `apply` splices one into the text. Only the edited span changes,
so comments, formatting and the bytes of every other line stay as they were.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

Positioned = ast.expr | ast.stmt


@dataclasses.dataclass(frozen=True)
class Edit:
    """Replace the characters `[start, end)` of a text by `replacement`."""

    start: int
    end: int
    replacement: str


def apply(text: str, edit: Edit) -> str:
    """The text after the edit."""
    return text[: edit.start] + edit.replacement + text[edit.end :]


@dataclasses.dataclass(frozen=True)
class Operator:
    """One kind of edit; the docstring of `find` shows it before and after.

    Attributes:
      name: its name in tables, rows and reports.
      find: yields every edit of this kind in a program.
    """

    name: str
    find: Callable[[Code], Iterator[Edit]]

    def edits(self, source: str) -> Iterator[Edit]:
        """Every edit of this kind in `source`; none where it does not parse."""
        code = parse(source)
        if code is not None:
            yield from (edit for edit in self.find(code) if source[edit.start : edit.end] != edit.replacement)


@functools.lru_cache(maxsize=64)
def parse(source: str) -> Code | None:
    """The program as operators see it; None where Python cannot parse it."""
    try:
        return Code(source, ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class Code:
    """A parsed program: its nodes in the order of the text, their positions, and who holds whom."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.tree = tree
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self.parent: dict[ast.AST, ast.AST] = {}
        self._nodes: list[ast.AST] = []
        for child in tree.body:
            if not isinstance(child, ast.Import | ast.ImportFrom):
                self._collect(child, tree)

    def _collect(self, node: ast.AST, parent: ast.AST) -> None:
        self.parent[node] = parent
        self._nodes.append(node)
        if isinstance(node, ast.JoinedStr):
            return  # Python 3.11 gives the parts of an f-string wrong positions.
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self._collect(child, node)

    def all(self, *kinds: type[ast.AST]) -> Iterator[Any]:
        """Every node of these types, outside imports, annotations, decorators and f-strings."""
        return (node for node in self._nodes if isinstance(node, kinds))

    def functions(self) -> Iterator[ast.FunctionDef]:
        """Every function, outer ones first."""
        return self.all(ast.FunctionDef)

    def function_of(self, node: ast.AST) -> ast.FunctionDef | None:
        """The innermost function that holds a node."""
        while node in self.parent:
            node = self.parent[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds a node, itself included."""
        while not isinstance(node, ast.stmt):
            node = self.parent[node]
        return node

    def blocks(self) -> Iterator[list[ast.stmt]]:
        """Every indented block of statements, without its docstring."""
        for node in self.all(ast.stmt):
            for field in ("body", "orelse", "finalbody"):
                block = getattr(node, field, None)
                if block and not self._is_elif(node, field, block):
                    yield block[1:] if _is_docstring(node, block[0]) else block

    def _is_elif(self, node: ast.stmt, field: str, block: list[ast.stmt]) -> bool:
        return field == "orelse" and isinstance(node, ast.If) and self.is_elif(block[0])

    def is_elif(self, node: ast.stmt) -> bool:
        """Whether an `if` is spelt `elif`."""
        return isinstance(node, ast.If) and self.text.startswith("elif", self.start(node))

    def offset(self, line: int, column: int) -> int:
        """Character offset of a 1-based line and a column in UTF-8 bytes."""
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode()[:column].decode())
        return self._starts[line - 1] + column

    def start(self, node: Positioned) -> int:
        """Offset of a node's first character."""
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: Positioned) -> int:
        """Offset behind a node's last character."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)

    def source(self, node: Positioned) -> str:
        """The text of a node."""
        return self.text[self.start(node) : self.end(node)]

    def line_start(self, node: Positioned) -> int:
        """Offset of the start of a node's first line."""
        return self._starts[node.lineno - 1]

    def line_end(self, node: Positioned) -> int:
        """Offset behind the newline of a node's last line."""
        assert node.end_lineno is not None
        return min(self._starts[node.end_lineno], len(self.text))

    def indent(self, node: ast.stmt) -> str:
        """The white space before a statement."""
        return self.text[self.line_start(node) : self.start(node)]

    def owns_lines(self, node: ast.stmt) -> bool:
        """Whether nothing but white space and a comment shares the lines of a statement."""
        before = self.indent(node)
        after = self.text[self.end(node) : self.line_end(node)].strip()
        return not before.strip() and (not after or after.startswith("#"))

    def replace(self, node: Positioned, replacement: str) -> Edit:
        """The edit that puts a text in a node's place."""
        return Edit(self.start(node), self.end(node), replacement)

    def replace_between(self, left: Positioned, right: Positioned, old: str, new: str) -> Iterator[Edit]:
        """The edit that replaces an operator's symbol between two neighbouring nodes."""
        start = self.end(left)
        at = self.text.find(old, start, self.start(right))
        if at >= 0:
            yield Edit(at, at + len(old), new)

    def swap(self, left: Positioned, right: Positioned) -> Edit:
        """The edit that exchanges two nodes, the first of which stands earlier in the text."""
        between = self.text[self.end(left) : self.start(right)]
        return Edit(self.start(left), self.end(right), self.source(right) + between + self.source(left))

    def operand(self, node: ast.expr) -> str:
        """The text of an expression, in parentheses unless it is an atom."""
        atom = ast.Name | ast.Constant | ast.Call | ast.Subscript | ast.Attribute | ast.List | ast.Dict | ast.ListComp
        return self.source(node) if isinstance(node, atom) else f"({self.source(node)})"


def _is_docstring(node: ast.stmt, first: ast.stmt) -> bool:
    return (
        isinstance(node, ast.FunctionDef | ast.ClassDef)
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def local_names(function: ast.FunctionDef) -> dict[str, int]:
    """Each parameter and local variable of a function, with the first line that binds it."""
    arguments = function.args
    names = {
        argument.arg: function.lineno for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = min(node.lineno, names.get(node.id, node.lineno))
    return names


def all_names(tree: ast.AST) -> set[str]:
    """Every identifier of a program."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
