"""The pipeline end to end on ten synthetic problems: shards, card, and going on where it stopped."""

import json

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.labelling.beam import run_labelling
from prm_jax.labelling.jsonl import TESTS, read_labelled, read_tests
from prm_jax.labelling.label import LabelConfig
from prm_jax.problems.synthetic import generate

SANDBOX = SandboxConfig(workers=1)
CONFIG = LabelConfig(mutants_per_step=1, refactorings_per_step=1)


@pytest.fixture(scope="module")
def problems():
    return list(generate("train", 8, 2, 5)) + list(generate("test", 2, 2, 5))


@pytest.fixture(scope="module")
def labelled(problems, tmp_path_factory):
    directory = tmp_path_factory.mktemp("labelled")
    heard: list[tuple[int, int]] = []
    run_labelling(
        problems, directory, CONFIG, SANDBOX, shards=3, progress=lambda done, count: heard.append((done, count))
    )
    assert heard[0] == (0, 3)
    assert heard[-1] == (3, 3)
    return directory


def rows_of(directory):
    return [row for path in sorted(directory.glob("labelled-*.jsonl")) for row in read_labelled(path)]


def test_every_problem_is_labelled_and_keeps_its_split(problems, labelled):
    rows = rows_of(labelled)
    assert len(list(labelled.glob("labelled-*-of-00003.jsonl"))) == 3
    split = {problem.id: problem.split for problem in problems}
    assert {row.problem_id: row.split for row in rows} == split
    assert any(row.passed and row.operator != "reference" for row in rows)
    assert any(not row.passed for row in rows)


def test_card_counts_the_rows(labelled):
    rows, card = rows_of(labelled), json.loads((labelled / "card.json").read_text())
    assert card["programs"] == len(rows)
    assert card["problems"] == card["operators"]["reference"]["passed"] == 10
    assert sum(card["labels"].values()) == sum(len(row.labels) for row in rows)
    assert card["labels"]["wrong"] == sum(not row.passed for row in rows)
    assert card["skipped"] == {}


def test_finished_shards_are_not_done_again(problems, labelled):
    before = rows_of(labelled)
    paths = sorted(labelled.glob("labelled-*.jsonl"))
    paths[1].unlink()
    times = [path.stat().st_mtime_ns for path in (paths[0], paths[2])]
    run_labelling(problems, labelled, CONFIG, SANDBOX, shards=3)
    assert [path.stat().st_mtime_ns for path in (paths[0], paths[2])] == times
    assert rows_of(labelled) == before


def test_generated_tests_are_kept_beside_the_rows(problems, tmp_path):
    config = LabelConfig(mutants_per_step=3, generated_inputs=16)
    run_labelling(problems[:6], tmp_path, config, SANDBOX, shards=2)
    gained = read_tests(tmp_path / TESTS)
    assert set(gained) == {row.problem_id for row in rows_of(tmp_path) if row.by_generated}
    with Sandbox(SANDBOX) as sandbox:
        for problem in problems[:6]:
            (verdict,) = sandbox.run([Program(problem.reference, problem.with_tests(gained.get(problem.id, ())).tests)])
            assert verdict.outcome is Outcome.PASSED


def test_another_configuration_is_labelled_afresh(problems, tmp_path):
    run_labelling(problems[:2], tmp_path, CONFIG, SANDBOX, shards=2)
    run_labelling(problems[:2], tmp_path, LabelConfig(mutants_per_step=0), SANDBOX, shards=1)
    assert [path.name for path in tmp_path.glob("labelled-*")] == ["labelled-00000-of-00001.jsonl"]
    assert all(row.passed for row in rows_of(tmp_path))
