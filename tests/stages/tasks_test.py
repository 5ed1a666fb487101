"""The stage `tasks` on labelled runs: families, and mixtures with the labelled programs of another run."""

import dataclasses
import json

import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import SandboxConfig
from prm_jax.labelling.label import LabelConfig
from prm_jax.problems.jsonl import JsonlSource, to_line
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.stages.experiment import Experiment, ProblemSets, TextConfig
from prm_jax.stages.label import label, practice_problems
from prm_jax.stages.problem_sets import _load, _load_part
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.tasks import serve, tasks
from prm_jax.training.data import load_meta, load_prompts

pytestmark = pytest.mark.slow

LABELS = LabelConfig(mutants_per_step=1, refactorings_per_step=0)


def experiment(name: str, count: int, statements: int, **more) -> Experiment:
    sets = ProblemSets(
        demonstrations=(SyntheticSource("train", count, statements, statements),),
        evaluation=(SyntheticSource("test", 2, statements, statements),),
    )
    sandbox = SandboxConfig(workers=1)
    return Experiment(name, sets, text=TextConfig(max_length=512), labels=LABELS, sandbox=sandbox, **more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two labelled runs, `own` and `mined`, of which the second has a corpus."""
    folder = tmp_path_factory.mktemp("runs")
    label(experiment("toy", 6, 2), str(folder / "own"))
    label(experiment("other", 4, 3), str(folder / "mined"))
    row = {"id": "corpus/a", "prompt": "Add one.", "text": "def f(x):\n    return x + 1\n", "provenance": "a"}
    (folder / "mined/mine").mkdir()
    (folder / "mined/mine/corpus-train.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def programs(runs, name: str) -> int:
    return load_meta(runs / name / "tasks/prm")["programs"]


def test_the_reward_models_learn_from_both_runs_and_the_policy_from_its_own(runs):
    alone = experiment("toy", 6, 2)
    tasks(alone, str(runs / "own"))
    tasks(experiment("other", 4, 3), str(runs / "mined"))
    assert serve(str(runs / "own")) == ("toy",)
    apart = programs(runs, "own"), programs(runs, "mined")
    shown = load_meta(runs / "own/tasks/sft")
    mixed = dataclasses.replace(alone, mixed_with=(str(runs / "mined"),))
    with pytest.raises(UserError, match="another configuration"):
        tasks(mixed, str(runs / "own"))
    (runs / "own/tasks").rename(runs / "before")
    tasks(mixed, str(runs / "own"))
    assert serve(str(runs / "own")) == ("toy", "mined", "toy_mined")
    assert load_meta(runs / "own/tasks/prm")["task"] == "toy_mined_prm"
    assert programs(runs, "own") == sum(apart)
    assert load_meta(runs / "own/tasks/sft")["programs"] == shown["programs"] == 6
    import seqio

    task = seqio.get_mixture_or_task("toy_mined_prm")
    rows = task.get_dataset({"targets": 512, "labels": 512}, split="train", shuffle=False, num_epochs=1, seed=0)
    labels = np.concatenate([row["labels"] for row in rows.as_numpy_iterator()])
    assert set(np.unique(labels)) == {1, 2, 3}


def test_a_mined_run_serves_its_corpus(runs):
    import seqio

    if not RunDirectory(str(runs / "mined")).is_done("tasks"):
        tasks(experiment("other", 4, 3), str(runs / "mined"))
    serve(str(runs / "mined"))
    (row,) = seqio.get_mixture_or_task("other_corpus_sft").get_dataset(split="train").as_numpy_iterator()
    assert set(row["labels"]) == {1, 2}


def test_a_run_is_not_taught_by_the_problems_that_judge_it(runs):
    # The problems that the other run learns from are those that this one is evaluated on.
    sets = ProblemSets(
        demonstrations=(SyntheticSource("train", 2, 2, 2),), evaluation=(SyntheticSource("train", 4, 3, 3),)
    )
    judged = dataclasses.replace(experiment("judged", 2, 2), problems=sets, mixed_with=(str(runs / "mined"),))
    label(judged, str(runs / "judged"))
    with pytest.raises(UserError, match="4 problems that judge this run"):
        tasks(judged, str(runs / "judged"))


def test_prompts_are_practised_with_the_problems_that_they_were_made_from_or_not_at_all(tmp_path):
    path, lines = tmp_path / "train.jsonl", [to_line(problem) for problem in SyntheticSource("train", 4, 2, 2).load()]
    sets = ProblemSets((JsonlSource(str(path)),), evaluation=(SyntheticSource("test", 2, 2, 2),))
    user, run = dataclasses.replace(experiment("user", 4, 2), problems=sets), RunDirectory(str(tmp_path / "run"))

    def write(*rows):
        path.write_text("".join(f"{row}\n" for row in rows))
        _load.cache_clear(), _load_part.cache_clear()

    write("{", *lines[1:])  # A row with a mistake is left out.
    label(user, run.path)
    write(*lines)
    with pytest.raises(UserError, match=r"run/label was made from other problems .*1 differ: \S+ has joined them"):
        tasks(user, run.path)
    write("{", *lines[1:])
    tasks(user, run.path)
    served = load_prompts(run.folder("tasks") / "prompts").problem
    made_of = [practice_problems(user, run)[index].id for index in served]
    write("{", *reversed(lines[1:]))
    assert [practice_problems(user, run)[index].id for index in served] == made_of
    write(*lines)
    with pytest.raises(UserError, match=r"run/tasks was made from other problems .*1 differ: \S+ has joined them"):
        practice_problems(user, run)
