"""The two texts that a function gives a problem: what its docstring asks for, and its code without the docstring.

Comes in: a top-level function and the text of its module. Goes out: prompts, programs and `Problem`s. Called by
`functions.py` for problems and by `corpus.py` for functions that have no examples.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.isolate import Module
from prm_jax.mining.packages import package_of
from prm_jax.problems.asserts import as_assert
from prm_jax.problems.problem import Problem, Test
from prm_jax.problems.reading import is_unicode, normalise_source
from prm_jax.problems.skeleton import count_statements, split_of

# What introduces the examples, which are gone, and directives of Sphinx.
_SAYS_NOTHING = re.compile(r"(?:examples?|usage|doctests?)\W*|\.\. .*", re.IGNORECASE | re.DOTALL)


class UnfitError(Exception):
    """Why a function makes no problem: a few words that the funnel counts."""


def has_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a function, or a coroutine, with a docstring."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def code_lines(text: str, node: ast.FunctionDef, most: int) -> list[str]:
    """The lines of a function with a docstring, from its first decorator, without those of the docstring.

    Raises:
      UnfitError: where that leaves nothing, or more than `most` lines.
    """
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    docstring, *code = node.body
    assert docstring.end_lineno is not None
    if not code:
        raise UnfitError("no code but a docstring")
    if docstring.lineno == node.lineno or docstring.end_lineno >= code[0].lineno:
        raise UnfitError("no text of its own")
    lines = text.split("\n")
    kept = lines[first - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]
    if len(kept) > most:
        raise UnfitError("too long a function")
    return kept


def prompt_of(node: ast.FunctionDef, prose: str, tests: Sequence[Test], most: int) -> str:
    """The words of a docstring as far as there is room, the function's head, and tests."""
    paragraphs = [paragraph.strip() for paragraph in prose.split("\n\n")]
    first, *others = [each for each in paragraphs if each and not _SAYS_NOTHING.fullmatch(each)] or [""]
    told = first[:most]
    for paragraph in others:
        if len(told) + len(paragraph) + 1 > most:
            break
        told = f"{told}\n{paragraph}"
    head = f"def {node.name}({ast.unparse(node.args)}):"
    return "\n".join(filter(None, [told, head, *map(as_assert, tests)]))


def make_problem(
    module: Module,
    node: ast.FunctionDef,
    source: str,
    lines: Sequence[str],
    config: MiningConfig,
    prompt: str,
    tests: Sequence[Test] = (),
) -> Problem:
    """The problem whose reference is a function of a module, so far without set-up code.

    Args:
      module: the module.
      node: the function.
      source: the name of what is made of it, with which its id begins.
      lines: its code.
      config: says how short it may be.
      prompt: what is asked for.
      tests: what its docstring shows.

    Raises:
      UnfitError: where it is too short, its lines are none without others, or its docstring or its path is no Unicode.
    """
    reference = normalise_source("\n".join(lines))
    try:
        difficulty = count_statements(reference)
    except SyntaxError as error:
        raise UnfitError("no text of its own") from error
    if difficulty < config.min_statements:
        raise UnfitError("too short a function")
    package = package_of(module.file)
    name = f"{source}/{package.name}/{module.file.module}.{node.name}"
    provenance = f"{package}, {'/'.join(module.file.parts)}:{node.lineno}"
    if not all(map(is_unicode, (name, provenance, prompt))):
        raise UnfitError("no Unicode")
    return Problem(
        id=name,
        source=source,
        # By the package, so that no two splits share one; in the standard library each module is one.
        split=split_of(module.file.module.split(".")[0]),
        prompt=prompt,
        entry_point=node.name,
        reference=reference,
        tests=tuple(tests),
        difficulty=difficulty,
        provenance=provenance,
    )
