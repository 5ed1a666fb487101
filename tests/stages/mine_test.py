"""The stage `mine` on a small tree: problems for a later stage, and a funnel that tells of the rest."""

import functools
import json
import pathlib
import re

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import SandboxConfig
from prm_jax.mining.config import MiningConfig
from prm_jax.mining.pool import read_files
from prm_jax.problems.domain import DomainSource
from prm_jax.problems.humaneval import HumanEvalSource
from prm_jax.problems.jsonl import JsonlSource
from prm_jax.problems.mbpp import MbppSource
from prm_jax.stages import mine as mine_module
from prm_jax.stages.experiment import Experiment, ProblemSets
from prm_jax.stages.mine import mine

ONE = '''
STEP = 1

def after(number):
    """The number after a number.

    >>> after(1)
    2
    >>> after(-1)
    0
    >>> after(7)
    9
    """
    result = number + STEP
    return result

def vague(number):
    """Says too little.

    >>> vague(1)
    1
    """
    result = number
    return result
'''
COPY = ONE.replace("after", "following").replace("result", "found").split("def vague")[0]
TESTED = '''
def spread(numbers):
    """spread([1, 4]) == 3, and

    spread([2]) == 0
    spread([5, 1, 3]) -> 4
    """
    low, high = min(numbers), max(numbers)
    return high - low
'''
HELD_OUT = {
    "id": "held-out",
    "split": "test",
    "prompt": "Spread.",
    "entry_point": "g",
    "reference": "def g(xs):\n    a, b = min(xs), max(xs)\n    return b - a\n",
    "tests": ["assert g([1]) == 0"],
}


def experiment(**options) -> Experiment:
    mining = MiningConfig(workers=1, **options)
    return Experiment("mined", ProblemSets(), mining=mining, sandbox=SandboxConfig(workers=1))


@pytest.fixture
def tree(tmp_path) -> pathlib.Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name, text in (("one", ONE), ("two", COPY), ("three", TESTED), ("old", "print 'two'\n")):
        (folder / f"{name}.py").write_text(text)
    (folder / "data.py").write_bytes(b"\0\1")
    return folder


def test_a_tree_becomes_a_domain(tree, tmp_path, capsys):
    (tmp_path / "benchmark.jsonl").write_text(json.dumps(HELD_OUT) + "\n")
    run = tmp_path / "run"
    mine(experiment(avoid=(JsonlSource(str(tmp_path / "benchmark.jsonl")),)), str(run), roots=[str(tree)])
    problems = DomainSource(str(run / "mine"), ("train", "validation", "test")).load()
    assert [problem.id for problem in problems] == ["mined/tree/one.after"]
    assert [test.call for test in problems[0].tests] == ["after(1)", "after(-1)"]  # after(7) is not 9.
    assert problems[0].setup == "STEP = 1\n"
    funnel = json.loads((run / "mine" / "funnel.json").read_text())
    expected = {"files": 3, "functions": 4, "documented": 4, "with_examples": 4, "executable": 3, "deterministic": 3}
    assert {key: funnel[key] for key in expected} == expected
    assert (funnel["unique"], funnel["kept"]) == (2, 1)
    assert funnel["skipped"] == {"null bytes": 1, "syntax of another Python": 1}
    assert funnel["dropped"] == {"too few examples": 1, "near-duplicate": 1, "close to a benchmark": 1}
    assert funnel["packages"] == {"tree": 1} and funnel["lines_per_minute"] > 0
    # The copy and what is close to the benchmark are not in the corpus; `vague` says enough for it.
    lines = [line for path in (run / "mine").glob("corpus-*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(json.loads(line)["id"] for line in lines) == ["corpus/tree/one.after", "corpus/tree/one.vague"]
    assert funnel["corpus"] == {"functions": 2, "lines": 6, "near-duplicate": 1, "close to a benchmark": 1}
    assert "mine: kept" in capsys.readouterr().out


def test_a_function_that_is_nested_too_deeply_costs_nothing_but_itself(tree, tmp_path):
    deep = ONE.replace("number + STEP", f"number + STEP + {' + '.join('0' * 400)}").replace("after", "later")
    (tree / "deep.py").write_text(deep.split("def vague")[0])
    mine(experiment(), str(tmp_path / "run"), roots=[str(tree)])
    funnel = json.loads((tmp_path / "run" / "mine" / "funnel.json").read_text())
    assert (funnel["executable"], funnel["unique"]) == (4, 2)
    assert funnel["dropped"] == {"too few examples": 1, "nested too deeply": 1, "near-duplicate": 1}
    assert funnel["corpus"] == {"functions": 3, "lines": 9, "nested too deeply": 1, "near-duplicate": 1}


def test_what_is_to_be_avoided_has_to_be_there(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(mine_module, "find_files", lambda *_: pytest.fail("nothing may be read"))
    (tmp_path / "there.jsonl").write_text(json.dumps({**HELD_OUT, "id": "other"}) + "\n")
    avoid = (JsonlSource(str(tmp_path / "there.jsonl")), MbppSource("/no/mbpp.jsonl"), HumanEvalSource())
    left = re.escape("--gin.MiningConfig.avoid='(@JsonlSource(),@HumanEvalSource(),)'")
    with pytest.raises(UserError, match=rf"names MbppSource.*/no/mbpp\.jsonl: no such file.*--gin\.MBPP=.*{left}$"):
        mine(experiment(avoid=avoid), str(tmp_path / "run"), roots=[str(tree)])
    assert not (tmp_path / "run" / "mine").exists()


def test_a_tree_without_python_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(UserError, match="no .py file below"):
        mine(experiment(), str(tmp_path / "run"), roots=[str(tmp_path)])


def test_an_interrupted_run_goes_on_where_it_was(tree, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    mine(experiment(), str(whole), roots=[str(tree)])
    asked: list[str] = []

    def reading(files, config, stop_behind=5):
        for done, (file, report) in enumerate(read_files(files, config)):
            if done == stop_behind:
                raise KeyboardInterrupt
            asked.append(file.path)
            yield file, report

    monkeypatch.setattr(mine_module, "read_files", functools.partial(reading, stop_behind=3))
    with pytest.raises(KeyboardInterrupt):
        mine(experiment(), str(stopped), roots=[str(tree)])
    first, asked[:] = set(asked), []
    monkeypatch.setattr(mine_module, "read_files", reading)
    mine(experiment(), str(stopped), roots=[str(tree)])
    assert len(first) == 3 and len(asked) == 2 and not first & set(asked)
    kept = [{path.name: path.read_bytes() for path in (run / "mine").glob("*.jsonl")} for run in (whole, stopped)]
    assert kept[0] == kept[1] and "problems.jsonl" in kept[0] and "read.jsonl" not in kept[0]
    funnels = [json.loads((run / "mine" / "funnel.json").read_text()) for run in (whole, stopped)]
    assert all(funnel.pop("lines_per_minute") > 0 for funnel in funnels) and funnels[0] == funnels[1]


def test_a_run_stopped_behind_the_reading_tells_no_rate(tree, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mine_module, "check", stop)
        with pytest.raises(KeyboardInterrupt):
            mine(experiment(), str(tmp_path), roots=[str(tree)])
    mine(experiment(), str(tmp_path), roots=[str(tree)])
    assert json.loads((tmp_path / "mine" / "funnel.json").read_text())["lines_per_minute"] is None
    assert "lines_per_minute" not in capsys.readouterr().out
