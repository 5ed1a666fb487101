"""The corpus for SFT: functions with docstrings, whether or not they show an example, as prompts and programs.

Comes in: a parsed module; later a list of what all modules gave. Goes out: `Problem`s without tests, in the splits of
mined problems, and files `corpus-<split>.jsonl`, one function a line: `id`, `prompt`, `text` and `provenance`. Called
by `functions.py` in the workers and by `stages/mine.py`; `tasks/corpus.py` serves the files. Nothing is executed.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import json
from collections.abc import Iterable

from etils import epath

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.examples import find_examples
from prm_jax.mining.isolate import Module
from prm_jax.mining.texts import UnfitError, code_lines, has_docstring, make_problem, prompt_of
from prm_jax.problems.problem import Problem
from prm_jax.problems.skeleton import SPLIT_BUCKETS

SOURCE = "corpus"
_LEAST_WORDS = 3


def corpus_of(module: Module, text: str, config: MiningConfig, dropped: collections.Counter[str]) -> list[Problem]:
    """The top-level functions of a module that have a docstring and are neither too short nor too long.

    Args:
      module: the module.
      text: its text.
      config: the limits, which are those of problems.
      dropped: counts the others by reason.
    """
    found: dict[str, Problem] = {}
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and has_docstring(node):
            try:
                problem = _problem(module, text, node, config)
                found[problem.id] = problem  # Of two functions of one name the second is the module's.
            except UnfitError as error:
                dropped[str(error)] += 1
            except (RecursionError, MemoryError):
                dropped["nested too deeply"] += 1
    return list(found.values())


def _problem(module: Module, text: str, node: ast.FunctionDef, config: MiningConfig) -> Problem:
    lines = code_lines(text, node, config.max_lines)
    prose = find_examples(ast.get_docstring(node) or "", node.name).prose
    if len(prose.split()) < _LEAST_WORDS:
        raise UnfitError("says too little")
    prompt = prompt_of(node, prose, (), config.prose_characters)
    return make_problem(module, node, SOURCE, lines, config, prompt)


def corpus_path(folder: epath.PathLike, split: str) -> epath.Path:
    """The file of a split."""
    return epath.Path(folder) / f"corpus-{split}.jsonl"


def corpus_files(folder: epath.PathLike) -> dict[str, epath.Path]:
    """The files that hold functions, by their splits; none where nothing was mined."""
    paths = {split: corpus_path(folder, split) for split in SPLIT_BUCKETS}
    return {split: path for split, path in paths.items() if path.exists() and path.stat().length}


def write_corpus(folder: epath.PathLike, problems: Iterable[Problem]) -> None:
    """Writes the files of all splits, each function as it comes; a split without functions has an empty one."""
    paths = {split: corpus_path(folder, split) for split in SPLIT_BUCKETS}
    with contextlib.ExitStack() as stack:
        files = {split: stack.enter_context(path.open("w")) for split, path in paths.items()}
        for problem in problems:
            row = {
                "id": problem.id,
                "prompt": problem.prompt,
                "text": problem.reference,
                "provenance": problem.provenance,
            }
            files[problem.split].write(json.dumps(row) + "\n")
