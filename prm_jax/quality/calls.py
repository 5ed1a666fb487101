"""Calls: whether a program names and calls what is there, the way it can be called.

`calls` takes the facts of a program and gives findings; `integrity.py` calls it. Nothing is executed. The weights:

| rule | weight | when |
|---|---|---|
| `unresolved` | 1 | a name that no scope binds and that is no builtin (once per scope), or a name that one of the known modules of the standard library does not have |
| `arity` | 1 | a call of a builtin or of an undecorated function of the file with arguments that it cannot take |
| `banned` | 1 | a call that ends, inspects or escapes the program: `eval`, `exec`, `exit`, `os.system`, ... |
| `deprecated` | 0.5 | a name of the standard library that its documentation declares deprecated |
| `unused_import` | 0.5 | an import that nothing reads |

A name that is bound more than once is not followed, unless each time to the same import.
"""  # noqa: E501

from __future__ import annotations

import ast
import builtins
import functools
import importlib
from collections.abc import Collection, Iterator

from prm_jax.quality.arity import arity_fault, builtin_arity_fault
from prm_jax.quality.facts import Facts, Scope
from prm_jax.quality.finding import Finding

# fmt: off
BANNED = frozenset({
    "eval", "exec", "compile", "__import__", "globals", "locals", "vars", "breakpoint", "input", "exit", "quit",
    "help", "open", "sys.exit", "sys.setrecursionlimit", "sys.settrace", "sys._getframe", "os.system", "os.popen",
    "os._exit", "os.abort", "os.fork", "os.kill", "os.remove", "subprocess.run", "subprocess.call",
    "subprocess.Popen", "subprocess.check_output", "ctypes.CDLL", "importlib.import_module", "builtins.eval",
    "builtins.exec",
})
DEPRECATED = frozenset({
    "abc.abstractproperty", "array.ArrayType", "asyncio.get_event_loop", "datetime.datetime.utcfromtimestamp",
    "datetime.datetime.utcnow", "inspect.getargspec", "locale.getdefaultlocale", "logging.warn", "time.clock",
    "typing.Dict", "typing.FrozenSet", "typing.List", "typing.Set", "typing.Text", "typing.Tuple", "typing.Type",
    "unittest.makeSuite",
})
# Modules without effects when imported, whose names are looked up.
_KNOWN_MODULES = frozenset({
    "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
    "json", "math", "operator", "random", "re", "statistics", "string",
})
# fmt: on
_IMPLICIT = frozenset(dir(builtins)) | {"__file__", "__class__", "__annotations__", "__path__", "__qualname__"}


def calls(facts: Facts, given: Collection[str] = ()) -> list[Finding]:
    """The findings of the table above; `given` are names that the problem's set-up binds."""
    return [
        Finding("calls", rule, line, weight, message)
        for rules in (_unresolved(facts, given), _called(facts), _attributes(facts), _imports(facts))
        for rule, line, weight, message in rules
    ]


Fault = tuple[str, int, float, str]


def _unresolved(facts: Facts, given: Collection[str]) -> Iterator[Fault]:
    if facts.stars:
        return
    for name, line in facts.unresolved:
        if name not in _IMPLICIT and name not in given:
            yield "unresolved", line, 1.0, f"{name} is not defined"


def _called(facts: Facts) -> Iterator[Fault]:
    for node, scope in facts.calls:
        func = node.func
        if type(func) is not ast.Name:
            continue
        found = scope.lookup(func.id)
        fault = None
        if found is None:
            if func.id in BANNED:
                yield "banned", node.lineno, 1.0, f"{func.id} has no place in a solution"
            fault = builtin_arity_fault(func.id, node)
        elif func.id in found.functions and func.id not in found.rebound:
            fault = arity_fault(found.functions[func.id].args, node)
        if fault:
            yield "arity", node.lineno, 1.0, f"{func.id}: {fault}"


def qualified(node: ast.expr, scope: Scope) -> str | None:
    """`"module.name"` of `alias.name` where `alias` is an imported module, and deeper; None for anything else."""
    root, attributes = _dotted(node)
    found = scope.lookup(root)
    if found is None or root not in found.modules or root in found.rebound:
        return None
    return ".".join([*found.modules[root], *attributes])


def origins(node: ast.expr, scope: Scope, stars: Collection[str]) -> set[str]:
    """Every `"module.name"` that `alias.name` may be, and deeper, by the imports of `alias` and by those of stars.

    A star may bind any name of the module, whatever else binds it.
    """
    root, attributes = _dotted(node)
    found = scope.lookup(root)
    roots = [] if found is None else found.modules.get(root, [])
    if root and (found is None or found.parent is None):
        roots = [*roots, *(f"{star}.{root}" for star in stars)]
    return {".".join([each, *attributes]) for each in roots}


def _dotted(node: ast.expr) -> tuple[str, list[str]]:
    """A name and the attributes read from it one after another; the name is empty where something else is read."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node.id if isinstance(node, ast.Name) else "", attributes[::-1]


def _attributes(facts: Facts) -> Iterator[Fault]:
    for node, scope in facts.attributes:
        name = qualified(node, scope)
        if name is not None:
            yield from _library_name(name, node.lineno)


def _library_name(name: str, line: int) -> Iterator[Fault]:
    module, _, attribute = name.rpartition(".")
    if name in BANNED:
        yield "banned", line, 1.0, f"{name} has no place in a solution"
    elif name in DEPRECATED:
        yield "deprecated", line, 0.5, f"{name} is deprecated"
    elif module in _KNOWN_MODULES and attribute not in _names_of(module):
        yield "unresolved", line, 1.0, f"{module} has no {attribute}"


def _imports(facts: Facts) -> Iterator[Fault]:
    for module, name, line in facts.imports:
        if name not in ("", "*"):
            yield from _library_name(f"{module}.{name}", line)
    for scope in facts.scopes:
        for name, (how, line) in scope.bound.items():
            is_feature = any(origin.startswith("__future__.") for origin in scope.modules.get(name, ()))
            if how == "import" and name not in scope.used and not is_feature:
                yield "unused_import", line, 0.5, f"{name} is imported and never used"


@functools.cache
def _names_of(module: str) -> frozenset[str]:
    return frozenset(dir(importlib.import_module(module)))
