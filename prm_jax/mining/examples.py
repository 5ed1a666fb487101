r"""From a docstring to tests: doctests, and lines such as `f(2) == 4`, `f(2) -> 4` or `f(2)  # 4`.

Comes in: a docstring and the name of the function that it describes. Goes out: `Examples`: tests as a call and an
expected literal, or calls and a check, both compared in the parent; what they need before them; and the docstring
without them. Called by `functions.py`. Nothing is executed here; whether an example is true, the sandbox finds out.

| example | call | expected |
|---|---|---|
| `>>> f(2)`, `4` | `f(2)` | `4` |
| `>>> x = [1]`, `>>> f(x)`, `[2]` | `f([1])` | `[2]` |
| `>>> f(2) == 4`, `True` | `f(2)` | `4` |
| `>>> f(2)`, `Fraction(1, 2)` | `repr(f(2))` | `'Fraction(1, 2)'` |
| `>>> print(f(2))`, `4` | `str(f(2))` | `'4'` |
| `>>> for x in f(2): print(x)`, `0`, `1` | `'\n'.join((str(x) for x in f(2)))` | `'0\n1'` |
| `>>> assert f(2) == 4` | `f(2)` | `4` |
| `>>> abs(f(2) - 4) < 0.1`, `True` | `(f(2),)` | a check: `abs(_0 - 4) < 0.1` |
"""

from __future__ import annotations

import ast
import dataclasses
import doctest
import re
import warnings
from collections.abc import Mapping
from typing import TypeVar

from prm_jax.problems.asserts import as_assert, is_literal, split_assert
from prm_jax.problems.problem import Test

MAX_CHARACTERS = 1_000
_Node = TypeVar("_Node", ast.expr, ast.For)
_MARK = re.compile(r"\s*(?:==|=>|->|→|⇒|# ?(?:=>|->|==|→)?|,? returns?)\s+")
_PARSER = doctest.DocTestParser()
# The words of a value that differ from run to run, or that stand for others.
_VAGUE = re.compile(r"\bat 0x|\.\.\.|\bset\(|<BLANKLINE>|Traceback|^<|object>")


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a docstring shows.

    Attributes:
      tests: each calls the function.
      imports: import statements of the examples, as source.
      helpers: functions and classes that the examples define, as source.
      prose: the docstring without its doctests.
    """

    tests: tuple[Test, ...]
    imports: tuple[str, ...]
    helpers: tuple[str, ...]
    prose: str


def find_examples(docstring: str, name: str) -> Examples:
    """The examples of a cleaned docstring (`ast.get_docstring`) that call the function `name`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Invalid escapes in other people's examples.
        reader = _Reader(name)
        try:
            parts = _PARSER.parse(docstring)
        except ValueError:  # Prompts that are not indented alike.
            parts = [docstring]
        prose = "".join(part for part in parts if isinstance(part, str))
        for part in parts:
            if isinstance(part, doctest.Example):
                reader.read(part)
        for line in prose.splitlines():
            reader.read_line(line)
    tests = tuple(dict.fromkeys(reader.tests))
    return Examples(tests, tuple(reader.imports), tuple(reader.helpers), prose.strip())


class _Reader:
    """Reads the examples of one docstring in order, and knows what their variables stand for."""

    def __init__(self, name: str) -> None:
        self.tests: list[Test] = []
        self.imports: list[str] = []
        self.helpers: list[str] = []
        self._name = name
        self._values: dict[str, ast.expr] = {}

    def read(self, example: doctest.Example) -> None:
        """Takes in one doctest: an expression with its value, or a statement that later ones build on."""
        try:
            body = ast.parse(example.source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        try:
            for statement in body:
                self._read_statement(statement, example.want if statement is body[-1] else "")
        except (RecursionError, MemoryError):  # What is nested too deeply can be parsed, but not written again.
            self._values.clear()

    def read_line(self, line: str) -> None:
        """Takes in one line of prose, where it is a call of the function on literals and its value."""
        for mark in _MARK.finditer(line):
            call, _, value = line[: mark.start()], mark.group(), line[mark.end() :].strip()
            call = call.strip(" \t-*`•>")
            if not call.startswith(f"{self._name}("):
                continue
            try:
                node = ast.parse(call, mode="eval").body
                known = is_literal(ast.parse(value.rstrip("`."), mode="eval").body)
                if known and isinstance(node, ast.Call) and all(map(is_literal, _arguments(node))):
                    self._add(Test(ast.unparse(node), value.rstrip("`.")))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue

    def _read_statement(self, statement: ast.stmt, want: str) -> None:
        match statement:
            case ast.Expr(value) if want.strip():
                self._read_value(self._resolved(value), want.rstrip("\n"))
            case ast.For(orelse=[]) if want.strip():
                self._read_printed(_printed_by(self._resolved(statement)), want.rstrip("\n"))
            case ast.Assert(test=expression):
                self._read_truth(self._resolved(expression), True)
            case ast.Expr(ast.Constant()):
                pass
            case ast.Import() | ast.ImportFrom():
                self.imports.append(ast.unparse(statement))
            case ast.FunctionDef() | ast.ClassDef() if statement.name != self._name:
                self.helpers.append(ast.unparse(statement))
            case ast.Assign(targets=[ast.Name(id=variable)], value=value):
                self._values[variable] = self._resolved(value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                whole = self._resolved(value)
                for index, target in enumerate(targets):
                    if isinstance(target, ast.Name):
                        self._values[target.id] = ast.Subscript(whole, ast.Constant(index), ast.Load())
            case _:
                self._values.clear()  # It may have changed what the variables hold.

    def _resolved(self, node: _Node) -> _Node:
        """The node with variables replaced by what they were given, and `module.f` by `f`."""
        own = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
        own |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        return _Resolver(self._name, {name: self._values[name] for name in self._values.keys() - own}).visit(node)

    def _read_value(self, expression: ast.expr, want: str) -> None:
        if _is_print(expression):
            self._read_printed(_printed_by(expression), want)
            return
        try:
            source = ast.unparse(expression)
            value = ast.parse(want.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return  # What is shown is no value, or prose.
        if is_literal(value) and not _leaves_out(value):
            is_truth = isinstance(value, ast.Constant) and isinstance(value.value, bool)
            if is_truth and not isinstance(expression, ast.Call):
                self._read_truth(expression, want.strip() == "True")
            else:
                self._add(Test(source, ast.unparse(value)))
        elif not _VAGUE.search(want):
            self._add(Test(f"repr({source})", repr(want.strip())))

    def _read_printed(self, text: ast.expr | None, want: str) -> None:
        if text is not None and not _VAGUE.search(want):
            self._add(Test(ast.unparse(text), repr(want)))

    def _read_truth(self, expression: ast.expr, truth: bool) -> None:
        """A comparison is split, so that the parent makes it: what the function gives could agree with anything."""
        source = ast.unparse(expression)
        test = split_assert(f"assert {source}" if truth else f"assert not ({source})")
        if not test.in_child:
            self._add(test)

    def _add(self, test: Test) -> None:
        loaded = (node.id for node in ast.walk(ast.parse(test.call)) if isinstance(node, ast.Name))
        if self._name in loaded and len(as_assert(test)) <= MAX_CHARACTERS:
            self.tests.append(test)


def _printed_by(node: ast.stmt | ast.expr) -> ast.expr | None:
    """An expression for the text that a call of `print`, or a loop around nothing but one, prints; None for others."""
    match node:
        case ast.Call(func=ast.Name(id="print"), args=[argument], keywords=[]):
            return ast.Call(ast.Name("str", ast.Load()), [argument], [])
        case ast.Call(func=ast.Name(id="print"), args=[_, _, *_] as arguments, keywords=[]):
            texts = ast.Call(ast.Name("map", ast.Load()), [ast.Name("str", ast.Load()), ast.List(arguments)], [])
            return _joined(" ", texts)
        case ast.For(target=target, iter=values, body=[ast.Expr(call)]):
            text = _printed_by(call)
            each = ast.comprehension(target, values, [], is_async=0)
            return text and _joined("\n", ast.GeneratorExp(text, [each]))
    return None


def _joined(separator: str, texts: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Constant(separator), "join", ast.Load()), [texts], [])


def _leaves_out(value: ast.expr) -> bool:
    """Whether an ellipsis stands in a value."""
    return any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(value))


def _is_print(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id == "print"


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


class _Resolver(ast.NodeTransformer):
    """Replaces variables by the expressions that they were given."""

    def __init__(self, name: str, values: Mapping[str, ast.expr]) -> None:
        self._name = name
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._values.get(node.id, node) if isinstance(node.ctx, ast.Load) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        base: ast.expr = node.value
        while isinstance(base, ast.Attribute):
            base = base.value
        if node.attr == self._name and isinstance(base, ast.Name) and base.id not in self._values:
            return ast.Name(self._name, ast.Load())
        self.generic_visit(node)
        return node
