"""The command `scaling` on simulated CPU devices in place of slices."""

import json
import pathlib

import jax
import pytest

import gin
from prm_jax import cli
from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.parallel.mesh import MeshConfig
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.config import PpoConfig
from prm_jax.stages import scaling as command
from prm_jax.stages.experiment import Experiment, LearningConfig, ProblemSets, TextConfig

EXPERIMENT = Experiment(
    "scaling",
    ProblemSets(),
    text=TextConfig(vocabulary_size=64, max_length=24, max_prompt=8),
    model=ModelConfig(width=16, layers=2, heads=2, kv_heads=2, mlp_width=32),
    mesh=MeshConfig(data=1, fsdp=-1, tensor=1),
    sft=LearningConfig(batch_size=8),
    prm=LearningConfig(batch_size=8),
    ppo=PpoConfig(prompts_per_update=8, samples_per_prompt=1, max_new_tokens=8, minibatches=2, score_batch=8),
    arms=(Arm("outcome"),),
)


@pytest.fixture(autouse=True)
def simulated(monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])
    monkeypatch.setattr(command, "slice_devices", lambda wanted: jax.devices()[: wanted.chips])
    yield
    gin.clear_config()


def told(capsys, *topology, **options):
    assert command.scaling(EXPERIMENT, "", topology, ("sft",), json=True, **options) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_fixed_batch_is_shared_and_a_growing_one_is_not(capsys):
    one, four = told(capsys, "v5e:1x1", "v5e:2x2")
    assert (one["chips"], four["chips"]) == (1, 4)
    assert four["flops"] == one["flops"] == 4 * four["flops_per_chip"]
    assert one["sent_per_chip"] == 0 and one["bound"] == "arithmetic" and four["sent_per_chip"] > 0
    small, large = told(capsys, "v5e:1x1", "v5e:2x2", weak=True)
    assert small == one and large["flops_per_chip"] == one["flops_per_chip"]


def test_batches_grow_with_the_slice():
    grown = command.enlarged(EXPERIMENT, 4)
    assert (grown.sft.batch_size, grown.prm.batch_size) == (32, 32)
    assert (grown.ppo.batch_size, grown.ppo.score_batch, grown.ppo.minibatches) == (32, 32, 2)
    assert command.enlarged(EXPERIMENT, 1) == EXPERIMENT


def test_the_table_has_a_line_to_each_slice(capsys):
    command.scaling(EXPERIMENT, "", ("v5e:1x1", "v5e:1x2"), ("sft",))
    out, err = capsys.readouterr()
    head, _, first, second = out.splitlines()
    assert head.count("|") == first.count("|") == second.count("|") == 11
    assert first.startswith("| sft step | v5e:1x1 | 1 |") and second.startswith("| sft step | v5e:1x2 | 2 |")
    # Each is told as soon as it is known.
    assert [line for line in err.splitlines() if line.startswith("|")] == [first, second]


def test_nothing_is_compiled_where_the_last_slice_cannot_be(capsys):
    with pytest.raises(UserError, match="8 rows"):
        command.scaling(EXPERIMENT, "", ("v5e:1x1", "v5e:1x3"), ("sft",))
    with pytest.raises(UserError, match="--weak: v5e:1x3 has 3 chips, the first slice 2: give the smallest first"):
        command.scaling(EXPERIMENT, "", ("v5e:1x2", "v5e:1x3"), ("sft",), weak=True)
    assert "compiling" not in capsys.readouterr().err


def test_a_name_that_no_program_has_is_refused():
    with pytest.raises(UserError, match="begins with sfd: there are sft step"):
        command.scaling(EXPERIMENT, "", ("v5e:1x1",), ("sfd",))


def test_the_command_line_takes_several_slices(monkeypatch):
    seen = {}
    monkeypatch.setattr(command, "scaling", lambda experiment, run_dir, **own: seen.update(own))
    arguments = ["--topology", "v5p-8", "v5p-16", "--program", "sft", "ppo", "--weak"]
    assert cli.main(["scaling", *arguments, "--gin_file=gin/quickstart.gin"]) == 0
    assert seen == {"topology": ["v5p-8", "v5p-16"], "program": ["sft", "ppo"], "weak": True, "json": False}
