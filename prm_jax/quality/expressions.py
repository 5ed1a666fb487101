"""The part of the walk that goes through expressions; `walk.py` adds definitions and statements.

Notes what is read, called and written as a literal, opens the scopes of comprehensions and lambdas, and counts what
expressions add to complexity.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from prm_jax.quality.facts import Facts, FunctionFacts, Scope

# fmt: off
_NOT_NODES = frozenset({
    "arg", "asname", "attr", "conversion", "ctx", "id", "is_async", "kind", "kwd_attrs", "level", "module", "name",
    "names", "op", "ops", "rest", "simple", "type_comment",
})
# fmt: on
_NODE_FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(field for field in kind._fields if field not in _NOT_NODES)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
_NODE_FIELDS[ast.Constant] = ()
_NODE_FIELDS[ast.keyword] = ("value",)
_LITERALS = (int, float, complex, str, bytes)


class ExpressionWalker:
    """Walks expressions.

    Attributes:
      facts: what was found.
      scope: that of the node at hand.
      function: likewise.
      level: compound statements of this function around the node.
      nesting: the same as cognitive complexity counts it.
      recent: names read since the statement at hand began.
    """

    handlers: dict[type, Callable[[Any, Any], None]] = {}

    def __init__(self, tree: ast.Module) -> None:
        """A walker of one tree."""
        self.facts = Facts(tree)
        self.scope = self.open("module", None)
        self.function = FunctionFacts("module", 1)
        self.level = 0
        self.nesting = 0
        self.recent: set[str] = set()

    def open(self, kind: str, parent: Scope | None) -> Scope:
        """A scope, noted; the caller enters it."""
        scope = Scope(kind, parent)
        self.facts.scopes.append(scope)
        return scope

    def visit(self, node: ast.AST) -> None:
        """Walks a node: by its own handler, or all its children."""
        kind = type(node)
        handler = self.handlers.get(kind)
        if handler is not None:
            handler(self, node)
        else:
            self.children(node, _NODE_FIELDS[kind])

    def children(self, node: ast.AST, fields: tuple[str, ...]) -> None:
        """Walks the nodes in some fields."""
        visit = self.visit
        for field in fields:
            value = getattr(node, field, None)
            if type(value) is list:
                for item in value:
                    if item is not None:
                        visit(item)
            elif value is not None:
                visit(value)

    def name(self, node: ast.Name) -> None:
        """A reading, or a target that is not the whole left side of an assignment."""
        if type(node.ctx) is ast.Store:
            self.scope.bind(node.id, "brief" if self.scope.kind == "brief" else "target", node.lineno)
        else:
            self.recent.add(node.id)
            self.scope.loads.setdefault(node.id, node.lineno)

    def constant(self, node: ast.Constant) -> None:
        """A literal."""
        if type(node.value) in _LITERALS:
            self.facts.literals.append(node)

    def call(self, node: ast.Call) -> None:
        """A call, perhaps of the function that it stands in."""
        self.facts.calls.append((node, self.scope))
        if type(node.func) is ast.Name and node.func.id == self.function.name and not self.function.recursive:
            self.function.recursive = True
            self.function.cognitive += 1
        self.children(node, ("func", "args", "keywords"))

    def attribute(self, node: ast.Attribute) -> None:
        """`name.attribute` or deeper; the attribute of a longer expression is not noted."""
        if isinstance(node.value, ast.Name | ast.Attribute):
            self.facts.attributes.append((node, self.scope))
        self.visit(node.value)

    def bool_op(self, node: ast.BoolOp) -> None:
        """A run of `and` or of `or`."""
        self.function.cyclomatic += len(node.values) - 1
        self.function.cognitive += 1
        self.children(node, ("values",))

    def conditional(self, node: ast.IfExp) -> None:
        """`a if b else c`."""
        self.function.cyclomatic += 1
        self.function.cognitive += 1 + self.nesting
        self.nesting += 1
        self.children(node, ("test", "body", "orelse"))
        self.nesting -= 1

    def named(self, node: ast.NamedExpr) -> None:
        """`name := value`, which binds outside of comprehensions."""
        self.visit(node.value)
        scope = self.scope
        while scope.kind == "brief" and scope.parent is not None:
            scope = scope.parent
        scope.bind(node.target.id, "target", node.lineno)

    def comprehension(self, node: Any) -> None:
        """A comprehension or generator expression, with its scope."""
        outer = self.scope
        self.visit(node.generators[0].iter)  # Evaluated outside.
        self.scope = self.open("brief", outer)
        for index, generator in enumerate(node.generators):
            self.function.cyclomatic += 1 + len(generator.ifs)
            self.visit(generator.target)
            if index:
                self.visit(generator.iter)
            self.children(generator, ("ifs",))
        self.children(node, ("key", "value") if type(node) is ast.DictComp else ("elt",))
        self.scope = outer

    def lambda_(self, node: ast.Lambda) -> None:
        """A lambda, with its scope."""
        self.defaults(node.args)
        outer = self.scope
        self.scope = self.open("brief", outer)
        self.arguments(node.args, "brief")
        self.nesting += 1
        self.visit(node.body)
        self.nesting -= 1
        self.scope = outer

    def defaults(self, args: ast.arguments) -> None:
        """Default values, which belong to the scope outside."""
        self.children(args, ("defaults", "kw_defaults"))

    def arguments(self, args: ast.arguments, how: str) -> None:
        """Binds parameters in the scope at hand."""
        for arg in all_arguments(args):
            self.scope.bind(arg.arg, how, arg.lineno)

    def annotation(self, node: ast.expr | None) -> None:
        """An annotation, where there is one."""
        if node is not None:
            self.facts.annotations.append(node)
            self.visit(node)


def all_arguments(args: ast.arguments) -> Iterator[ast.arg]:
    """The parameters of every kind."""
    yield from args.posonlyargs
    yield from args.args
    if args.vararg is not None:
        yield args.vararg
    yield from args.kwonlyargs
    if args.kwarg is not None:
        yield args.kwarg


ExpressionWalker.handlers = {
    ast.Name: ExpressionWalker.name,
    ast.Constant: ExpressionWalker.constant,
    ast.Call: ExpressionWalker.call,
    ast.Attribute: ExpressionWalker.attribute,
    ast.BoolOp: ExpressionWalker.bool_op,
    ast.IfExp: ExpressionWalker.conditional,
    ast.NamedExpr: ExpressionWalker.named,
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), ExpressionWalker.comprehension),
    ast.Lambda: ExpressionWalker.lambda_,
}
