"""What the report says of a run's configuration."""

import json

from prm_jax.ppo.arms import Arm
from prm_jax.ppo.rewards import Outcome
from prm_jax.stages.experiment import Experiment, PretrainedConfig, ProblemSets
from prm_jax.stages.report import _configuration


def test_a_reader_learns_what_the_policies_were_made_of():
    arms = (Arm("outcome", Outcome()),)
    told = dict(_configuration(Experiment("toy", ProblemSets(), pretrained=PretrainedConfig("smol.gguf"), arms=arms)))
    assert {"seed", "text", "labels", "model", "sampling", "sft", "prm", "ppo", "evaluation problems"} <= told.keys()
    assert json.loads(told["pretrained"])["path"] == "smol.gguf"
    assert [arm["name"] for arm in json.loads(told["arms"])] == ["outcome"]
