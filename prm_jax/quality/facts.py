"""What one walk finds in a program: `Facts`, without judgement.

`walk.py` makes them; `structure.py`, `naming.py`, `calls.py` and `constraints.py` read them.
"""

from __future__ import annotations

import ast
import dataclasses

Definition = ast.FunctionDef | ast.AsyncFunctionDef


class Scope:
    """A module, function, class, or `"brief"` scope (comprehension, lambda).

    Attributes:
      kind: `"module"`, `"function"`, `"class"` or `"brief"`.
      parent: the enclosing scope.
      bound: name to `(how, line)` of its first binding; how is `"argument"`, `"assign"`, `"target"` (of `for`, `with`,
        unpacking), `"brief"`, `"import"`, `"def"`, `"class"`, `"except"` or `"global"`.
      rebound: names bound more than once, but for an import of the same thing again.
      loads: name to line of its first reading.
      used: names bound here and read anywhere.
      captured: names bound here and read in a scope within.
      modules: name to the dotted names of what imports bind it to: modules, or names in them.
      functions: name to the definition of a function without decorators.
    """

    __slots__ = ("kind", "parent", "bound", "rebound", "loads", "used", "captured", "modules", "functions")

    def __init__(self, kind: str, parent: Scope | None) -> None:
        self.kind, self.parent = kind, parent
        self.bound: dict[str, tuple[str, int]] = {}
        self.rebound: set[str] = set()
        self.loads: dict[str, int] = {}
        self.used: set[str] = set()
        self.captured: set[str] = set()
        self.modules: dict[str, list[str]] = {}
        self.functions: dict[str, Definition] = {}

    def bind(self, name: str, how: str, line: int) -> None:
        """Notes a binding."""
        if name in self.bound:
            self.rebound.add(name)
        else:
            self.bound[name] = (how, line)

    def bind_import(self, name: str, line: int, origin: str) -> None:
        """Notes a binding by an import; behind a `global` or `nonlocal` it is one of an outer scope."""
        if self.modules.get(name) != [origin]:
            self.bind(name, "import", line)
        owner = self.lookup(name) or self
        if owner is not self:
            owner.rebound.add(name)
        if origin not in owner.modules.setdefault(name, []):
            owner.modules[name].append(origin)

    def lookup(self, name: str) -> Scope | None:
        """The scope that a name read here belongs to; None for builtins and for names that nothing binds."""
        if name in self.bound and self.bound[name][0] != "global":
            return self
        scope = self.parent
        while scope is not None:
            if scope.kind != "class" and name in scope.bound and scope.bound[name][0] != "global":
                return scope
            scope = scope.parent
        return None


@dataclasses.dataclass(slots=True)
class FunctionFacts:
    """Counts of one function, without those of functions in it; `line` 1 and `name` `"module"` for the module's body.

    Attributes:
      name: its name.
      line: of its header.
      cyclomatic: McCabe 1976: 1 + decisions (`if`, loops, `except`, `and`/`or`, conditional expressions, `for` and `if`
        of comprehensions, cases).
      cognitive: Campbell 2018 (SonarSource): each break in the flow counts 1 and 1 more for each level that it is
        nested in; `elif`, `else`, a run of one boolean operator and being recursive count 1; comprehensions nothing.
      statements: all statements within, docstrings apart.
      recursive: whether it calls itself by its name.
    """

    name: str
    line: int
    cyclomatic: int = 1
    cognitive: int = 0
    statements: int = 0
    recursive: bool = False


@dataclasses.dataclass(slots=True)
class Facts:
    """What the walk found. Lists are in the order of the text.

    Attributes:
      tree: the syntax tree.
      scopes: outer ones first.
      functions: the module's body first.
      calls: with the scope in which each stands.
      attributes: `name.attribute` and deeper, with their scopes.
      imports: `(module, name, line)` of all that is imported: the name is empty for `import module` and `"*"` where all
        names are; a relative module begins with its dots.
      handlers: `except` clauses.
      literals: numbers, texts and bytes, docstrings apart.
      annotations: of arguments, results and variables.
      deep: `(line, level)` of compound statements within others of the same function; the outermost have level 1.
      unreachable: lines of statements that cannot run.
      idle: lines of expression statements without effect; texts, which may document, are none.
      overwritten: `(scope, name, line)` of assignments that the same block overwrites before anything reads them.
      unresolved: `(name, line)` of names read that no scope binds, builtins among them; first reading per scope.
    """

    tree: ast.Module
    scopes: list[Scope] = dataclasses.field(default_factory=list)
    functions: list[FunctionFacts] = dataclasses.field(default_factory=list)
    calls: list[tuple[ast.Call, Scope]] = dataclasses.field(default_factory=list)
    attributes: list[tuple[ast.Attribute, Scope]] = dataclasses.field(default_factory=list)
    imports: list[tuple[str, str, int]] = dataclasses.field(default_factory=list)
    handlers: list[ast.ExceptHandler] = dataclasses.field(default_factory=list)
    literals: list[ast.Constant] = dataclasses.field(default_factory=list)
    annotations: list[ast.expr] = dataclasses.field(default_factory=list)
    deep: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    unreachable: list[int] = dataclasses.field(default_factory=list)
    idle: list[int] = dataclasses.field(default_factory=list)
    overwritten: list[tuple[Scope, str, int]] = dataclasses.field(default_factory=list)
    unresolved: list[tuple[str, int]] = dataclasses.field(default_factory=list)

    @property
    def stars(self) -> list[str]:
        """The modules of `from module import *`."""
        return [module for module, name, _ in self.imports if name == "*"]


@dataclasses.dataclass(frozen=True)
class Broken:
    """A text that is no program: the line and the message of the error."""

    line: int
    message: str
