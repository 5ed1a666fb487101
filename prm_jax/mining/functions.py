"""From one file to the problems that its functions may become.

Comes in: a `SourceFile` and the `MiningConfig`. Goes out: a `FileReport`: counts, and a `Problem` for each top-level
function whose docstring shows what it gives and that can stand without its module; and what the corpus gets. Called by
`pool.py` in processes of their own. Nothing is executed here; `checks.py` finds out which of the problems hold.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import warnings
from collections.abc import Iterator

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.corpus import corpus_of
from prm_jax.mining.examples import Examples, find_examples
from prm_jax.mining.isolate import Module, NotIsolatedError, isolate, loaded_names
from prm_jax.mining.texts import UnfitError, code_lines, has_docstring, make_problem, prompt_of
from prm_jax.mining.walk import SourceFile, UnreadableError, read_source
from prm_jax.problems.problem import Problem

SOURCE = "mined"
_SHOWN_TESTS = 3
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
      corpus: top-level functions with a docstring, as problems without tests.
      not_in_corpus: why the others with a docstring are not there, with counts.
    """

    skipped: str = ""
    lines: int = 0
    functions: int = 0
    documented: int = 0
    with_examples: int = 0
    problems: tuple[Problem, ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    corpus: tuple[Problem, ...] = ()
    not_in_corpus: tuple[tuple[str, int], ...] = ()


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
    module, functions = Module(file, tree), list(functions_of(tree))
    documented = sum(has_docstring(each) for each in functions)
    shown = [found for node in tree.body if (found := _shown(node)) is not None]
    problems: dict[str, Problem] = {}
    dropped: collections.Counter[str] = collections.Counter()
    for function, examples in shown:
        try:
            problem = _problem(module, text, function, examples, config)
            problems[problem.id] = problem  # Of two functions of one name the second is the module's.
        except (NotIsolatedError, UnfitError) as error:
            dropped[str(error)] += 1
        except _TOO_DEEP:
            dropped["nested too deeply"] += 1
    not_in_corpus: collections.Counter[str] = collections.Counter()
    corpus = corpus_of(module, text, config, not_in_corpus) if config.corpus else []
    return FileReport(
        lines=text.count("\n"),
        functions=len(functions),
        documented=documented,
        with_examples=len(shown),
        problems=tuple(problems.values()),
        dropped=tuple(dropped.items()),
        corpus=tuple(corpus),
        not_in_corpus=tuple(not_in_corpus.items()),
    )


def functions_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions and methods of a module, inner ones too; only statements are visited."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(node, field, None)
            if isinstance(inner, list):
                pending.extend(inner)


def _shown(node: ast.stmt) -> tuple[ast.FunctionDef, Examples] | None:
    """A function with its examples, None where there are none."""
    if not (isinstance(node, ast.FunctionDef) and has_docstring(node)):
        return None
    # Most docstrings have no example, and are not worth cleaning.
    if f"{node.name}(" not in (ast.get_docstring(node, clean=False) or ""):
        return None
    examples = find_examples(ast.get_docstring(node) or "", node.name)
    return (node, examples) if examples.tests else None


def _problem(module: Module, text: str, node: ast.FunctionDef, examples: Examples, config: MiningConfig) -> Problem:
    """The problem that a function makes; raises `UnfitError` or `NotIsolatedError` with the reason."""
    if len(examples.tests) < config.min_tests:
        raise UnfitError("too few examples")
    lines = code_lines(text, node, config.max_lines)
    if module.has_future_annotations and "annotation" in ast.dump(node.args) + ast.dump(node):
        lines = ["from __future__ import annotations", "", *lines]
    prompt = prompt_of(node, examples.prose, examples.tests[:_SHOWN_TESTS], config.prose_characters)
    problem = make_problem(module, node, SOURCE, lines, config, prompt, examples.tests)
    return dataclasses.replace(problem, setup=_setup(module, node, examples))


def _setup(module: Module, node: ast.FunctionDef, examples: Examples) -> str:
    """What the function and its examples need of the module, and what the examples bring themselves."""
    trees = [ast.parse(source) for source in (*examples.imports, *examples.helpers, *(t.call for t in examples.tests))]
    used = loaded_names(trees)
    outer, own = [], []
    for source in examples.imports:
        statement = ast.parse(source).body[0]
        assert isinstance(statement, ast.Import | ast.ImportFrom)
        top = (getattr(statement, "module", None) or statement.names[0].name).split(".")[0]
        if top == module.file.module.split(".")[0]:
            own.append(statement)
        else:
            outer.append(source)
    try:
        setup = isolate(module.importing(own), node, used)
    except NotIsolatedError:
        setup = isolate(module, node, used)  # The examples that need less may do.
    return setup + "".join(f"{source}\n" for source in dict.fromkeys([*outer, *examples.helpers]))
