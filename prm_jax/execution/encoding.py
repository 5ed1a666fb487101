"""Values of an untrusted program as plain data: tagged JSON for grading, canonical text for traces.

Comes in: any object, inside the child. Goes out: JSON that `grading.py` decodes in the parent, or text. Only exact
built-in types are looked into (`type(x) is list`, never `isinstance`), with the containers' own C methods, so that no
method of a program's class ever runs here. Every builtin is captured before the program starts, so that a program
which patches `builtins` changes nothing here.

Tags: `null`, booleans, strings, floats and integers of at most 64 bits stand for themselves; everything else is a
JSON list that begins with its tag: `l` list, `t` tuple, `s` set, `z` frozenset, `d` dictionary (key, value, key, ...),
`i` large integer (hexadecimal), `b` bytes (hexadecimal), `c` complex (real, imaginary), `o` opaque (type name), which
equals nothing.
"""

from __future__ import annotations

import collections
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_STRING = 1 << 20
MAX_INTEGER_BITS = 1 << 20
TRACE_NODES = 2_000
TRACE_CHARACTERS = 200
TRACE_CHARACTERS_PER_PART = 64  # So many of a text, or hexadecimal digits of a number, take as long as a part.

_type, _repr, _len, _hex, _sorted, _str = type, repr, len, hex, sorted, str
_items = dict.items
_plain: frozenset[type] = frozenset({bool, float, type(None)})
_sequences: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "z"}
_brackets: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
# Subclasses of the standard library that compare as a dictionary and keep their data in one.
_dicts: frozenset[type] = frozenset({dict, collections.Counter, collections.OrderedDict, collections.defaultdict})


class _TooLargeError(Exception):
    """A value past the caps."""


def encode(value: Any) -> Any:
    """JSON-ready form of `value`; `["o", ...]` for a value past the caps."""
    try:
        return _encode(value, 0, [MAX_NODES])
    except _TooLargeError:
        return ["o", "too large"]


def _encode(value: Any, depth: int, budget: list[int]) -> Any:
    kind = _type(value)
    if kind in _plain:
        return value
    if kind is int:
        if value.bit_length() > MAX_INTEGER_BITS:
            raise _TooLargeError
        return value if value.bit_length() <= 64 else ["i", _hex(value)]
    if kind is str:
        if _len(value) > MAX_STRING:
            raise _TooLargeError
        return value
    if depth >= MAX_DEPTH:
        raise _TooLargeError
    if kind in _sequences:
        budget[0] -= _len(value)
        if budget[0] < 0:
            raise _TooLargeError
        return [_sequences[kind], *[_encode(item, depth + 1, budget) for item in value]]
    if kind in _dicts:
        budget[0] -= 2 * dict.__len__(value)
        if budget[0] < 0:
            raise _TooLargeError
        return ["d", *[_encode(part, depth + 1, budget) for pair in _items(value) for part in pair]]
    if kind is bytes:
        if _len(value) > MAX_STRING:
            raise _TooLargeError
        return ["b", value.hex()]
    if kind is complex:
        return ["c", value.real, value.imag]
    return ["o", _str(kind.__name__)[:80]]


def canonical(value: Any, work: list[int]) -> str:
    """Text that is equal for equal plain data; sets and dictionaries are sorted.

    `"?"` for anything that is not plain data all the way down or has more than `TRACE_NODES` parts. Text of more than
    `TRACE_CHARACTERS` is cut and ends in `#` and the SHA-1 of the whole, so that equality still works.

    Args:
      value: anything.
      work: one number, which is lowered by the parts that were looked into; where it gets negative, the text says
        nothing.
    """
    budget = [TRACE_NODES, work[0]]
    try:
        text = _canonical(value, 0, budget)
    except (_TooLargeError, ValueError):
        text = "?"
    work[0] = budget[1] - 1 - TRACE_NODES + budget[0]
    if _len(text) <= TRACE_CHARACTERS:
        return text
    import hashlib  # Here, because it loads a large library that few programs need.

    return text[:180] + "#" + hashlib.sha1(text.encode("utf-8", "surrogatepass")).hexdigest()


def _spend(budget: list[int], characters: int) -> None:
    budget[1] -= characters // TRACE_CHARACTERS_PER_PART
    if budget[1] < 0:
        raise _TooLargeError


def _canonical(value: Any, depth: int, budget: list[int]) -> str:
    """As `canonical`; `budget` holds the parts that are left for the value, and the work for all values."""
    kind = _type(value)
    if kind in _plain or kind is complex:
        return _repr(value)
    if kind is int:
        if value.bit_length() > MAX_INTEGER_BITS:
            raise _TooLargeError
        if value.bit_length() <= 1000:
            return _repr(value)
        _spend(budget, value.bit_length() // 4)
        return _hex(value)
    if kind is str or kind is bytes:
        if _len(value) > MAX_STRING:
            raise _TooLargeError
        _spend(budget, _len(value))
        return _repr(value)
    if depth >= MAX_DEPTH:
        raise _TooLargeError
    if kind in _sequences:
        if _len(value) > budget[0]:  # Costs nothing, as nothing is looked into.
            raise _TooLargeError
        budget[0] -= _len(value)
        parts = [_canonical(item, depth + 1, budget) for item in value]
        if kind is set or kind is frozenset:
            parts = _sorted(parts)
        opening, closing = _brackets[kind]
        comma = "," if kind is tuple and _len(parts) == 1 else ""
        return opening + ", ".join(parts) + comma + closing
    if kind in _dicts:
        if 2 * dict.__len__(value) > budget[0]:
            raise _TooLargeError
        budget[0] -= 2 * dict.__len__(value)
        pairs = [(_canonical(k, depth + 1, budget), _canonical(v, depth + 1, budget)) for k, v in _items(value)]
        return "{" + ", ".join([k + ": " + v for k, v in _sorted(pairs)]) + "}"
    raise _TooLargeError
