"""A plain value into another one of its type and kind, for inputs that a problem's own tests do not have.

In: a value and what the tests show of its place (`Traits`); out: another value. `inputs.py` calls it for the arguments
of a call. Values stay near those of the tests, so that few leave what a function is made for: numbers keep their sign
and size, text its alphabet, sorted lists their order (the typed mutation of EvalPlus, Liu et al. 2023, section 3.1,
kept closer).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prm_jax.problems.literals import literal

_SMALL = 10
_REUSE = 0.3


@dataclasses.dataclass(frozen=True)
class Traits:
    """What all values share that the tests have at one place.

    Attributes:
      leaves: the numbers and texts in them, by type, each once.
      least: no number is smaller.
      largest: no number is larger.
      may_be_empty: whether a list or a text may be empty.
      ordered: whether lists are sorted.
      distinct: whether the items of a list differ.
    """

    leaves: dict[type, tuple[Any, ...]]
    least: float
    largest: float
    may_be_empty: bool
    ordered: bool
    distinct: bool

    def repaired(self, value: Any) -> Any:
        """A mutated value with the order and the distinctness of the tests' own."""
        if isinstance(value, list) and self.distinct:
            value = [item for i, item in enumerate(value) if item not in value[:i]]
        if isinstance(value, list) and self.ordered:
            value = _sorted(value) or value
        return value


def traits_of(values: Sequence[Any]) -> Traits:
    """What the values of one place share."""
    parts = [part for value in values for part in _parts(value)]
    leaves: dict[type, dict[str, Any]] = {}
    for part in parts:
        if type(part) in (int, float, str):
            leaves.setdefault(type(part), {})[literal(part)] = part
    numbers = [part for part in parts if type(part) in (int, float)]
    largest = max([2 * abs(number) for number in numbers] + [_SMALL])
    # One and nought are often where a function begins or ends to be defined; what is beyond them is rarely meant.
    least = min([1, *numbers])
    lists = [value for value in values if isinstance(value, list)]
    return Traits(
        leaves={kind: tuple(known.values()) for kind, known in leaves.items()},
        least=-largest if least < 0 else least,
        largest=largest,
        may_be_empty=any(isinstance(part, list | tuple | set | dict | str) and not part for part in parts),
        ordered=any(len(each) > 1 for each in lists) and all(each == _sorted(each) for each in lists),
        distinct=any(len(each) > 1 for each in lists) and all(_distinct(each) for each in lists),
    )


def _parts(value: Any) -> Iterator[Any]:
    """A value and all within it; sets in the order of their texts."""
    yield value
    inner: Sequence[Any] = ()
    if isinstance(value, dict):
        inner = [part for pair in value.items() for part in pair]
    elif isinstance(value, list | tuple | set):
        inner = sorted(value, key=literal) if isinstance(value, set) else value
    for part in inner:
        yield from _parts(part)


def _sorted(items: list[Any]) -> list[Any] | None:
    try:
        return sorted(items)
    except TypeError:
        return None


def _distinct(items: list[Any]) -> bool:
    return all(item not in items[:i] for i, item in enumerate(items))


def mutated(value: Any, traits: Traits, rng: random.Random, keep_length: bool = False) -> Any:
    """Another value of the same type; the same one where nothing is known to do with it.

    Args:
      value: a value of the types that have a literal.
      traits: of its place.
      rng: decides.
      keep_length: whether a list stays as long as it is.
    """
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float | str) and rng.random() < _REUSE:
        return rng.choice(traits.leaves[type(value)])
    if isinstance(value, int):
        return int(_within(traits, rng.choice(_integers(value, rng))))
    if isinstance(value, float):
        return round(float(_within(traits, value + rng.choice((-1, 1, -0.5, 0.25, value, -value / 2)))), 6)
    if isinstance(value, str):
        return _text(value, traits, rng)
    if isinstance(value, list):
        return _sequence(value, traits, rng, keep_length)
    if isinstance(value, tuple):
        return tuple(_sequence(list(value), traits, rng, keep_length, is_record=len(set(map(type, value))) > 1))
    if isinstance(value, set):
        return set(_sequence(sorted(value, key=literal), traits, rng, keep_length=False))
    if isinstance(value, dict):
        return _dictionary(value, traits, rng)
    return value


def _integers(value: int, rng: random.Random) -> tuple[int, ...]:
    spread = max(_SMALL, abs(value))
    return (value + 1, value - 1, value + 2, value * 2, value // 2, rng.randint(value - spread, value + spread))


def _within(traits: Traits, number: float) -> float:
    return max(traits.least, min(number, traits.largest))


def _text(text: str, traits: Traits, rng: random.Random) -> str:
    alphabet = sorted({character for leaf in traits.leaves[str] for character in leaf}) or ["a"]
    at, other = rng.randint(0, len(text)), rng.choice(alphabet)
    edits: list[Callable[[], str]] = [lambda: text[:at] + other + text[at:]]
    if text:
        i, j = sorted((rng.randrange(len(text)), rng.randrange(len(text))))
        edits += [
            lambda: text[:i] + other + text[i + 1 :],
            lambda: text[: j + 1] + text[i:],  # A piece comes twice.
            lambda: text[:i] + text[j:],  # A piece is missing.
            lambda: text[:i] + text[i:].swapcase() if any(c.isupper() for c in alphabet) else text[::-1],
        ]
        if len(text) > 1 or traits.may_be_empty:
            edits.append(lambda: text[:i] + text[i + 1 :])
    return rng.choice(edits)()


def _sequence(
    items: list[Any], traits: Traits, rng: random.Random, keep_length: bool, is_record: bool = False
) -> list[Any]:
    """A list with one change. Its rows stay equally long, as those of a table; in a record each place is of a type."""
    if not items:
        leaves = [leaf for kind in traits.leaves.values() for leaf in kind]
        return [] if keep_length or not leaves else [rng.choice(leaves)]
    at = rng.randrange(len(items))
    lengths = {len(item) if isinstance(item, list) else -1 for item in items}
    inner = mutated(items[at], traits, rng, keep_length=isinstance(items[at], tuple) or len(lengths) == 1 < len(items))
    edits: list[Callable[[], list[Any]]] = [lambda: [*items[:at], inner, *items[at + 1 :]]] * 3
    if len(items) > 1 and not is_record:
        edits += [lambda: rng.sample(items, len(items)), lambda: items[::-1]]
    if not keep_length and not is_record:
        edits += [lambda: [*items[:at], inner, *items[at:]], lambda: [*items[:at], items[at], *items[at:]]]
        if len(items) > 1 or traits.may_be_empty:
            edits.append(lambda: items[:at] + items[at + 1 :])
    return rng.choice(edits)()


def _dictionary(value: dict[Any, Any], traits: Traits, rng: random.Random) -> dict[Any, Any]:
    if not value:
        return value
    key = rng.choice(list(value))
    edits: list[Callable[[], dict[Any, Any]]] = [
        lambda: value | {key: mutated(value[key], traits, rng)},
        lambda: value | {mutated(key, traits, rng): value[key]},
    ]
    if len(value) > 1 or traits.may_be_empty:
        edits.append(lambda: {other: item for other, item in value.items() if other != key})
    return rng.choice(edits)()
