"""Texts that read back as the values they stand for."""

import ast
import subprocess
import sys

import pytest

from prm_jax.problems.literals import literal


@pytest.mark.parametrize(
    "value",
    [None, True, -3, 10**30, 0.1, "a'\n\\é\ud800", b"\x00", [], [1, [2]], (), (1,), (1, "a"), {3, 1}, set(),
     {"a": [1.5], (1, 2): None}],
)  # fmt: skip
def test_the_text_gives_the_value_back(value):
    read = ast.literal_eval(literal(value))
    assert read == value and type(read) is type(value)


def test_sets_have_one_text_in_every_process():
    code = "from prm_jax.problems.literals import literal; print(literal({'b', 'c', 'a', ('d', 1)}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, cwd=".", capture_output=True, text=True
        ).stdout
        for seed in "123"
    }
    assert told == {"{'a', 'b', 'c', ('d', 1)}\n"}


@pytest.mark.parametrize("value", [float("inf"), float("nan"), frozenset({1}), object(), [len], 1j])
def test_what_has_no_literal_is_refused(value):
    with pytest.raises(ValueError):
        literal(value)


def test_an_integer_that_python_does_not_print_is_refused():
    with pytest.raises(ValueError):
        literal([10**5000])
