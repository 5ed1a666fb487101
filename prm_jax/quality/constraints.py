"""A domain's own rules, declared in a TOML file and checked without running anything.

Comes in: `constraints.toml` of a domain's folder, and program texts. Goes out: `Finding`s of measure `"constraints"`,
one for each breach, on its line. Called by `ppo/verify.py` for the reward `+quality`, and by whoever reports. Every
section and key is optional:

```toml
[imports]
allowed = ["decimal", "re"]          # top-level modules; any other one is a finding
banned = ["os", "email.mime"]        # with all that is in them
[calls]
banned = ["float", "math.floor"]     # a name, or module.name whatever the import calls it
banned_methods = ["quantise"]        # value.quantise(...), on any value
required = ["Decimal"]               # each has to be called somewhere: a name, module.name or method
[types]
replace = { float = "Decimal" }      # a literal, call or annotation of the left type; what to use instead
[naming]
functions = "[a-z_]+"                # regular expressions that the whole name has to match
arguments = "[a-z_]{2,}"
variables = "[a-z_]{2,}"             # what functions bind otherwise
[exceptions]
bare = false                         # `except:` is a finding
broad = ["Exception"]                # types too broad to catch
swallowed = false                    # so is a handler that does nothing: pass, ..., continue
[complexity]                         # the most that a function may have
cyclomatic = 8
cognitive = 10
nesting = 3
statements = 20
```

A call is one of `math.floor` where any binding of its name may be that: one import of several, one beside other
bindings, or `from math import *` for a name that no function binds.

Each breach weighs `weight` (a key outside the sections, default 1); see `finding.py` for the scores. Types other than
`float`, `complex`, `int`, `str` and `bytes` have no literals.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.quality.calls import origins, qualified
from prm_jax.quality.facts import Broken, Facts, Scope
from prm_jax.quality.finding import Finding
from prm_jax.quality.walk import walk

Breach = tuple[str, int, str]
_SECTIONS = ("imports", "calls", "types", "naming", "exceptions", "complexity")


@dataclasses.dataclass(frozen=True)
class Constraints:
    """The rules of a `constraints.toml`, see the module's docstring; each field is `<section>_<key>`."""

    weight: float = 1.0
    imports_allowed: tuple[str, ...] | None = None
    imports_banned: tuple[str, ...] = ()
    calls_banned: tuple[str, ...] = ()
    calls_banned_methods: tuple[str, ...] = ()
    calls_required: tuple[str, ...] = ()
    types_replace: tuple[tuple[str, str], ...] = ()
    naming_functions: str = ""
    naming_arguments: str = ""
    naming_variables: str = ""
    exceptions_bare: bool = True
    exceptions_broad: tuple[str, ...] = ()
    exceptions_swallowed: bool = True
    complexity_cyclomatic: int | None = None
    complexity_cognitive: int | None = None
    complexity_nesting: int | None = None
    complexity_statements: int | None = None


@functools.lru_cache(maxsize=64)
def load_constraints(path: str) -> Constraints:
    """Reads a `constraints.toml`.

    Raises:
      UserError: where there is none, it is no TOML, or a key or a value is not one of the module's docstring.
    """
    try:
        table = tomllib.loads(epath.Path(path).expanduser().read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); name a constraints.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in _SECTIONS and isinstance(value, dict):
            values |= {f"{key}_{name}": each for name, each in value.items()}
        else:
            values[key] = value
    return Constraints(**{name: _checked(path, name, value) for name, value in values.items()})


_FIELDS = {field.name: field for field in dataclasses.fields(Constraints)}


def _checked(path: str, name: str, value: Any) -> Any:
    """A value of the file as its field holds it."""
    shown = name.replace("_", ".", 1) if name.split("_")[0] in _SECTIONS else name
    if name not in _FIELDS:
        raise UserError(f"{path}: unknown key {shown}; prm_jax/quality/constraints.py lists all")
    kind = str(_FIELDS[name].type)
    if kind.startswith("tuple[tuple"):
        expected, good = "a table of strings", isinstance(value, dict) and _are_strings(value.values())
        value = tuple(value.items()) if good else value
    elif kind.startswith("tuple"):
        expected, good = "a list of strings", isinstance(value, list) and _are_strings(value)
        value = tuple(value) if good else value
    elif kind == "str":
        expected, good = "a regular expression", isinstance(value, str) and _is_pattern(value)
    elif kind == "bool":
        expected, good = "true or false", isinstance(value, bool)
    elif kind == "float":
        expected, good = "a positive number", type(value) in (int, float) and 0 < value < math.inf
    else:
        expected, good = "a positive integer", type(value) is int and value > 0
    if not good:
        raise UserError(f"{path}: {shown} is {value!r}; expected {expected}")
    return value


def _are_strings(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def check(text: str, rules: Constraints) -> tuple[Finding, ...]:
    """What a program breaks; a text that does not parse breaks everything, with infinite weight."""
    return check_facts(walk(text), rules)


def check_facts(facts: Facts | Broken, rules: Constraints) -> tuple[Finding, ...]:
    """The same from a walk that is done."""
    if isinstance(facts, Broken):
        return (Finding("constraints", "syntax", facts.line, math.inf, f"does not parse: {facts.message}"),)
    sections = (_imports, _calls, _types, _naming, _exceptions, _complexity)
    return tuple(
        Finding("constraints", rule, line, rules.weight, message)
        for section in sections
        for rule, line, message in section(facts, rules)
    )


def _imports(facts: Facts, rules: Constraints) -> Iterator[Breach]:
    for module, name, line in facts.imports:
        top = module.split(".")[0]
        if rules.imports_allowed is not None and top not in rules.imports_allowed:
            yield "imports.allowed", line, f"import of {top or module}; allowed are {', '.join(rules.imports_allowed)}"
        whole = module if name in ("", "*") else f"{module}.{name}"
        if any(f"{whole}.".startswith(f"{banned}.") for banned in rules.imports_banned):
            yield "imports.banned", line, f"import of {whole}"


def _called(node: ast.expr, scope: Scope, stars: Sequence[str]) -> set[str]:
    """The names by which rules may know a callee: `module.name`; a plain name or `.method` unless it is surely that."""
    names = origins(node, scope, stars)
    if qualified(node, scope) is None:
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(f".{node.attr}")
    return names


def _calls(facts: Facts, rules: Constraints) -> Iterator[Breach]:
    called: set[str] = set()
    stars = facts.stars
    for node, scope in facts.calls:
        names = _called(node.func, scope, stars)
        called |= names | {name.rpartition(".")[2] for name in names}
        if banned := [name for name in rules.calls_banned if name in names]:
            yield "calls.banned", node.lineno, f"call of {banned[0]}"
        if isinstance(node.func, ast.Attribute) and node.func.attr in rules.calls_banned_methods:
            yield "calls.banned_methods", node.lineno, f"call of a method {node.func.attr}"
    for name in rules.calls_required:
        if name not in called:
            yield "calls.required", _last_line(facts), f"no call of {name}"


def _last_line(facts: Facts) -> int:
    """The line behind the program: what is missing belongs to its end."""
    return max((node.end_lineno or node.lineno for node in facts.tree.body), default=0) + 1


def _types(facts: Facts, rules: Constraints) -> Iterator[Breach]:
    for old, new in rules.types_replace:
        for literal in facts.literals:
            if type(literal.value).__name__ == old:
                yield "types.replace", literal.lineno, f"literal {literal.value!r} is a {old}; use {new}"
        for node, scope in facts.calls:
            if isinstance(node.func, ast.Name) and node.func.id == old and scope.lookup(old) is None:
                yield "types.replace", node.lineno, f"{old}(...); use {new}"
        for annotation in facts.annotations:
            if any(isinstance(part, ast.Name) and part.id == old for part in ast.walk(annotation)):
                yield "types.replace", annotation.lineno, f"annotation {old}; use {new}"


def _naming(facts: Facts, rules: Constraints) -> Iterator[Breach]:
    for scope in facts.scopes:
        for name, (how, line) in scope.bound.items():
            if how == "def":
                kind, pattern = "functions", rules.naming_functions
            elif how == "argument":
                kind, pattern = "arguments", rules.naming_arguments
            elif scope.kind == "function" and how in ("assign", "target"):
                kind, pattern = "variables", rules.naming_variables
            else:
                continue
            if pattern and not re.fullmatch(pattern, name):
                yield f"naming.{kind}", line, f"{name} does not match {pattern}"


def _exceptions(facts: Facts, rules: Constraints) -> Iterator[Breach]:
    for handler in facts.handlers:
        if handler.type is None and not rules.exceptions_bare:
            yield "exceptions.bare", handler.lineno, "catches everything; name the exception"
        if handler.type is not None:
            for part in ast.walk(handler.type):
                if isinstance(part, ast.Name) and part.id in rules.exceptions_broad:
                    yield "exceptions.broad", handler.lineno, f"catches {part.id}; name what is expected"
        if not rules.exceptions_swallowed and all(_does_nothing(node) for node in handler.body):
            yield "exceptions.swallowed", handler.lineno, "an exception is caught and forgotten"


def _does_nothing(node: ast.stmt) -> bool:
    idle = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return idle or isinstance(node, ast.Pass | ast.Continue)


def _complexity(facts: Facts, rules: Constraints) -> Iterator[Breach]:
    for function in facts.functions:
        for key in ("cyclomatic", "cognitive", "statements"):
            most = getattr(rules, f"complexity_{key}")
            value = getattr(function, key)
            if most is not None and value > most:
                yield f"complexity.{key}", function.line, f"{key} of {function.name} is {value}; at most {most}"
    for line, level in facts.deep:
        if rules.complexity_nesting is not None and level > rules.complexity_nesting:
            yield "complexity.nesting", line, f"nested {level} deep; at most {rules.complexity_nesting}"
