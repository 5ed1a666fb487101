"""The whole pipeline, shrunk by gin/local_tiny.gin: every stage leaves what the next one and the user look for."""

import collections
import json
import re

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.samples import read_samples
from prm_jax.guided.config import GuidedConfig
from prm_jax.labelling.operators import MUTATIONS
from prm_jax.problems.synthetic import generate
from prm_jax.stages.compare import compare
from prm_jax.training.metrics import read_metrics

pytestmark = pytest.mark.slow

ARMS = ("outcome", "first_error_exact", "prm_online", "sft_more")


def test_a_run_ends_with_a_report_and_a_result_for_every_arm(tiny_run):
    told = (tiny_run.parent / "stdout").read_text()
    assert f"report: {tiny_run / 'report.html'}" in told
    report = (tiny_run / "report.html").read_text()
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S*", "", report) and len(report) < 3_000_000
    for policy in ("sft", *ARMS):
        result = json.loads((tiny_run / f"evaluate/{policy}/result.json").read_text())
        assert 0 <= result["pass_at_1"]["value"] <= 1
        assert policy in told and policy in report
        samples = read_samples(tiny_run / f"evaluate/{policy}")
        assert len(samples) == 12 * 2 and len({sample.problem_id for sample in samples}) == 12


def test_training_stays_off_the_held_out_problems(tiny_run):
    splits = set()
    for family in (tiny_run / "label").iterdir():
        for shard in family.glob("labelled-*.jsonl"):
            splits |= {(family.name, json.loads(line)["split"]) for line in shard.read_text().splitlines()}
    assert splits == {("others", s) for s in ("train", "validation", "test")} | {("demonstrations", "train")}


def test_every_step_is_logged(tiny_run):
    losses = [row["train/loss"] for row in read_metrics(tiny_run / "sft") if "train/loss" in row]
    assert len(losses) == 4 and losses[-1] < losses[0]


def test_a_second_run_skips_all_and_says_so(command, tiny, run_without):
    folder = run_without()
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")}
    out, _ = command("run", *tiny, f"--run_dir={folder}")
    stages = ["label", "tasks", "sft", "prm", "prm_blind", *(f"ppo/{arm}" for arm in ARMS)]
    stages += [f"evaluate/{name}" for name in ("sft", *ARMS, "prm")]
    assert out.count("skipped") == len(stages)
    for stage in stages:
        assert f"{stage}: done already for this configuration, skipped" in out
    assert done == {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")}


def test_prms_of_runs_are_compared_on_the_same_steps(tiny_run, run_without, tmp_path, capsys):
    other = run_without()
    compare([str(tiny_run), str(other)], str(tmp_path / "out.json"))
    assert capsys.readouterr().out.count("+0.0 (+0.0 to +0.0)") >= 2
    first, second = json.loads((tmp_path / "out.json").read_text())["prms"]
    judged = json.loads((tiny_run / "evaluate/prm/result.json").read_text())["mutants"]
    assert first["auc"]["value"] == pytest.approx(judged["auc"]["value"])
    assert first["first_wrong"]["value"] == pytest.approx(judged["localisation"]["accuracy"])
    assert first["programs"] == judged["localisation"]["programs"]
    assert (first["auc_gain"], second["auc_gain"]["value"]) == (None, 0.0)
    lines = (other / "evaluate/prm/judged.jsonl").read_text().splitlines()
    (other / "evaluate/prm/judged.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="different programs"):
        compare([str(tiny_run), str(other)])


def test_a_prm_without_an_operator_asks_for_no_new_labels(command, tiny, tiny_run, run_without):
    folder = run_without("prm", "prm_blind")
    before = {path: path.stat().st_mtime_ns for stage in ("label", "tasks") for path in (folder / stage).rglob("*")}
    shards = sorted((folder / "label/others").glob("labelled-*.jsonl"))
    rows = [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]
    taught = collections.Counter(row["operator"] for row in rows if row["split"] == "train")
    operator = max(taught.keys() & MUTATIONS.keys(), key=lambda name: (taught[name], name))
    command("prm", *tiny, f"--gin.Experiment.prm_without=('{operator}',)", f"--run_dir={folder}")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    losses = [
        [row["train/loss"] for row in read_metrics(run / "prm") if "train/loss" in row] for run in (tiny_run, folder)
    ]
    assert len(losses[0]) == len(losses[1]) and losses[0] != losses[1]


def test_score_prints_a_score_on_each_line(command, tiny_run, tmp_path):
    problem = generate("test", 12, 3, 4)[0]
    program = tmp_path / "program.py"
    program.write_text(problem.reference)
    out, _ = command("score", str(program), f"--problem={problem.id}", f"--run_dir={tiny_run}")
    lines = problem.reference.rstrip("\n").split("\n")
    for line in lines:
        assert re.search(rf"^(0\.\d\d|1\.00)  \w*\s*\| {re.escape(line)}$", out, re.MULTILINE), f"{line!r} in\n{out}"
    assert "verdict on the visible tests: passed" in out


def test_generate_prints_programs_with_verdicts(command, tiny_run):
    problem = generate("test", 12, 3, 4)[0]
    arguments = ("generate", f"--problem={problem.id}", f"--run_dir={tiny_run}", "--samples=3")
    out, _ = command(*arguments)
    assert len(re.findall(rf"^# \d: \w.*, \d+ of {len(problem.tests)} tests", out, re.MULTILINE)) == 3
    other, _ = command(*arguments, "--arm=prm_online", "--seed=1")
    assert other != out


@pytest.mark.parametrize("method", ["prm", "majority", "beam"])
def test_generate_shows_what_guides_it_prefers(command, tiny_run, method):
    problem = generate("test", 12, 3, 4)[0]
    out, _ = command(
        "generate", f"--problem={problem.id}", f"--run_dir={tiny_run}", "--samples=2", f"--guided={method}"
    )
    assert len(re.findall(rf"^# \d: \w.*, \d+ of {len(problem.tests)} tests", out, re.MULTILINE)) == 2


def test_a_scorer_that_was_not_trained_guides_nothing(command, tiny_run):
    problem = generate("test", 12, 3, 4)[0]
    _, err = command("generate", f"--problem={problem.id}", f"--run_dir={tiny_run}", "--guided=orm", status=2)
    assert "no finished stage 'orm'" in err


def test_a_finished_run_gets_rows_of_guided_decoding(command, tiny, run_without):
    folder = run_without("evaluate")
    out, err = command("evaluate", *tiny, "--gin_file=gin/guided.gin", f"--run_dir={folder}")
    for name in ("sft", "sft_prm", "sft_majority", "sft_beam"):
        assert name in out
        samples = read_samples(folder / f"evaluate/{name}")
        assert len(samples) == 12 * (2 if name == "sft" else 1)
        programs = 12 * (2 if name == "sft" else GuidedConfig().candidates)
        assert f"evaluate {name}: {programs} of {programs}" in err and f"evaluate {name}: decoding" in out


def test_a_learner_without_tensorflow_goes_on_from_an_export(command, tiny, tiny_run, tmp_path, not_installed):
    out = tmp_path / "out"
    told, _ = command("tasks", *tiny, f"--run_dir={tiny_run}", f"--export={out}")
    assert f"go on with --run_dir={out}" in told
    assert sorted(path.name for path in out.iterdir()) == ["label", "tasks"] and not list(out.rglob("tfds"))
    # All stages, of which the first two are done.
    one_arm = (*tiny, "--gin_file=gin/ablations/prm_online.gin", f"--run_dir={out}")
    packages = {"tensorflow", "seqio", "tensorflow_datasets", "apache_beam"}
    told, said = command("run", *one_arm, before=not_installed(packages))
    assert re.findall(r"^(\S+): done already", told, re.MULTILINE) == ["label", "tasks"]
    assert f"report: {out / 'report.html'}" in told and "never was a number" not in said
    assert "seqio" not in (out / "report.html").read_text() and "seqio" in (tiny_run / "report.html").read_text()
    # What networks learn from and are judged by is what it is where the data were made, so their figures are.
    for stage in ("sft", "prm", "prm_blind", "evaluate/sft", "evaluate/prm_online", "evaluate/prm"):
        here, there = (json.loads((run / stage / "done.json").read_text()) for run in (out, tiny_run))
        assert here["fingerprint"] == there["fingerprint"], stage
        assert json.dumps(here["summary"]) == json.dumps(there["summary"]), stage  # As text: an AUC of none is NaN.
