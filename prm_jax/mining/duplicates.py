"""Near-duplicates: problems whose code, but for the names in it, or whose words are nearly those of another.

Comes in: `Problem`s. Goes out: those that are close to none before them and to none that is to be avoided. Called by
`stages/mine.py`. Similarity is that of Jaccard between sets of shingles, found by MinHash with locality-sensitive
hashing (Broder 1997; Indyk and Motwani 1998) from the library datasketch, so that each of many is compared with few.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem

_PERMUTATIONS = 128
_TOKENS_PER_SHINGLE = 4
_WORDS_PER_SHINGLE = 3
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"[a-z]+|\d+")


class Neighbours:
    """A growing set of texts that can be asked whether one is close to any of them."""

    def __init__(self, similarity: float) -> None:
        """Nothing is in it yet; texts are close from this Jaccard similarity on, in (0, 1].

        Raises:
          UserError: when datasketch is not installed.
        """
        try:
            import datasketch
        except ImportError as error:
            raise UserError(
                'mining needs the package datasketch, which is not installed: pip install "prm_jax[mining]"'
            ) from error
        self._similarity = similarity
        # Tuned for a lower threshold than is asked for, as it would else miss some of those just above.
        self._index = datasketch.MinHashLSH(threshold=0.8 * similarity, num_perm=_PERMUTATIONS)
        self._shingles: list[frozenset[str]] = []

    def holds(self, shingles: frozenset[str]) -> bool:
        """Whether a text with these shingles is close to one that was added."""
        if not shingles:
            return False
        found = self._index.query(_sketch(shingles))
        return any(_jaccard(shingles, self._shingles[index]) >= self._similarity for index in found)

    def add(self, shingles: frozenset[str]) -> None:
        """Adds a text."""
        if shingles:
            self._index.insert(len(self._shingles), _sketch(shingles))
            self._shingles.append(shingles)


@functools.lru_cache(maxsize=2)  # The code and the words of one problem, which are looked for and then added.
def _sketch(shingles: frozenset[str]) -> Any:
    import datasketch

    sketch = datasketch.MinHash(num_perm=_PERMUTATIONS, seed=1)
    sketch.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
    return sketch


class _Known:
    """A growing set of problems that can be asked whether one is close to any of them, in code or in words."""

    def __init__(self, similarity: float) -> None:
        self._code, self._words = Neighbours(similarity), Neighbours(similarity)

    def holds(self, code: frozenset[str], words: frozenset[str]) -> bool:
        return self._code.holds(code) or self._words.holds(words)

    def add(self, code: frozenset[str], words: frozenset[str]) -> None:
        self._code.add(code)
        self._words.add(words)


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is left of some problems.

    Attributes:
      unique: how many are close to none before them.
      kept: those of these that are close to none that is to be avoided.
      too_deep: how many could not be compared, as their code is nested too deeply to be written again.
    """

    unique: int
    kept: tuple[Problem, ...]
    too_deep: int = 0


def select(
    problems: Iterable[Problem],
    similarity: float,
    avoided: Iterable[Problem] = (),
    avoid_similarity: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> Selection:
    """Leaves out near-duplicates, and what is close to a problem that is to be avoided.

    Args:
      problems: the first of several that are alike is kept.
      similarity: near-duplicates are so similar in code or in words, in (0, 1].
      avoided: none of these.
      avoid_similarity: how similar to them is too close.
      progress: is told after every problem how many have been looked at.
    """
    known, forbidden = _Known(similarity), _Known(avoid_similarity)
    for each in avoided:
        forbidden.add(_code_of(each) or frozenset(), word_shingles(each.prompt))
    unique, kept, too_deep = 0, [], 0
    for done, problem in enumerate(problems, start=1):
        code, words = _code_of(problem), word_shingles(problem.prompt)
        if code is None:
            too_deep += 1
        elif not known.holds(code, words):
            known.add(code, words)
            unique += 1
            if not forbidden.holds(code, words):
                kept.append(problem)
        if progress is not None:
            progress(done)
    return Selection(unique, tuple(kept), too_deep)


def _code_of(problem: Problem) -> frozenset[str] | None:
    """The shingles of a problem's code, None where it is nested too deeply."""
    try:
        return code_shingles(problem.reference)
    except (RecursionError, MemoryError):
        return None


def code_shingles(source: str) -> frozenset[str]:
    """The runs of four tokens of a program that parses, docstrings, comments and the names that it gives left out."""
    tree = ast.parse(source)
    given = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            given.add(node.arg)
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            given.add(node.name)
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    tokens = ["_" if token in given else token for token in _TOKEN.findall(ast.unparse(tree))]
    return _shingles(tokens, _TOKENS_PER_SHINGLE)


def word_shingles(prompt: str) -> frozenset[str]:
    """The runs of three words of what a prompt says, without its code: asserts, heads of functions, doctests."""
    lines = [line.strip() for line in prompt.split("\n")]
    prose = [line for line in lines if not line.startswith(("assert ", "def ", "import ", "from ", ">>>"))]
    return _shingles(_WORD.findall(" ".join(prose).lower()), _WORDS_PER_SHINGLE)


def _shingles(parts: list[str], size: int) -> frozenset[str]:
    return frozenset(" ".join(parts[start : start + size]) for start in range(max(1, len(parts) - size + 1)) if parts)


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right)
