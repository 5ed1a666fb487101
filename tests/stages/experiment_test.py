"""What an experiment refuses before any work."""

import dataclasses

import pytest

from prm_jax.errors import UserError
from prm_jax.guided.config import METHODS, GuidedConfig
from prm_jax.ppo.arms import Arm
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.stages.evaluate import policy_names
from prm_jax.stages.experiment import TAKEN, Experiment, PretrainedConfig, ProblemSets


def test_arms_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"^2 arms are called 'outcome': give each an Arm\.name of its own$"):
        Experiment("toy", ProblemSets(), arms=(Arm(), Arm("other"), Arm(exact_labels=True)))


@pytest.mark.parametrize("name", ["sft", "prm", "base", "base_few_shot", "sft_prm", "sft_beam"])
def test_an_arm_is_not_called_as_another_part_of_a_run(name):
    with pytest.raises(UserError, match=f"^an arm is called '{name}', as is another part of a run"):
        Experiment("toy", ProblemSets(), arms=(Arm(name),))


def test_all_rows_of_the_result_table_but_those_of_arms_are_taken():
    few_shot = ProblemSets(few_shot=(SyntheticSource(),))
    experiment = Experiment("toy", few_shot, pretrained=PretrainedConfig("x"), guided=GuidedConfig(METHODS))
    assert {*policy_names(experiment), "prm"} == set(TAKEN)
    assert policy_names(dataclasses.replace(experiment, arms=(Arm("own"),)))[-1] == "own"
