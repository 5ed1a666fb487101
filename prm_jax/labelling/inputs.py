"""Calls of a problem's function with inputs of our own, made from those of its tests.

In: a `Problem` and a seed; out: calls as source text, without expected values. `generated.py` asks the reference for
these. Only tests that are one call of the entry point with literal arguments, compared by `==`, are taken for examples.
"""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from prm_jax.labelling.value_mutation import Traits, mutated, traits_of
from prm_jax.problems.literals import literal
from prm_jax.problems.problem import Problem

_TRIES = 6
"""Drawn calls to each that is wanted, since many come twice."""
_LONGEST = 2000
"""Characters of a call."""


class _Call(NamedTuple):
    """The arguments of a call; the last ones have the keywords."""

    values: list[Any]
    keywords: tuple[str, ...]

    def text(self, function: str) -> str:
        names = [""] * (len(self.values) - len(self.keywords)) + [f"{name}=" for name in self.keywords]
        return f"{function}({', '.join(name + literal(value) for name, value in zip(names, self.values, strict=True))})"


def generate_calls(problem: Problem, count: int, seed: int) -> list[str]:
    """Up to `count` calls that none of the problem's visible tests makes, the same ones for the same seed.

    What all tests have in common is kept: signs, order, distinct items, lists of equal length, a number that is the
    length of another argument.
    """
    rng = random.Random(f"{seed}/inputs/{problem.id}")
    examples = _examples(problem)
    found: dict[str, None] = {}
    if not examples or not examples[0].values:
        return []
    known = {example.text(problem.entry_point) for example in examples}
    traits = [traits_of(column) for column in zip(*(example.values for example in examples), strict=True)]
    relations = _Relations.of(examples)
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        try:
            text = _drawn(rng.choice(examples), traits, relations, rng).text(problem.entry_point)
        except (ValueError, OverflowError):
            continue  # A number has outgrown what a literal, or its type, can hold.
        if text not in known and len(text) <= _LONGEST:
            found[text] = None
    return list(found)


def _drawn(example: _Call, traits: Sequence[Traits], relations: _Relations, rng: random.Random) -> _Call:
    """A call with some arguments changed."""
    values = list(example.values)
    for place in rng.sample(range(len(values)), rng.randint(1, len(values))):
        for _ in range(rng.randint(1, 3)):
            values[place] = mutated(values[place], traits[place], rng)
        values[place] = traits[place].repaired(values[place])
    relations.restore(values)
    return _Call(values, example.keywords)


def _examples(problem: Problem) -> list[_Call]:
    """The calls of the visible tests, of those alike that come first."""
    found: list[_Call] = []
    for test in problem.visible_tests:
        call = _arguments(test.call, problem.entry_point) if test.expected is not None else None
        if call and (not found or (len(call.values), call.keywords) == (len(found[0].values), found[0].keywords)):
            found.append(call)
    return found


def _arguments(call: str, function: str) -> _Call | None:
    """The arguments of a call; None where it is another call, or where one has no literal."""
    try:
        node = ast.parse(call, mode="eval").body
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function):
            return None
        values = [ast.literal_eval(each) for each in (*node.args, *(keyword.value for keyword in node.keywords))]
        for value in values:
            literal(value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    keywords = tuple(keyword.arg or "" for keyword in node.keywords)
    return None if "" in keywords else _Call(values, keywords)


class _Relations(NamedTuple):
    """Which arguments go together in every test, as pairs of places.

    Attributes:
      lengths: the first is a number, the length of the second.
      equal: both are equally long.
    """

    lengths: list[tuple[int, int]]
    equal: list[tuple[int, int]]

    @classmethod
    def of(cls, examples: Sequence[_Call]) -> _Relations:
        pairs = list(itertools.permutations(range(len(examples[0].values)), 2))
        sized = [[_length(value) for value in example.values] for example in examples]
        rows = list(zip(examples, sized, strict=True))
        lengths = [(i, j) for i, j in pairs if all(_is_length(row.values[i], size[j]) for row, size in rows)]
        equal = [(i, j) for i, j in pairs if i < j and all(size[i] == size[j] is not None for size in sized)]
        return cls(lengths, equal)

    def restore(self, values: list[Any]) -> None:
        """Cuts what has become too long and sets numbers to the lengths that they stand for."""
        for i, j in self.equal:
            shorter = min(len(values[i]), len(values[j]))
            values[i], values[j] = values[i][:shorter], values[j][:shorter]
        for i, j in self.lengths:
            values[i] = len(values[j])


def _is_length(value: Any, length: int | None) -> bool:
    return type(value) is int and value == length


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list | tuple | str) else None
