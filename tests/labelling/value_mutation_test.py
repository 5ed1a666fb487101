"""Mutated values keep their type and what the values of their place have in common."""

import random

import pytest

from prm_jax.labelling.value_mutation import mutated, traits_of
from prm_jax.problems.literals import literal


def many(value, *others, count=300):
    traits, rng = traits_of([value, *others]), random.Random(0)
    return [traits.repaired(mutated(value, traits, rng)) for _ in range(count)]


def shape(value):
    """The types in a value, nested ones too."""
    if isinstance(value, list | tuple | set):
        return type(value), frozenset(map(shape, value))
    if isinstance(value, dict):
        return dict, frozenset((shape(key), shape(item)) for key, item in value.items())
    return type(value)


@pytest.mark.parametrize(
    "value", [3, 2.5, "abc", True, [1, 2], (1, "a"), {1, 2}, {"a": 1}, [[1, 2], [3, 4]], [(1, "x")], None, b"x"]
)
def test_types_stay(value):
    made = many(value)
    assert {shape(each) for each in made} == {shape(value)}
    if value is not None and not isinstance(value, bytes):
        assert len({literal(each) for each in made}) >= (1 if value is True else 4)


def test_numbers_keep_sign_and_size():
    assert min(many(5, 7)) >= 1 and max(many(5, 7)) <= 14
    assert min(many(0, 7)) == 0
    assert min(many(-2, 7)) < 0 and min(many(-2, 7)) >= -14


def test_texts_keep_their_letters_and_do_not_become_empty():
    made = many("0110", "1", count=1000)
    assert {character for text in made for character in text} == {"0", "1"}
    assert "" not in made
    assert "" in many("a", "", count=1000)


def test_lists_keep_order_and_distinctness():
    assert all(each == sorted(each) for each in many([1, 3, 3], [2, 8]))
    assert all(len(set(each)) == len(each) for each in many([3, 1, 2], [9, 4]))
    assert any(each != sorted(each) for each in many([3, 1, 2], [1, 2, 3]))
    assert all(many([4], [1, 2]))
    assert [] in many([4], [], count=1000)


def test_rows_of_a_table_stay_equally_long():
    assert all(len({len(row) for row in each}) == 1 for each in many([[1, 2], [3, 4], [5, 6]]))
    assert any(len({len(row) for row in each}) > 1 for each in many([[1, 2], [3]]))
