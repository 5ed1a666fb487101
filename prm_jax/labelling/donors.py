"""Statements of other programs, put in the place of a step: the right code for another problem.

In: the references of the problems labelled together; out: edits like an operator's. A mutation of one token leaves a
step that looks mutated; a foreign statement looks right, and only the prompt tells that it is not. The same mistake
is a policy's commonest one.
"""

from __future__ import annotations

import ast
import builtins
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator

from prm_jax.labelling.splice import Code, Edit, local_names, parse

_BUILTINS = frozenset(dir(builtins))
_PER_STATEMENT = 4


class Donors:
    """One-line statements of many programs, by what they bind.

    The order of the programs decides what a random stream draws.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Collects the statements of `texts`; a text that does not parse gives none."""
        found: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        for text in texts:
            if code := parse(text):
                for node in _statements(code):
                    found[_place(node)][code.source(node)] = _reads(node)
        self._lines = {place: list(lines.items()) for place, lines in found.items()}

    def edits(self, source: str, rng: random.Random) -> Iterator[Edit]:
        """Up to four drawn edits for each statement: another program's, which reads only what is bound here.

        ``xs = sorted(xs)`` may become ``xs = [x * 2 for x in xs]``, ``return a + b`` may become ``return a * a``.
        """
        code = parse(source)
        if code is None:
            return
        for node in _statements(code):
            function = code.function_of(node)
            lines = self._lines.get(_place(node), [])
            if function is None:
                continue
            bound = {name for name, line in local_names(function).items() if line < node.lineno}
            for line, reads in rng.sample(lines, min(_PER_STATEMENT, len(lines))):
                if reads <= bound | _BUILTINS:
                    yield code.replace(node, line)


def _statements(code: Code) -> Iterator[ast.Assign | ast.AugAssign | ast.Return]:
    for node in code.all(ast.Assign, ast.AugAssign, ast.Return):
        if node.lineno == node.end_lineno and node.value is not None and code.owns_lines(node):
            yield node


def _place(node: ast.Assign | ast.AugAssign | ast.Return) -> str:
    """Statements with equal places can stand for each other."""
    if isinstance(node, ast.Return):
        return "return"
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return f"{type(node).__name__} {ast.unparse(target)}"


def _reads(node: ast.stmt) -> frozenset[str]:
    """The names that a statement takes from outside itself."""
    names = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
    inner = [part for part in ast.walk(node) if isinstance(part, ast.comprehension | ast.Lambda)]
    own = {name.id for part in inner if isinstance(part, ast.comprehension) for name in _targets(part)}
    own |= {argument.arg for part in inner if isinstance(part, ast.Lambda) for argument in part.args.args}
    return frozenset(name.id for name in names if isinstance(name.ctx, ast.Load)) - own


def _targets(part: ast.comprehension) -> list[ast.Name]:
    return [name for name in ast.walk(part.target) if isinstance(name, ast.Name)]
