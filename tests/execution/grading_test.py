"""Encoding in the child, decoding and equality in the parent."""

from __future__ import annotations

import collections
import json
import time

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.encoding import TRACE_NODES, encode
from prm_jax.execution.encoding import canonical as canonical_within
from prm_jax.execution.grading import decode, expected_value, freeze, is_expected


def agree(value: object, literal: str) -> bool:
    return is_expected(json.loads(json.dumps(encode(value))), expected_value(literal))


def canonical(value: object) -> str:
    return canonical_within(value, [10**6])


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (None, "None"),
        (True, "True"),
        (2**100, str(2**100)),
        (-(2**64), str(-(2**64))),
        (1.5, "1.5"),
        (float("inf"), "1e999"),
        (1, "1.0"),
        (True, "1"),
        ([0], "[False]"),
        ("\ud800é", "'\\ud800é'"),
        (b"\x00a", "b'\\x00a'"),
        (1 + 2j, "1+2j"),
        ([1, (2, "a"), {3}, frozenset({4})], "[1, (2, 'a'), {3}, {4}]"),
        ({(1, 2): [None], None: {}}, "{None: {}, (1, 2): [None]}"),
        ({1: "a", 2: "b"}, "{2: 'b', 1: 'a'}"),
        (set(), "set()"),
        (collections.Counter("aab"), "{'a': 2, 'b': 1}"),
    ],
)
def test_equal(value: object, literal: str) -> None:
    assert agree(value, literal)


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ([1, 2], "(1, 2)"),
        ([1, 2], "[2, 1]"),
        ([1, 2], "[1, 2, 2]"),
        ("1", "1"),
        (b"a", "'a'"),
        (0.1 + 0.2, "0.3"),
        (float("nan"), "0"),
        (range(3), "[0, 1, 2]"),
        (object(), "None"),
        (type("Int", (int,), {})(3), "3"),
        (["l", 1], "[1]"),
        ([[]] * 200_000, "[]"),
    ],
)
def test_unequal(value: object, literal: str) -> None:
    assert not agree(value, literal)


def test_deep_and_cyclic_values_are_opaque() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    assert encode(cycle)[0] == "o"
    assert canonical(cycle) == "?"


def test_giant_integers_are_opaque() -> None:
    assert encode(1 << 2_000_000)[0] == "o"
    assert canonical(1 << 2_000_000) == "?"
    assert agree(1 << 1_000_000, hex(1 << 1_000_000))


def test_opaque_never_equals_even_itself() -> None:
    assert decode(["o", "x"]) != decode(["o", "x"])


@pytest.mark.parametrize("data", [[], ["?", 1], ["i", "zz"], ["i", 5], {"a": 1}, ["d", 1], ["b", "x"], ["c", "a"]])
def test_malformed_data_raises(data: object) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        decode(data)


def test_a_set_of_numbers_with_one_hash_takes_no_time() -> None:
    numbers = ["s", *(n * (2**61 - 1) for n in range(100_000))]
    start = time.process_time()
    for data in (numbers, ["l", numbers], ["d", 1, numbers]):
        assert not is_expected(data, expected_value("[1, {2}]"))
    assert time.process_time() - start < 0.5


def test_expected_must_be_a_literal() -> None:
    for text in ("f(1)", "(", "[" * 10_000):
        with pytest.raises(UserError, match="literal"):
            expected_value(text)


def test_freeze_is_hashable() -> None:
    assert len({freeze({"a": [1, {2}]}), freeze({"a": [1.0, {2}]})}) == 1


def test_canonical_text() -> None:
    assert canonical({"b": {3, 1, 2}, "a": (1,)}) == "{'a': (1,), 'b': {1, 2, 3}}"
    assert canonical(collections.OrderedDict(b=1, a=2)) == canonical({"a": 2, "b": 1})
    assert canonical([object()]) == "?"
    long, longer = canonical("x" * 500), canonical("x" * 501)
    assert len(long) == 180 + 1 + 40
    assert long != longer
    assert long[:180] == longer[:180]


@pytest.mark.parametrize(
    ("value", "took"),
    [
        (1, 1),
        ([1, [2, 3]], 5),
        ({1: (2,)}, 4),
        ([0] * TRACE_NODES, 1 + TRACE_NODES),
        ([0] * (1 + TRACE_NODES), 1),  # It is not looked into.
        ([[0] * 1500] * 3, 1 + 3 + 1500),
        ("x" * 6400, 101),
        (1 << 4000, 16),
    ],
)
def test_work_is_counted(value: object, took: int) -> None:
    work = [5000]
    canonical_within(value, work)
    assert work == [5000 - took]


def test_work_that_is_not_there_is_not_done() -> None:
    work = [100]
    start = time.process_time()
    canonical_within(["x" * 100_000] * 1000, work)
    assert work[0] < 0 and time.process_time() - start < 0.1
