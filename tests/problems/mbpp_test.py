"""MBPP: the published facts (with the file), and the shape of one row (without it)."""

import dataclasses
import hashlib
import json
import os
import warnings

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.mbpp import PROTOCOLS, MbppSource
from prm_jax.text.step_map import render_prompt

ROW = {
    "text": "Write a function to add.",
    "code": "def helper(x):\r\n\treturn x\r\ndef add(a, b):\r\n\treturn helper(a) + b",
    "task_id": 601,
    "test_setup_code": "",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, math.inf) > 1"],
    "challenge_test_list": ["assert add(5, 5) == 10"],
}
FROZEN = {
    "mbpp-v1": "fd99404e57e0006de25fc96a540d5c72c910abad15e12598942c72ea5510dcb0",
    "mbpp-v1-three-shot": "90446222044c88874093bf235688c979398dfc84e9fdd945df1c6d238caea4d5",
}
"""SHA-256 of all prompts, as the policy reads them. Never to be changed: other bytes are another version."""
ALL = ("prompt", "test", "validation", "train")


@pytest.fixture(scope="module")
def published():
    path = os.environ.get("PRM_JAX_MBPP")
    if not path:
        pytest.skip("PRM_JAX_MBPP is not set")
    return MbppSource(path, ALL).load()


def write(tmp_path, *rows):
    path = tmp_path / "mbpp.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_set_up_code_runs_behind_the_program_with_each_test(tmp_path):
    (problem,) = MbppSource(write(tmp_path, ROW | {"test_setup_code": "two = add(1, 1)\r\n"}), ["train"]).load()
    assert all(test.in_child and test.call.startswith("two = add(1, 1)\nassert add") for test in problem.tests)


def test_one_row(tmp_path):
    (problem,) = MbppSource(write(tmp_path, ROW), ["train"]).load()
    assert (problem.id, problem.split, problem.entry_point) == ("mbpp/601", "train", "add")
    assert problem.prompt == "Write a function to add.\nassert add(1, 2) == 3\nassert add(2, 2) == 4"
    assert problem.reference == "def helper(x):\n    return x\ndef add(a, b):\n    return helper(a) + b\n"
    assert problem.setup == ""
    assert problem.difficulty == 2
    assert [(t.call, t.expected, t.visible) for t in problem.tests] == [
        ("add(1, 2)", "3", True),
        ("add(2, 2)", "4", True),
        ("(add(0, math.inf),)", None, False),
        ("add(5, 5)", "10", False),
    ]
    assert [t.check for t in problem.tests] == [None, None, "_0 > 1", None]


def test_splits_are_chosen_and_checked(tmp_path):
    path = write(tmp_path, ROW, {**ROW, "task_id": 11}, {**ROW, "task_id": 600})
    assert [p.split for p in MbppSource(path, ("test", "validation")).load()] == ["test", "validation"]
    assert hash(MbppSource(path, ["test"])) == hash(MbppSource(path, ("test",)))
    with pytest.raises(UserError, match="'dev'"):
        MbppSource(path, ("dev",))


def test_other_files_are_refused_by_line(tmp_path):
    with pytest.raises(UserError, match=r"mbpp\.jsonl:2: not a row"):
        MbppSource(write(tmp_path, ROW, {"a": 1})).load()
    with pytest.raises(UserError, match="no such file"):
        MbppSource(str(tmp_path / "absent")).load()


@pytest.mark.parametrize(
    "mistake",
    [
        {"test_list": []},
        {"test_list": None},
        {"test_list": [1]},
        {"text": None},
        {"code": None},
        {"code": "x = " + "-" * 100_000 + "1"},
        {"task_id": "602"},
        {"task_id": True},
        {"task_id": [602]},
        {"task_id": 975},
    ],
)
@pytest.mark.parametrize("protocol", ["", "mbpp-v1"])
def test_a_row_that_is_not_as_published_is_told_in_one_line(tmp_path, mistake, protocol):
    with pytest.raises(UserError, match=r"mbpp\.jsonl:2: not a row of MBPP as published.*take mbpp\.jsonl from"):
        MbppSource(write(tmp_path, ROW, {**ROW, "task_id": 602, **mistake}), protocol=protocol).load()


def test_published_counts(published):
    assert len(published) == 974
    assert [sum(p.split == split for p in published) for split in ALL] == [10, 500, 90, 374]
    assert len({p.id for p in published}) == 974


def test_published_asserts_are_split(published):
    official = [test for p in published for test in p.tests]
    split = sum(not test.in_child for test in official)
    assert split / len(official) >= 0.992
    assert all(len(p.visible_tests) == 2 and p.hidden_tests for p in published)


def test_published_references_compile(published):
    for problem in published:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Invalid escapes in published patterns.
            compile(problem.reference, problem.id, "exec")
        assert "\r" not in problem.reference
        # One program (669) has a string of several lines that begin with tabs.
        assert "\n\t" not in problem.reference.replace("\n\t\t\t25[0-5]", "")
        assert f"def {problem.entry_point}(" in problem.reference.replace(" (", "(")
        assert problem.entry_point in problem.prompt


def test_a_protocol_shows_all_published_asserts_and_judges_by_them(tmp_path):
    path = write(tmp_path, ROW, *({**ROW, "task_id": task, "text": f"Write {task}."} for task in (2, 3, 4)))
    (zero,) = MbppSource(path, ["train"], "mbpp-v1").load()
    asked = (
        '"""\nWrite a function to add.\nassert add(1, 2) == 3\nassert add(2, 2) == 4\nassert add(0, math.inf) > 1\n"""'
    )
    assert zero.prompt == asked
    assert len(zero.tests) == len(zero.visible_tests) == 3
    (three,) = MbppSource(path, ["train"], "mbpp-v1-three-shot").load()
    examples = three.prompt.removesuffix(asked)
    assert examples.count("def add(a, b):\n    return helper(a) + b\n\n") == 3
    assert [examples.count(f"Write {task}.") for task in (2, 3, 4)] == [1, 1, 1]
    assert dataclasses.replace(three, prompt=zero.prompt) == zero


def test_what_a_protocol_cannot_be_is_refused(tmp_path):
    with pytest.raises(UserError, match="'mbpp-v0'"):
        MbppSource("mbpp.jsonl", protocol="mbpp-v0")
    with pytest.raises(UserError, match="lacks task_id 2"):
        MbppSource(write(tmp_path, ROW), ["train"], "mbpp-v1-three-shot").load()
    with pytest.raises(UserError, match="stands twice"):
        MbppSource(write(tmp_path, ROW, ROW)).load()


def test_the_first_problems_of_the_chosen_splits(tmp_path):
    path = write(tmp_path, *({**ROW, "task_id": task} for task in (12, 601, 11, 13)))
    assert [p.id for p in MbppSource(path, ["test"], first=2).load()] == ["mbpp/11", "mbpp/12"]
    with pytest.raises(UserError, match="first is -1"):
        MbppSource(path, first=-1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_bytes_of_a_protocol_are_frozen(protocol):
    path = os.environ.get("PRM_JAX_MBPP")
    if not path:
        pytest.skip("PRM_JAX_MBPP is not set")
    prompts = [render_prompt(problem.prompt) for problem in MbppSource(path, ALL, protocol).load()]
    assert len(prompts) == 974
    assert hashlib.sha256("\0".join(prompts).encode()).hexdigest() == FROZEN[protocol]
