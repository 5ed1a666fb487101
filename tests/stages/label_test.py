"""What the later stages take from labelling."""

import pytest

from prm_jax.errors import UserError
from prm_jax.labelling.jsonl import TESTS, write_tests
from prm_jax.problems.problem import Test
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.stages.experiment import Experiment, ProblemSets
from prm_jax.stages.label import labelled_programs, practice_problems, problems_for
from prm_jax.stages.problem_record import write_record
from prm_jax.stages.problem_sets import problems_of
from prm_jax.stages.run_directory import RunDirectory

SETS = ProblemSets(
    demonstrations=(SyntheticSource("train", 3, 2, 2),), evaluation=(SyntheticSource("test", 2, 2, 2),)
)  # fmt: skip


def test_practice_has_the_tests_that_its_problems_gained(tmp_path):
    experiment, run = Experiment("toy", SETS), RunDirectory(str(tmp_path))
    before = problems_of(SETS, "practice")
    gained = (Test("f([1])", "2"),)
    held_out = problems_of(SETS, "evaluation")[0].id
    tests = {before[1].id: gained, held_out: gained}
    run.stage("label", {}, lambda folder: write_tests(folder / "demonstrations" / TESTS, tests) or {})
    with pytest.raises(UserError, match="no finished stage 'tasks'"):
        practice_problems(experiment, run)
    run.stage("tasks", {}, lambda folder: write_record(folder, before) or {})
    after = practice_problems(experiment, run)
    assert after[0] == before[0] and after[2] == before[2]
    assert after[1].visible_tests == before[1].visible_tests + gained
    assert after[1].hidden_tests == before[1].hidden_tests


def test_labels_that_are_missing_are_told(tmp_path):
    """Else a PRM would be judged by nothing, and rewards would lose the generated tests, in silence."""
    experiment, run = Experiment("toy", SETS), RunDirectory(str(tmp_path))
    for read in (lambda: labelled_programs(run, "validation"), lambda: practice_problems(experiment, run)):
        with pytest.raises(UserError, match="no finished stage 'label': run `prm_jax label` there first"):
            read()
    run.stage("label", {}, lambda folder: {})
    with pytest.raises(UserError, match=r"has no \*/labelled-\*\.jsonl: copy the whole folder"):
        labelled_programs(run, "validation")
    with pytest.raises(UserError, match=r"has no \*/generated_tests\.jsonl: copy"):
        practice_problems(experiment, run)


def test_sets_are_looked_through_unless_the_run_was_labelled_for_them(tmp_path):
    """What is labelled is looked through then; sets that were changed since are looked through again."""
    train = SyntheticSource("train", 3, 2, 2)
    experiment, run = Experiment("toy", ProblemSets((train,), validation=(train,))), RunDirectory(str(tmp_path))
    with pytest.raises(UserError, match="also trained on"):
        problems_for(experiment, run, "validation")
    run.stage("label", {"problems": SETS, "labels": experiment.labels}, lambda folder: {})
    with pytest.raises(UserError, match="also trained on"):
        problems_for(experiment, run, "validation")
    assert problems_for(Experiment("toy", SETS), run, "practice") == problems_of(SETS, "practice")
