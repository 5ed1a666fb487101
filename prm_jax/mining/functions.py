"""From one file to the problems that its functions may become.

Comes in: a `SourceFile` and the `MiningConfig`. Goes out: a `FileReport`: counts, and a `Problem` for each top-level
function whose docstring shows what it gives and that can stand without its module. Called by `pool.py` in processes of
their own. Nothing is executed here; `checks.py` finds out which of the problems hold.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import re
import warnings
from collections.abc import Iterator

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.examples import Examples, find_examples
from prm_jax.mining.isolate import Module, NotIsolatedError, isolate, loaded_names
from prm_jax.mining.packages import package_of
from prm_jax.mining.walk import SourceFile, UnreadableError, read_source
from prm_jax.problems.asserts import as_assert
from prm_jax.problems.problem import Problem
from prm_jax.problems.reading import normalise_source
from prm_jax.problems.skeleton import count_statements, split_of

SOURCE = "mined"
_SHOWN_TESTS = 3
# What introduces the examples, which are gone, and directives of Sphinx.
_SAYS_NOTHING = re.compile(r"(?:examples?|usage|doctests?)\W*|\.\. .*", re.IGNORECASE | re.DOTALL)
_TOO_DEEP = (RecursionError, MemoryError)


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What one file holds.

    Attributes:
      skipped: why the file was not read, empty where it was.
      lines: number of its lines.
      functions: functions and methods.
      documented: those with a docstring.
      with_examples: top-level functions whose docstring shows what a call of them gives.
      problems: what those become that can stand without their module.
      dropped: why the others cannot, with counts.
    """

    skipped: str = ""
    lines: int = 0
    functions: int = 0
    documented: int = 0
    with_examples: int = 0
    problems: tuple[Problem, ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()


class _UnfitError(Exception):
    """Why a function makes no problem: a few words that the funnel counts."""


def read_file(file: SourceFile, config: MiningConfig) -> FileReport:
    """What a file holds; a file that cannot be read or parsed is a reason, never an exception."""
    try:
        text = read_source(file.path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Invalid escapes in other people's strings.
            tree = ast.parse(text)
    except UnreadableError as error:
        return FileReport(skipped=str(error))
    except (SyntaxError, ValueError):
        return FileReport(skipped="syntax of another Python")
    except _TOO_DEEP:
        return FileReport(skipped="nested too deeply")
    module, functions = Module(file, tree), list(_functions(tree))
    documented = sum(_has_docstring(each) for each in functions)
    shown = [found for node in tree.body if (found := _shown(node)) is not None]
    problems: dict[str, Problem] = {}
    dropped: collections.Counter[str] = collections.Counter()
    for function, examples in shown:
        try:
            problem = _problem(module, text, function, examples, config)
            problems[problem.id] = problem  # Of two functions of one name the second is the module's.
        except (NotIsolatedError, _UnfitError) as error:
            dropped[str(error)] += 1
        except _TOO_DEEP:
            dropped["nested too deeply"] += 1
    return FileReport(
        lines=text.count("\n"),
        functions=len(functions),
        documented=documented,
        with_examples=len(shown),
        problems=tuple(problems.values()),
        dropped=tuple(dropped.items()),
    )


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions and methods of a module; only statements are visited."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(node, field, None)
            if isinstance(inner, list):
                pending.extend(inner)


def _has_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _shown(node: ast.stmt) -> tuple[ast.FunctionDef, Examples] | None:
    """A function with its examples, None where there are none."""
    if not (isinstance(node, ast.FunctionDef) and _has_docstring(node)):
        return None
    # Most docstrings have no example, and are not worth cleaning.
    if f"{node.name}(" not in (ast.get_docstring(node, clean=False) or ""):
        return None
    examples = find_examples(ast.get_docstring(node) or "", node.name)
    return (node, examples) if examples.tests else None


def _problem(module: Module, text: str, node: ast.FunctionDef, examples: Examples, config: MiningConfig) -> Problem:
    """The problem that a function makes; raises `_UnfitError` or `NotIsolatedError` with the reason."""
    if len(examples.tests) < config.min_tests:
        raise _UnfitError("too few examples")
    lines = _code_lines(text, node)
    if len(lines) > config.max_lines:
        raise _UnfitError("too long a function")
    if module.has_future_annotations and "annotation" in ast.dump(node.args) + ast.dump(node):
        lines = ["from __future__ import annotations", "", *lines]
    reference = normalise_source("\n".join(lines))
    try:
        difficulty = count_statements(reference)
    except SyntaxError as error:
        raise _UnfitError("no text of its own") from error
    if difficulty < config.min_statements:
        raise _UnfitError("too short a function")
    package = package_of(module.file)
    return Problem(
        id=f"{SOURCE}/{package.name}/{module.file.module}.{node.name}",
        source=SOURCE,
        # By the package, so that no two splits share one; in the standard library each module is one.
        split=split_of(module.file.module.split(".")[0]),
        prompt=_prompt(node, examples, config.prose_characters),
        entry_point=node.name,
        reference=reference,
        tests=examples.tests,
        setup=_setup(module, node, examples),
        difficulty=difficulty,
        provenance=f"{package}, {'/'.join(module.file.parts)}:{node.lineno}",
    )


def _code_lines(text: str, node: ast.FunctionDef) -> list[str]:
    """The lines of a function, from its first decorator, without those of its docstring."""
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    docstring, *code = node.body
    assert docstring.end_lineno is not None
    if not code:
        raise _UnfitError("no code but a docstring")
    if docstring.lineno == node.lineno or docstring.end_lineno >= code[0].lineno:
        raise _UnfitError("no text of its own")
    lines = text.split("\n")
    return lines[first - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]


def _setup(module: Module, node: ast.FunctionDef, examples: Examples) -> str:
    """What the function and its examples need of the module, and what the examples bring themselves."""
    trees = [ast.parse(source) for source in (*examples.imports, *examples.helpers, *(t.call for t in examples.tests))]
    used = loaded_names(trees)
    imports = []
    for source in examples.imports:
        statement = ast.parse(source).body[0]
        assert isinstance(statement, ast.Import | ast.ImportFrom)
        top = (getattr(statement, "module", None) or statement.names[0].name).split(".")[0]
        if top == module.file.module.split(".")[0]:
            used |= {alias.name for alias in statement.names}  # Of the function's own module, most often.
        else:
            imports.append(source)
    own = isolate(module, node, used)
    return own + "".join(f"{source}\n" for source in dict.fromkeys([*imports, *examples.helpers]))


def _prompt(node: ast.FunctionDef, examples: Examples, most: int) -> str:
    """The function's head, the words of its docstring as far as there is room, and some of the tests."""
    paragraphs = [paragraph.strip() for paragraph in examples.prose.split("\n\n")]
    first, *others = [each for each in paragraphs if each and not _SAYS_NOTHING.fullmatch(each)] or [""]
    prose = first[:most]
    for paragraph in others:
        if len(prose) + len(paragraph) + 1 > most:
            break
        prose = f"{prose}\n{paragraph}"
    head = f"def {node.name}({ast.unparse(node.args)}):"
    return "\n".join(filter(None, [prose, head, *map(as_assert, examples.tests[:_SHOWN_TESTS])]))
