"""The command `compare` on made-up runs: what of a run counts, and where the figures go."""

import json
import pathlib

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation import plain
from prm_jax.evaluation.prm_pairs import write_judged
from prm_jax.evaluation.results import policy_result
from prm_jax.evaluation.samples import GradedSample
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.stages.compare import compare


@pytest.fixture
def run(tmp_path) -> pathlib.Path:
    """A run with a policy and a PRM."""
    folder = tmp_path / "run"
    sample = GradedSample("p", 4, "x", Outcome.PASSED, False, 40, 5, 1)
    plain.save(policy_result("sft", [sample], resamples=10), folder / "evaluate/sft/result.json")
    (folder / "evaluate/prm").mkdir()
    labels = (Label.RIGHT, Label.WRONG)
    row = LabelledProgram("p", "s", "test", "", "xx", (1, 2), labels, False, "o", "m", "wrong_answer")
    write_judged([ScoredProgram(row, (0.9, 0.1))], folder / "evaluate/prm")
    (folder / "evaluate/prm/done.json").write_text("{}")
    return folder


def test_the_figures_go_into_a_file_whose_folder_is_made(run, tmp_path):
    out = tmp_path / "missing" / "x.json"
    compare([str(run)], str(out))
    written = json.loads(out.read_text())
    assert [summary["name"] for summary in written["policies"]] == ["sft"]
    assert [prm["auc"]["value"] for prm in written["prms"]] == [1.0]


def test_a_file_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/x\.json"):
        compare([str(run)], str(tmp_path / "file" / "x.json"))


def test_a_prm_that_is_still_judged_does_not_count(run, tmp_path):
    (run / "evaluate/prm/done.json").unlink()
    (run / "evaluate/prm/judged.jsonl").write_text('{"problem_id": "p", "sco')
    compare([str(run)], str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text())["prms"] == []


def test_a_damaged_file_is_named(run):
    (run / "evaluate/prm/judged.jsonl").write_text('{"problem_id": "p", "sco')
    with pytest.raises(UserError, match=r"judged\.jsonl:1"):
        compare([str(run)])
