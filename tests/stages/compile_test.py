"""The command `compile`: what it prints and how it ends, on simulated CPU devices in place of a slice's.

One slow test compiles for a TPU; it needs libtpu.
"""

import dataclasses
import json
import pathlib

import jax
import pytest

import gin
from prm_jax import cli
from prm_jax.ahead import slices
from prm_jax.ahead.forecast import bytes_wanted
from prm_jax.models.config import LoraConfig, ModelConfig
from prm_jax.parallel.mesh import MeshConfig
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.config import PpoConfig
from prm_jax.stages import compile as command
from prm_jax.stages import remedies
from prm_jax.stages.experiment import Experiment, LearningConfig, ProblemSets, TextConfig
from prm_jax.training.loop import FitConfig
from prm_jax.training.optimizer import OptimizerConfig, schedule

LEARNING = LearningConfig(batch_size=8)
EXPERIMENT = Experiment(
    "forecast",
    ProblemSets(),
    text=TextConfig(vocabulary_size=64, max_length=24, max_prompt=8),
    model=ModelConfig(width=16, layers=2, heads=2, kv_heads=2, mlp_width=32),
    mesh=MeshConfig(data=2, fsdp=2, tensor=1),
    sft=LEARNING,
    prm=LEARNING,
    ppo=PpoConfig(prompts_per_update=8, samples_per_prompt=1, max_new_tokens=8, minibatches=2, score_batch=8),
    arms=(Arm("outcome"),),
)
NAMES = ["sft step", "prm step", "sample: prefill", "sample: decode", "score policy", "ppo update"]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])
    yield
    gin.clear_config()


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.setattr(command, "slice_devices", lambda wanted: jax.devices()[: wanted.chips])


@pytest.mark.slow
def test_every_stage_is_told_and_fits(four_devices, capsys):
    assert command.compile(EXPERIMENT, "", "v5e-4", json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["slice"], told["ordered_as"], told["chips"]) == ("v5e:2x2", "v5e-4", 4)
    assert told["fits"] and told["remedies"] == {} and told["mesh"] == {"data": 2, "fsdp": 2, "tensor": 1}
    programs = {each["name"]: each for each in told["programs"]}
    assert list(programs) == NAMES
    # To a token, forwards: two operations for each weight, and for scores and values of each layer 2 x 24 x 16.
    # The last token of a row predicts none.
    blocks, table = 2 * (4 * 16 * 16 + 3 * 16 * 32), 64 * 16
    weights = blocks + table
    assert programs["sft step"]["flops"] == 3 * 8 * (24 * (2 * blocks + 2 * 2 * (2 * 24 * 16)) + 23 * 2 * table)
    assert programs["sft step"]["traffic"]["all-reduce"]["bytes"] > 0
    # The state alone: parameters and two moments, on each device a half of them.
    assert programs["sft step"]["bytes"] > 3 * 4 * weights / 2
    # Seven more tokens after the one of the prefill.
    assert programs["sample: decode"]["flops"] > programs["sample: prefill"]["flops"] / 8 * 6


@pytest.mark.slow
def test_what_does_not_fit_ends_with_1_and_the_cheapest_change_that_helps(four_devices, monkeypatch, capsys):
    def with_memory(memory):
        chip = dataclasses.replace(slices.CHIPS["v5e"], memory=memory)
        monkeypatch.setitem(slices.CHIPS, "v5e", chip)
        status = command.compile(EXPERIMENT, "", "v5e:2x2", ["sft"])
        return status, capsys.readouterr().out

    status, out = with_memory(16 * 2**30)
    assert status == 0 and "v5e:2x2 (v5e-4): 4 chips" in out and "  fits" in out
    needed = json_bytes(capsys)
    status, out = with_memory(0.999 * needed)
    assert status == 1 and "DOES NOT FIT" in out and "sft step fits with --gin." in out
    status, out = with_memory(1000)
    assert status == 1 and "nothing that was tried makes it fit" in out


def json_bytes(capsys) -> float:
    command.compile(EXPERIMENT, "", "v5e:2x2", ["sft"], json=True)
    return json.loads(capsys.readouterr().out)["programs"][0]["bytes"]


def flags(name, experiment=EXPERIMENT, chips=4):
    return [change.flags for change in remedies.changes(experiment, name, chips)]


SPLIT = ("--gin_file=gin/meshes/fsdp.gin", "--gin.MeshConfig.data=-1", "--gin.MeshConfig.fsdp=4")


def test_changes_come_from_cheap_to_dear():
    remat, adapters = "--gin.ModelConfig.remat=True", ("--gin_file=gin/lora.gin", "--gin.RANK=16")
    split = (*SPLIT, "--gin.MeshConfig.tensor=1")
    found = flags("sft step")
    assert found[:3] == flags("prm step")[:3] == [(remat,), split, (remat, *split)]
    parts = ("--gin.sft/LearningConfig.batch_size=4", "--gin.sft/OptimizerConfig.accumulate=2")
    assert found[3][: len(split) + 3] == (remat, *split, *parts)
    assert found[-2:] == [adapters, (remat, *split, *adapters)]
    assert flags("sample")[0] == split and flags("sample")[1] == (*split, "--gin.PpoConfig.rollout_chunks=2")
    assert "--gin.PpoConfig.minibatches=8" in flags("ppo update")[-3]


def test_changes_change_the_experiment():
    first, *_, last, adapters, both = remedies.changes(EXPERIMENT, "prm step", 4)
    assert first.experiment == dataclasses.replace(EXPERIMENT, model=dataclasses.replace(EXPERIMENT.model, remat=True))
    prm = last.experiment.prm
    assert last.experiment.mesh == MeshConfig(data=-1, fsdp=4, tensor=1)
    assert (prm.batch_size, prm.optimizer.accumulate) == (1, 8)
    assert adapters.experiment.model == dataclasses.replace(EXPERIMENT.model, lora=LoraConfig(rank=16))
    assert both.experiment.model == dataclasses.replace(first.experiment.model, lora=LoraConfig(rank=16))
    assert both.experiment.mesh == last.experiment.mesh


def updates_of(learning):
    """Of a run: its updates, the rows of each, and when and with which rate they are made, in updates."""
    fit, optimizer, each = learning.fit, learning.optimizer, learning.optimizer.accumulate
    updates = fit.steps // each
    rates = [float(schedule(optimizer)(update)) for update in range(updates)]
    return updates, learning.batch_size * each, fit.evaluate_every // each, fit.checkpoint_every // each, rates


@pytest.mark.parametrize("stage", ["sft", "prm"])
def test_a_batch_in_parts_makes_as_many_updates_on_as_many_rows(stage):
    optimizer = OptimizerConfig(1e-2, warmup_steps=4, total_steps=24, accumulate=2)
    fit = FitConfig(steps=24, evaluate_every=6, checkpoint_every=12)
    learning = LearningConfig(batch_size=8, optimizer=optimizer, fit=fit)
    experiment = dataclasses.replace(EXPERIMENT, **{stage: learning})
    *expected, rates = updates_of(learning)
    assert expected == [12, 16, 3, 6]
    parts = [each for each in remedies.changes(experiment, f"{stage} step", 4) if "batch_size" in str(each.flags)]
    assert [getattr(each.experiment, stage).batch_size for each in parts] == [4, 2, 1]
    for each in parts:
        *found, found_rates = updates_of(getattr(each.experiment, stage))
        assert found == expected and found_rates == pytest.approx(rates) and not each.differs


def test_a_rollout_in_chunks_has_the_same_programs_and_other_minibatches_are_another_run():
    chunks = [each for each in remedies.changes(EXPERIMENT, "sample", 4) if "rollout_chunks" in str(each.flags)]
    assert [each.experiment.ppo.chunk_size for each in chunks] == [4, 2, 1]
    assert all(each.experiment.ppo.batch_size == 8 and not each.differs for each in chunks)
    halves, quarters = (each for each in remedies.changes(EXPERIMENT, "ppo update", 4) if "minib" in str(each.flags))
    assert (halves.experiment.ppo.minibatches, quarters.experiment.ppo.minibatches) == (4, 8)
    assert halves.differs == "2 times as many steps of PPO's optimisers"
    assert command._advice("ppo update", halves).endswith(
        "--gin.PpoConfig.minibatches=4 (another run: 2 times as many steps of PPO's optimisers)"
    )


@pytest.mark.parametrize("name", ["sft step", "prm step", "sample", "score policy", "ppo update"])
@pytest.mark.parametrize("base", ["gin/data/mbpp.gin", "gin/topologies/qwen2_5_coder_1_5b_v5e_4x4.gin"])
def test_the_flags_make_the_change_that_was_compiled(base, name):
    def resolve(*arguments):
        return cli._resolve(*cli._parse(["compile", "--topology=v5e:2x2", f"--gin_file={base}", *arguments]))[0]

    found = list(remedies.changes(resolve(), name, 4))
    assert found
    for change in (found[0], found[len(found) // 2], found[-1]):
        made, wanted = resolve(*change.flags), change.experiment
        assert (made.mesh, made.model, made.sft, made.prm) == (wanted.mesh, wanted.model, wanted.sft, wanted.prm)
        assert made.ppo == wanted.ppo


def test_the_compilers_refusal_is_read():
    message = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 23.40G of 15.75G hbm. Exceeded by 7.65G."
    assert bytes_wanted(message) == pytest.approx(23.4 * 2**30)
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (16.72G) exceeds "
        "available HBM (15.75G)."
    )
    assert bytes_wanted(message) == pytest.approx(16.72 * 2**30)
    assert bytes_wanted("INTERNAL: something else") is None


def test_the_command_line_gives_the_exit_status(monkeypatch):
    seen = []

    def compiled(experiment, run_dir, topology, json):
        seen.append((topology, json))
        return 1

    monkeypatch.setattr(command, "compile", compiled)
    assert cli.main(["compile", "--topology=v5e-1", "--json", "--gin_file=gin/quickstart.gin"]) == 1
    assert seen == [("v5e-1", True)]


@pytest.mark.slow
def test_a_slice_that_is_not_there_is_compiled_for(capsys):
    pytest.importorskip("libtpu")
    experiment = dataclasses.replace(EXPERIMENT, mesh=MeshConfig(data=1, fsdp=2, tensor=2))
    assert command.compile(experiment, "", "v5e:2x2", json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["programs"]] == NAMES
    assert {"all-gather", "all-reduce"} <= set(told["programs"][0]["traffic"])
