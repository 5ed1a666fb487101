"""What a stage's folder is refused for: all that its outcome depends on, and nothing else."""

import dataclasses
import functools

import pytest

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.ppo.arms import Arm
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.stages import evaluate, orm, ppo, prm, sft, tasks
from prm_jax.stages.experiment import Experiment, PolicySamplesConfig, PretrainedConfig, ProblemSets, TextConfig
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.text.chat import ChatConfig

SETS = ProblemSets(
    demonstrations=(SyntheticSource("train", 3, 2, 2),), evaluation=(SyntheticSource("test", 2, 2, 2),)
)  # fmt: skip
EXPERIMENT = Experiment(
    "toy", SETS, prm_samples=PolicySamplesConfig(problems=2), arms=(Arm(), Arm("rft", control="rft"))
)  # fmt: skip
COLDER = {"sampling": SamplingConfig(temperature=0.3)}
OTHERS = {"problems": dataclasses.replace(SETS, demonstrations=(SyntheticSource("train", 4, 2, 2),))}
VALIDATED = {"problems": dataclasses.replace(SETS, validation=(SyntheticSource("validation", 2, 2, 2),))}
LONGER = {"text": TextConfig(max_length=999)}
HALF = {"model": ModelConfig(dtype="bfloat16")}


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Finishes a stage, which does nothing, and then gives it another experiment."""
    run = RunDirectory(str(tmp_path))
    run.stage("label", {"problems": SETS, "labels": EXPERIMENT.labels}, lambda folder: {})
    run.stage("tasks", {"text": EXPERIMENT.text, "pretrained": EXPERIMENT.pretrained}, lambda folder: {})
    run.stage("sft", {}, lambda folder: {})
    for module, work in ((prm, "_prm"), (prm, "_blind"), (orm, "_orm"), (ppo, "_ppo"), (ppo, "control")):
        monkeypatch.setattr(module, work, lambda *_: {})

    def again(stage, first=EXPERIMENT, **changes):
        stage(first, run.path)
        stage(dataclasses.replace(first, **changes), run.path)

    return again


outcome, rft = (functools.partial(ppo.ppo, arm=name) for name in ("outcome", "rft"))


@pytest.mark.parametrize(
    ("stage", "changes", "named"),
    [
        (prm.prm, COLDER, "sampling.temperature"),
        (prm.prm, OTHERS, "practice"),
        (prm.prm, HALF, "dtype"),
        (prm.prm, {"model": ModelConfig(reads_surprise=True)}, "reads_surprise"),
        (orm.orm, HALF, "dtype"),
        (outcome, OTHERS, "practice"),
        (rft, OTHERS, "practice"),
        (rft, COLDER, "sampling.temperature"),
        (rft, VALIDATED, "validation"),
    ],
)
def test_a_finished_stage_is_refused_for_what_its_outcome_depends_on(finished, stage, changes, named):
    with pytest.raises(UserError, match=rf"was made with another configuration \(it differs in {named}\)"):
        finished(stage, **changes)


@pytest.mark.parametrize(("stage", "changes"), [(outcome, COLDER), (outcome, VALIDATED), (prm.prm, VALIDATED)])
def test_a_finished_stage_is_skipped_whatever_else_differs(finished, capsys, stage, changes):
    finished(stage, **changes)
    assert "skipped" in capsys.readouterr().out


def test_how_policies_sample_concerns_no_prm_that_learns_from_none_of_their_programs(finished, capsys):
    finished(prm.prm, dataclasses.replace(EXPERIMENT, prm_samples=PolicySamplesConfig()), **COLDER)
    assert "prm: done already" in capsys.readouterr().out


@pytest.mark.parametrize("stage", [sft.sft, prm.prm, orm.orm, ppo.ppo])
def test_tasks_with_rows_of_another_length_are_refused(finished, tmp_path, stage):
    with pytest.raises(UserError, match=r"tasks was made with another configuration \(it differs in text\.max_length"):
        stage(dataclasses.replace(EXPERIMENT, **LONGER), str(tmp_path))


def test_tasks_with_prompts_of_another_form_are_refused_and_a_checkpoint_elsewhere_is_not(finished, tmp_path):
    def asked(**pretrained):
        return dataclasses.replace(EXPERIMENT, pretrained=PretrainedConfig(**pretrained))

    for stage in (sft.sft, evaluate.evaluate):
        with pytest.raises(UserError, match=r"tasks was made .* differs in pretrained\.chat\.apply\)"):
            stage(asked(chat=ChatConfig(apply=True)), str(tmp_path))
    prm.prm(asked(path="elsewhere"), str(tmp_path))


def test_labels_of_another_kind_are_refused(finished, tmp_path):
    labels = dataclasses.replace(EXPERIMENT.labels, mutants_per_step=9)
    with pytest.raises(UserError, match=r"label was made .* differs in labels\.mutants_per_step\)"):
        tasks.tasks(dataclasses.replace(EXPERIMENT, labels=labels), str(tmp_path))
