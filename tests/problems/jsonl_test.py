"""A user's own problems: good rows load, bad rows are named."""

import json
import logging

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.jsonl import JsonlSource, to_line

GOOD = {
    "id": "own/1",
    "prompt": "Add two numbers.\n",
    "entry_point": "add",
    "reference": "def add(a, b):\r\n\treturn a + b",
    "tests": [
        {"call": "add(1, 1)", "expected": "2", "visible": False},
        "assert add(1, 2) == 3",
        {"assert": "assert add(1, 2) > 1"},
    ],
}
BAD = [
    ("{", "not JSON"),
    ("[1]", "expected a JSON object"),
    ({**GOOD, "id": "a", "tests": []}, "tests is empty"),
    ({**GOOD, "id": "b", "reference": "def add(:"}, "reference does not compile: line 1"),
    ({**GOOD, "id": "c", "reference": "def f(a):\n    return a\n"}, "defines no function 'add'"),
    ({**GOOD, "id": "d", "tests": ["add(1, 2) == 3"]}, r"tests\[0\]: .* not one assert"),
    ({**GOOD, "id": "e", "tests": [{"call": "add(1, 2)", "expected": "x + 1"}]}, "not a Python literal"),
    ({**GOOD, "id": "f", "tests": [{"call": "add(1, 2)"}]}, "either an assert, or call and expected"),
    ({**GOOD, "id": "g", "split": "dev"}, "split 'dev'"),
    ({**GOOD, "id": 3}, "id: expected a string, found int"),
    ({**GOOD, "id": "h", "promt": ""}, "unknown field promt"),
    ({"id": "i", "prompt": "p"}, "missing entry_point, reference, tests"),
    ({**GOOD, "id": "j", "setup": "import ("}, "setup does not compile"),
    ({**GOOD, "id": "k", "reference": "def add(a):\n    return 1\nreturn 2\n"}, "'return' outside function"),
    ({**GOOD, "id": "l", "prompt": "Return x \ud83d now"}, "prompt: a lone surrogate"),
    ({**GOOD, "id": "m", "demonstration": "x = '\ud83d'\n"}, "demonstration: a lone surrogate"),
    ({**GOOD, "id": "n\udcff"}, "id: a lone surrogate"),
    (GOOD, "earlier row"),
]


def write(tmp_path, rows):
    path = tmp_path / "own.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_a_good_row(tmp_path):
    (problem,) = JsonlSource(write(tmp_path, [GOOD])).load()
    assert (problem.id, problem.split, problem.prompt) == ("own/1", "train", "Add two numbers.")
    assert problem.reference == "def add(a, b):\n    return a + b\n"
    assert problem.difficulty == 1
    assert [(t.call, t.expected, t.visible) for t in problem.tests] == [
        ("add(1, 2)", "3", True),
        ("(add(1, 2),)", None, True),
        ("add(1, 1)", "2", False),
    ]
    assert [t.check for t in problem.tests] == [None, "_0 > 1", None]
    assert problem.provenance.endswith("own.jsonl:1")
    assert problem.demonstration == ""


def test_what_is_written_is_read_back(tmp_path):
    (problem,) = JsonlSource(write(tmp_path, [{**GOOD, "tests": [*GOOD["tests"], "assert add(1, 2) == g(3)"]}])).load()
    (again,) = JsonlSource(write(tmp_path, [to_line(problem)]), strict=True).load()
    assert again == problem


def test_a_demonstration_may_be_wrong(tmp_path):
    (problem,) = JsonlSource(write(tmp_path, [{**GOOD, "demonstration": "def add(a, b):\r\n\treturn a - b"}])).load()
    assert problem.demonstration == "def add(a, b):\n    return a - b\n"


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_bad_rows_are_named_and_the_rest_goes_on(tmp_path, caplog, row, reason):
    path = write(tmp_path, [GOOD, "", row, {**GOOD, "id": "own/2"}])
    with caplog.at_level(logging.WARNING):
        problems = JsonlSource(path).load()
    assert [p.id for p in problems] == ["own/1", "own/2"]
    _, (skipped,) = JsonlSource(path).read()
    assert skipped.line == 3
    assert f"{path}:3: " in caplog.text
    with pytest.raises(UserError, match=reason):
        JsonlSource(path, strict=True).load()


def test_no_problem_at_all(tmp_path):
    with pytest.raises(UserError, match="line 1: not JSON"):
        JsonlSource(write(tmp_path, ["{"])).load()
    with pytest.raises(UserError, match="the file is empty"):
        JsonlSource(write(tmp_path, [])).load()
    with pytest.raises(UserError, match="no such file"):
        JsonlSource(str(tmp_path / "absent")).load()
