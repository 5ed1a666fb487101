"""A domain is a folder: how it loads, and that the two shipped ones hold what they promise."""

import json
import pathlib

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.grade import grade
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome
from prm_jax.problems.domain import CONSTRAINTS_FILE, DomainSource, domain_name
from prm_jax.problems.skeleton import skeleton
from prm_jax.quality.constraints import check, load_constraints
from prm_jax.quality.integrity import given_names, integrity

DOMAINS = pathlib.Path(__file__).parents[2] / "gin/data/domains"
NAMES = ("finance", "health")
SPLITS = ("train", "validation", "test")


def load(name, splits=SPLITS):
    return DomainSource(str(DOMAINS / name), splits).load()


def write(folder, *splits):
    row = {"prompt": "p", "entry_point": "f", "reference": "def f():\n    return 1\n", "tests": ["assert f() == 1"]}
    lines = [json.dumps(row | {"id": f"own/{index}", "split": split}) for index, split in enumerate(splits)]
    (folder / "problems.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_a_folder_loads_by_its_splits(tmp_path):
    folder = write(tmp_path, "train", "test", "train")
    assert [problem.id for problem in DomainSource(folder).load()] == ["own/0", "own/2"]
    (problem,) = DomainSource(folder, ["test"]).load()
    assert problem.source == domain_name(folder) == domain_name(f"{folder}/") == tmp_path.name


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="DomainSource.folder"):
        DomainSource().load()
    with pytest.raises(UserError, match="no such file"):
        DomainSource(str(tmp_path)).load()
    with pytest.raises(UserError, match="no problem with split validation"):
        DomainSource(write(tmp_path, "train"), ("validation",)).load()
    with pytest.raises(UserError, match="DomainSource.splits"):
        DomainSource(str(tmp_path), ("dev",))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_domain_is_large_enough_and_its_splits_share_no_shape(name):
    shapes = {split: {skeleton(problem.reference) for problem in load(name, (split,))} for split in SPLITS}
    assert len(load(name, ("train",))) >= 40 and len(load(name, ("test",))) >= 20
    assert not shapes["test"] & (shapes["train"] | shapes["validation"])
    # Varied: hardly two references differ in names and literals only.
    assert sum(map(len, shapes.values())) >= 0.9 * len(load(name))
    for problem in load(name):
        assert len(problem.visible_tests) >= 4 and len(problem.hidden_tests) >= 4
        assert len({test.expected for test in problem.tests}) >= 2
        assert not any(test.in_child for test in problem.tests)
        assert problem.entry_point in problem.prompt and len(problem.prompt) < 450


@pytest.mark.parametrize("name", NAMES)
def test_references_pass_in_the_sandbox(name):
    problems = load(name)
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        verdicts = grade([(problem, problem.reference) for problem in problems], sandbox, hidden=True)
    failed = {
        p.id: (v.outcome, v.exception) for p, v in zip(problems, verdicts, strict=True) if v.outcome != Outcome.PASSED
    }
    assert not failed


@pytest.mark.parametrize("name", NAMES)
def test_references_keep_the_rules_and_are_well_written(name):
    rules = load_constraints(str(DOMAINS / name / CONSTRAINTS_FILE))
    for problem in load(name):
        assert check(problem.reference, rules) == (), problem.id
        assert integrity(problem.reference, given_names(problem.entry_point, problem.setup)).findings == (), problem.id


FLOATS = """\
def net_price(price: float, percent):
    try:
        amount = float(price) * (1 - float(percent) / 100.0)
    except Exception:
        pass
    return "%.2f" % round(amount, 2)
"""


def test_rules_of_finance_name_what_is_wrong_with_floats():
    found = check(FLOATS, load_constraints(str(DOMAINS / "finance" / CONSTRAINTS_FILE)))
    assert sorted({finding.rule for finding in found}) == [
        "calls.banned",
        "calls.required",
        "exceptions.broad",
        "exceptions.swallowed",
        "types.replace",
    ]
    assert {finding.line for finding in found if finding.rule == "types.replace"} == {1, 3}
