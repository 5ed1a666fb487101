"""Takes a function out of its module: what is left of the module that the function and its examples need.

Comes in: a parsed module, the function, the names that its examples use. Goes out: the set-up code of a problem, in
whose namespace a candidate is then executed in the function's place: the rest of the module calls the candidate by its
name. Called by `functions.py`. Nothing is executed here.

Only what is needed stays: imports of the standard library, and top-level statements of the module and of those modules
of its own package that it takes names from, in their order, without docstrings, which would tell the candidate what
the tests expect. So the set-up needs no file but the standard library's: a sandboxed program can read no package, and
cannot look up the original there. A function that needs more cannot be isolated, and `NotIsolatedError` says why.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import functools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prm_jax.mining.walk import SourceFile, UnreadableError, read_source

MAX_SETUP_CHARACTERS = 40_000
_UNEVALUATED = ("annotation", "returns")
"""Fields of a syntax tree that are never evaluated where a module imports `annotations` from `__future__`."""


class NotIsolatedError(Exception):
    """Why a function cannot be taken out of its module: a few words that the funnel counts."""


@dataclasses.dataclass(eq=False)
class Module:
    """A parsed file.

    Attributes:
      file: where it is.
      tree: its syntax tree.
    """

    file: SourceFile
    tree: ast.Module

    @functools.cached_property
    def bound(self) -> dict[str, list[int]]:
        """The top-level statements that bind or change each name, by their index in the tree's body."""
        found: dict[str, list[int]] = collections.defaultdict(list)
        for index, statement in enumerate(self.tree.body):
            if _is_overload(statement):
                continue
            for name in set(_bound_names(statement)):
                found[name].append(index)
        return found

    @functools.cached_property
    def has_future_annotations(self) -> bool:
        """Whether its annotations are never evaluated."""
        return any(_is_future(each) for each in self.tree.body)

    def importing(self, statements: Iterable[ast.Import | ast.ImportFrom]) -> Module:
        """The module as if it also imported these names, of which it has none itself: those of an example."""
        added: list[ast.stmt] = []
        for statement in statements:
            names = [alias for alias in statement.names if _name_of(alias) not in {*self.bound, "*"}]
            if isinstance(statement, ast.Import):
                added += [ast.Import([alias]) for alias in names]
            else:
                added += [ast.ImportFrom(statement.module, [alias], statement.level) for alias in names]
        return Module(self.file, ast.Module([*added, *self.tree.body], [])) if added else self

    def needs(self, statement: ast.stmt) -> set[str]:
        """The names that a statement of the module reads, annotations left out where they are never evaluated."""
        return loaded_names([statement], _UNEVALUATED if self.has_future_annotations else ())


def _is_overload(statement: ast.stmt) -> bool:
    """Whether a statement only tells a type checker something about a function that is defined after it."""
    return isinstance(statement, ast.FunctionDef) and any(
        isinstance(each, ast.Name | ast.Attribute)
        and "overload" in (getattr(each, "id", ""), getattr(each, "attr", ""))
        for each in statement.decorator_list
    )


def _name_of(alias: ast.alias) -> str:
    """The name that an import binds."""
    return (alias.asname or alias.name).split(".")[0]


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds, or whose items or attributes it sets or by a method may."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                continue  # What is within it is its own.
            case ast.Import() | ast.ImportFrom():
                yield from map(_name_of, node.names)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if node is statement:
                yield name
            case ast.Name(ctx=ast.Store() | ast.Del()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                base: ast.expr = node
                while isinstance(base, ast.Attribute | ast.Subscript):
                    base = base.value
                if isinstance(base, ast.Name):
                    yield base.id
        pending.extend(ast.iter_child_nodes(node))


def loaded_names(nodes: Iterable[ast.AST], without: Sequence[str] = ()) -> set[str]:
    """All names that are read anywhere in the nodes, local ones among them: too many rather than too few.

    What stands in the fields `without` of a node is left out.
    """
    found: set[str] = set()
    pending: list[Any] = [*nodes]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                found.add(node.id)
        elif isinstance(node, ast.AST):
            pending += [getattr(node, field, None) for field in node._fields if field not in without]
    return found


def isolate(module: Module, function: ast.FunctionDef, used: Iterable[str] = ()) -> str:
    """The set-up code that stands in for the function's module.

    Args:
      module: the module.
      function: one of its top-level functions, which the set-up does not define.
      used: further names that the set-up has to define where the module does: those of the examples.

    Returns:
      Source text, perhaps empty.

    Raises:
      NotIsolatedError: where the function needs another package, a module of its own package as a whole, two things of
        one name, or too much.
    """
    closure = _Closure(module, function)
    for name in sorted(module.needs(function) | set(used)):
        closure.need(module, name)
    setup = closure.source()
    if len(setup) > MAX_SETUP_CHARACTERS:
        raise NotIsolatedError("needs too much of its module")
    return setup


class _Closure:
    """Collects statements until no name is missing that one of the modules binds."""

    def __init__(self, home: Module, function: ast.FunctionDef) -> None:
        self._home, self._function = home, function
        self._chosen: dict[Module, dict[tuple[int, str], list[ast.stmt]]] = {home: {}}
        self._owners: dict[str, object] = {function.name: home}
        self._sources: dict[Module, dict[Module, None]] = collections.defaultdict(dict)  # What modules take names from.

    def need(self, module: Module, name: str) -> None:
        """Takes in what binds a name in a module, and all that this needs in turn."""
        pending = [(module, name)]
        while pending:
            module, name = pending.pop()
            if module is self._home and name == self._function.name:
                continue
            for index in module.bound.get(name, ()):
                statement = module.tree.body[index]
                # Of an import only the one name is taken.
                key = (index, name if isinstance(statement, ast.Import | ast.ImportFrom) else "")
                if key not in self._chosen.setdefault(module, {}) and not _is_future(statement):
                    self._chosen[module][key], wanted = self._taken(module, statement, name)
                    pending += wanted
                    self._sources[module] |= {other: None for other, _ in wanted if other is not module}

    def _taken(self, module: Module, statement: ast.stmt, name: str) -> tuple[list[ast.stmt], list[tuple[Module, str]]]:
        """What is kept of a statement for the sake of a name, and what that needs."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            kept, wanted, owner = _imported(module, statement, name)
            self._own([name], owner)
            return kept, wanted
        self._own(_bound_names(statement), module)
        return [statement], [(module, each) for each in module.needs(statement)]

    def _own(self, names: Iterable[str], owner: object) -> None:
        for name in names:
            if self._owners.setdefault(name, owner) != owner:
                raise NotIsolatedError("two modules use one name")

    def source(self) -> str:
        """The chosen statements: before a module what it takes from others, each module in its own order."""
        chosen = [self._chosen[module] for module in self._in_order(self._home, {}) if module in self._chosen]
        statements = [each for part in chosen for key in sorted(part) for each in part[key]]
        tree = ast.Module([_without_docstrings(each) for each in statements], [])
        if any(module.has_future_annotations for module, part in self._chosen.items() if part):
            tree.body.insert(0, ast.ImportFrom("__future__", [ast.alias("annotations")], 0))
        return ast.unparse(tree) + "\n" if tree.body else ""

    def _in_order(self, module: Module, seen: dict[Module, None]) -> Iterator[Module]:
        """The modules that a module takes names from, then the module itself, each once."""
        seen[module] = None
        for other in self._sources[module]:
            if other not in seen:
                yield from self._in_order(other, seen)
        yield module


def _imported(
    module: Module, statement: ast.Import | ast.ImportFrom, name: str
) -> tuple[list[ast.stmt], list[tuple[Module, str]], object]:
    """What binds a name that a module imports.

    Returns:
      The statements that are kept, the names of other modules that they ask for, and who the name belongs to.
    """
    alias = next(each for each in statement.names if _name_of(each) == name)
    source = alias.name if isinstance(statement, ast.Import) else _absolute(module.file, statement)
    top = source.split(".")[0]
    if top in sys.stdlib_module_names:
        if isinstance(statement, ast.Import):
            return [ast.Import([alias])], [], alias.name if alias.asname else name
        return [ast.ImportFrom(source, [alias], 0)], [], (source, alias.name)
    if top != module.file.module.split(".")[0]:
        raise NotIsolatedError("needs another package")
    other = _load(module.file.root, source) if isinstance(statement, ast.ImportFrom) else None
    if other is None or alias.name not in other.bound or _is_submodule(other, alias.name):
        raise NotIsolatedError("needs its package as a whole")
    if name == alias.name:
        return [], [(other, name)], _owner(other, name)
    return list(ast.parse(f"{name} = {alias.name}").body), [(other, alias.name)], module


def _is_submodule(package: Module, name: str) -> bool:
    """Whether a package has a name only because it imports a module of its own."""
    first = package.tree.body[package.bound[name][0]]
    return isinstance(first, ast.ImportFrom) and _absolute(package.file, first) == package.file.module


def _owner(module: Module, name: str) -> object:
    """Who a name belongs to, through imports of imports."""
    statement = module.tree.body[module.bound[name][0]]
    return _imported(module, statement, name)[2] if isinstance(statement, ast.Import | ast.ImportFrom) else module


def _absolute(file: SourceFile, statement: ast.ImportFrom) -> str:
    """The dotted name of the module that names are imported from."""
    if not statement.level:
        return statement.module or ""
    parts = file.parts[: len(file.parts) - statement.level]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


@functools.lru_cache(maxsize=256)
def _load(root: str, module: str) -> Module | None:
    """The module of that name below a root, None where there is none that can be read."""
    base = os.path.join(root, *module.split("."))
    for path in (os.path.join(base, "__init__.py"), f"{base}.py"):
        if os.path.isfile(path):
            try:
                return Module(SourceFile(root, path), ast.parse(read_source(path)))
            except (UnreadableError, SyntaxError, ValueError, RecursionError, MemoryError):
                return None
    return None


def _without_docstrings(statement: ast.stmt) -> ast.stmt:
    """A copy of a statement whose functions and classes say nothing."""
    return _Silencer().visit(ast.parse(ast.unparse(ast.fix_missing_locations(statement))).body[0])


class _Silencer(ast.NodeTransformer):
    def _silenced(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _silenced  # noqa: N815
