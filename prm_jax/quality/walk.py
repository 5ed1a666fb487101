"""One walk over a program: a text in, `Facts` out, or `Broken` where there is no program.

Called once per program by `integrity.py` and `constraints.py`. A walk of our own, and not `symtable`: the measures need
the positions of names, and one pass of Python costs less than the objects of two libraries.
"""

from __future__ import annotations

import ast
import warnings
from typing import Any

from prm_jax.quality.expressions import ExpressionWalker, all_arguments
from prm_jax.quality.facts import Broken, Definition, Facts, FunctionFacts


def walk(text: str) -> Facts | Broken:
    """Parses a program and walks it once; any string is welcome."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Invalid escapes in other people's strings.
        try:
            walker = _Walker(ast.parse(text))
            walker.run()
        except SyntaxError as error:
            return Broken(error.lineno or 1, error.msg)
        except (ValueError, RecursionError, MemoryError) as error:
            return Broken(1, str(error) or type(error).__name__)
    return walker.facts


_JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_EFFECTLESS = (ast.Name, ast.Constant, ast.Compare, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.List, ast.Tuple, ast.Dict)
_EFFECTS = (ast.Call, ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom)
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)
_SIMPLE_STORES = (ast.Assign, ast.AnnAssign)


class _Walker(ExpressionWalker):
    """Walks one tree."""

    def __init__(self, tree: ast.Module) -> None:
        super().__init__(tree)
        self.tries = 0  # Bodies of `try` and `with` of this function around the node.

    def run(self) -> None:
        self.facts.functions.append(self.function)
        self.block(self.facts.tree.body)
        for scope in self.facts.scopes:
            for name, line in scope.loads.items():
                found = scope.lookup(name)
                if found is None:
                    self.facts.unresolved.append((name, line))
                    continue
                found.used.add(name)
                if found is not scope:
                    found.captured.add(name)

    # Definitions.

    def definition(self, node: Definition) -> None:
        """A function: its name where it stands, its body in a scope and with counts of its own."""
        self.scope.bind(node.name, "def", node.lineno)
        if not node.decorator_list:
            self.scope.functions[node.name] = node
        self.children(node, ("decorator_list",))
        self.defaults(node.args)
        for arg in all_arguments(node.args):
            self.annotation(arg.annotation)
        self.annotation(node.returns)
        kept = self.scope, self.function, self.level, self.nesting, self.tries
        self.nesting += 1 if self.scope.kind == "function" else 0
        self.scope, self.function = self.open("function", self.scope), FunctionFacts(node.name, node.lineno)
        self.level = self.tries = 0
        self.facts.functions.append(self.function)
        self.arguments(node.args, "argument")
        self.block(node.body)
        self.scope, self.function, self.level, self.nesting, self.tries = kept

    def class_(self, node: ast.ClassDef) -> None:
        self.scope.bind(node.name, "class", node.lineno)
        self.children(node, ("decorator_list", "bases", "keywords"))
        outer = self.scope
        self.scope = self.open("class", outer)
        self.block(node.body)
        self.scope = outer

    # Statements.

    def block(self, body: list[ast.stmt]) -> None:
        """A list of statements: counts them, and finds those that cannot run or are overwritten unread."""
        pending: dict[str, int] = {}
        ended = False
        for index, node in enumerate(body):
            kind = type(node)
            if ended:
                self.facts.unreachable.append(node.lineno)
                ended = False
            if kind is ast.Expr and self.idle(node, index):
                continue
            self.function.statements += 1
            self.recent.clear()
            self.visit(node)
            if kind in _COMPOUND or isinstance(node, Definition | ast.ClassDef):
                pending.clear()
            else:
                self.overwrites(node, pending)
            ended = isinstance(node, _JUMPS) or _is_endless(node)

    def idle(self, node: Any, index: int) -> bool:
        """Whether an expression statement is a docstring; one without effect is noted."""
        value = node.value
        if isinstance(value, ast.Constant) and (value.value is Ellipsis or type(value.value) is str):
            return index == 0 or value.value is Ellipsis
        if isinstance(value, _EFFECTLESS) and not any(isinstance(part, _EFFECTS) for part in ast.walk(value)):
            self.facts.idle.append(node.lineno)
        return False

    def overwrites(self, node: ast.stmt, pending: dict[str, int]) -> None:
        for name in self.recent:
            pending.pop(name, None)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            pending.pop(node.target.id, None)
        if not isinstance(node, _SIMPLE_STORES) or self.tries or node.value is None:
            return
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                if target.id in pending:
                    self.facts.overwritten.append((self.scope, target.id, pending[target.id]))
                pending[target.id] = node.lineno

    def assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.store(target)

    def store(self, target: ast.expr) -> None:
        if type(target) is ast.Name:
            self.scope.bind(target.id, "assign", target.lineno)
        else:
            self.visit(target)

    def ann_assign(self, node: ast.AnnAssign) -> None:
        self.annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)
        self.store(node.target)

    def aug_assign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        self.store(node.target)

    def nested(self, node: ast.AST, fields: tuple[str, ...]) -> None:
        """Blocks one level deeper."""
        self.level += 1
        self.nesting += 1
        for field in fields:
            self.block(getattr(node, field))
        self.level -= 1
        self.nesting -= 1

    def deeper(self, node: Any) -> None:
        if self.level:
            self.facts.deep.append((node.lineno, self.level + 1))

    def if_(self, node: ast.If, is_elif: bool = False) -> None:
        """A branch; an `elif` goes on at the level of its `if`, as it is read."""
        self.function.cyclomatic += 1
        self.function.cognitive += 1 if is_elif else 1 + self.nesting
        if not is_elif:
            self.deeper(node)
        if isinstance(node.test, ast.Constant) and not node.test.value:
            self.facts.unreachable.append(node.body[0].lineno)
        self.visit(node.test)
        self.nested(node, ("body",))
        rest = node.orelse
        # `elif` is an `if` alone in an `else`, at the column of its own `if`.
        if len(rest) == 1 and isinstance(rest[0], ast.If) and rest[0].col_offset == node.col_offset:
            self.function.statements += 1
            self.if_(rest[0], is_elif=True)
        elif rest:
            self.function.cognitive += 1
            self.nested(node, ("orelse",))

    def loop(self, node: Any) -> None:
        """A `for` or a `while`; its `else` counts as nested, as its body does."""
        self.function.cyclomatic += 1
        self.function.cognitive += 1 + self.nesting
        self.deeper(node)
        if isinstance(node, ast.While):
            if isinstance(node.test, ast.Constant) and not node.test.value:
                self.facts.unreachable.append(node.body[0].lineno)
            self.visit(node.test)
        else:
            self.visit(node.iter)
            self.visit(node.target)
        self.nested(node, ("body", "orelse"))

    def with_(self, node: Any) -> None:
        self.deeper(node)
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.visit(item.optional_vars)
        self.level += 1  # A level for the reader, none for cognitive complexity.
        self.tries += 1  # A context manager may swallow exceptions too.
        self.block(node.body)
        self.tries -= 1
        self.level -= 1

    def try_(self, node: Any) -> None:
        """A `try`: its body may be left anywhere, each handler is a way of its own."""
        self.deeper(node)
        self.level += 1
        self.tries += 1
        self.block(node.body)
        self.tries -= 1
        for handler in node.handlers:
            self.facts.handlers.append(handler)
            self.function.cyclomatic += 1
            self.function.cognitive += 1 + self.nesting
            if handler.type is not None:
                self.visit(handler.type)
            if handler.name:
                self.scope.bind(handler.name, "except", handler.lineno)
            self.nesting += 1
            self.block(handler.body)
            self.nesting -= 1
        self.block(node.orelse)
        self.block(node.finalbody)
        self.level -= 1

    def match(self, node: ast.Match) -> None:
        """A `match`: each case is a way of its own, and its pattern binds names."""
        self.deeper(node)
        self.function.cognitive += 1 + self.nesting
        self.visit(node.subject)
        for case in node.cases:
            self.function.cyclomatic += 1
            for part in ast.walk(case.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(name, str):
                    self.scope.bind(name, "target", case.pattern.lineno)
                elif isinstance(part, ast.expr):
                    self.visit(part)
            if case.guard is not None:
                self.visit(case.guard)
            self.nested(case, ("body",))

    def import_(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.facts.imports.append((alias.name, "", node.lineno))
            self.scope.bind_import(name, node.lineno, alias.name if alias.asname else name)

    def import_from(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            self.facts.imports.append((module, alias.name, node.lineno))
            if alias.name != "*":
                self.scope.bind_import(alias.asname or alias.name, node.lineno, f"{module}.{alias.name}")

    def outer_names(self, node: Any) -> None:
        for name in node.names:
            self.scope.bind(name, "global", node.lineno)
            if isinstance(node, ast.Global):
                self.facts.scopes[0].bind(name, "target", node.lineno)


def _is_endless(node: ast.stmt) -> bool:
    """`while True` without a `break` of its own."""
    if not (isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value):
        return False
    pending: list[ast.AST] = list(node.body)
    while pending:
        part = pending.pop()
        if isinstance(part, ast.Break):
            return False
        if not isinstance(part, ast.For | ast.AsyncFor | ast.While | Definition | ast.ClassDef | ast.expr):
            pending.extend(ast.iter_child_nodes(part))
        elif isinstance(part, ast.For | ast.AsyncFor | ast.While):
            pending.extend(part.orelse)  # A `break` there leaves the outer loop.
    return True


_Walker.handlers = {
    **ExpressionWalker.handlers,
    ast.FunctionDef: _Walker.definition,
    ast.AsyncFunctionDef: _Walker.definition,
    ast.ClassDef: _Walker.class_,
    ast.Assign: _Walker.assign,
    ast.AnnAssign: _Walker.ann_assign,
    ast.AugAssign: _Walker.aug_assign,
    ast.If: _Walker.if_,
    **dict.fromkeys((ast.For, ast.AsyncFor, ast.While), _Walker.loop),
    **dict.fromkeys((ast.With, ast.AsyncWith), _Walker.with_),
    **dict.fromkeys((ast.Try, ast.TryStar), _Walker.try_),
    ast.Match: _Walker.match,
    ast.Import: _Walker.import_,
    ast.ImportFrom: _Walker.import_from,
    **dict.fromkeys((ast.Global, ast.Nonlocal), _Walker.outer_names),
}
