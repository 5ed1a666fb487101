"""Near-duplicates by code and by words."""

import dataclasses
import sys

import pytest

from prm_jax.errors import UserError
from prm_jax.mining.duplicates import Neighbours, code_shingles, select, word_shingles
from prm_jax.problems.problem import Problem

LOOP = """def total(values):
    '''Adds them.'''
    result = 0
    for value in values:
        if value > 0:
            result += value * value
    return result
"""
RENAMED = LOOP.replace("total", "f").replace("values", "xs").replace("value", "x").replace("result", "out")
OTHER = "def join(a, b):\n    return sorted(set(a) | set(b), key=str)[:10]\n"


def problem(name: str, reference: str, prompt: str = "") -> Problem:
    return Problem(name, "mined", "train", prompt, "f", reference, ())


def unique(problems: list[Problem], similarity: float) -> list[Problem]:
    selection = select(problems, similarity)
    assert selection.unique == len(selection.kept)
    return list(selection.kept)


def away_from(problems: list[Problem], avoided: list[Problem], similarity: float) -> list[Problem]:
    return [each for problem in problems for each in select([problem], 1.0, avoided, similarity).kept]


def test_names_comments_and_docstrings_make_no_difference():
    assert code_shingles(LOOP) == code_shingles(RENAMED.replace("Adds them.", "Else.").replace("out = 0", "out = 0  #"))
    assert code_shingles(LOOP) & code_shingles(OTHER) == {"def _ ( _"}
    assert code_shingles("def f(x):\n    return x.lower()\n") != code_shingles("def f(x):\n    return x.upper()\n")


def test_words_are_those_of_the_prose():
    prompt = "Write a function to add two numbers.\ndef add(a, b):\nassert add(1, 2) == 3"
    assert word_shingles(prompt) == word_shingles("write a FUNCTION to add  two numbers")
    assert word_shingles("def f(x):\n>>> f(1)") == frozenset()


def test_the_first_of_several_alike_is_kept():
    found = unique([problem("a", LOOP), problem("b", RENAMED), problem("c", OTHER)], 0.8)
    assert [each.id for each in found] == ["a", "c"]


def test_two_programs_for_one_text_are_one_problem():
    words = "Return the sum of the squares of all the positive numbers of a list."
    found = unique([problem("a", LOOP, words), problem("b", OTHER, words), problem("c", OTHER, "Join two sets.")], 0.8)
    assert [each.id for each in found] == ["a", "c"]


def test_nearly_alike_depends_on_the_similarity():
    near = LOOP.replace("value > 0", "value >= 0")
    both = len(code_shingles(LOOP) & code_shingles(near)) / len(code_shingles(LOOP) | code_shingles(near))
    assert 0.5 < both < 1.0
    pair = [problem("a", LOOP), problem("b", near)]
    assert len(unique(pair, both - 0.01)) == 1
    assert len(unique(pair, both + 0.01)) == 2


def test_what_is_close_to_a_benchmark_in_code_or_words_is_dropped():
    words = "Return the sum of the squares of all the positive numbers of a list."
    benchmark = [problem("test", LOOP, words)]
    candidates = [
        problem("same code", RENAMED),
        problem("same words", OTHER, words + "\ndef f(a, b):"),
        problem("neither", OTHER, "Join two collections and give the first ten of them in the order of their texts."),
    ]
    assert [each.id for each in away_from(candidates, benchmark, 0.6)] == ["neither"]
    assert away_from(candidates, [], 0.6) == candidates


def test_duplicates_of_what_is_avoided_are_counted_as_duplicates():
    told = []
    benchmark = [problem("test", LOOP)]
    found = select([problem("a", LOOP), problem("b", RENAMED), problem("c", OTHER)], 0.8, benchmark, 0.6, told.append)
    assert (found.unique, [each.id for each in found.kept]) == (2, ["c"])
    assert told == [1, 2, 3]


def test_what_is_nested_too_deeply_is_counted():
    deep = f"def f():\n    return {' + '.join('1' * 400)}\n"
    found = select([problem("a", deep, "Add many numbers."), problem("b", OTHER)], 0.8)
    assert (found.unique, [each.id for each in found.kept], found.too_deep) == (1, ["b"], 1)
    words = "Return the sum of a great many numbers."
    assert away_from([problem("c", OTHER, words)], [problem("test", deep, words)], 0.6) == []


def test_texts_without_words_are_close_to_nothing():
    held = [dataclasses.replace(problem("a", LOOP), prompt="")]
    assert away_from([problem("b", OTHER)], held, 0.1)


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(UserError, match=r'pip install "prm_jax\[mining\]"'):
        Neighbours(0.5)
