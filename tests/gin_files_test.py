"""Every file under gin/ resolves to an experiment, by itself or as the overlay that its header says it is."""

import dataclasses
import pathlib
import re
import shlex

import pytest

import gin
from prm_jax import cli
from prm_jax.errors import UserError
from prm_jax.ppo.arms import Arm
from prm_jax.problems.humaneval import HumanEvalSource
from prm_jax.stages.evaluate import base_policies
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.problem_sets import problems_of

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "gin").rglob("*.gin"))
ABLATIONS = [name for name in FILES if name.startswith("gin/ablations/")]
DOMAINS = {f"gin/data/{name}.gin" for name in ("domain", "finance", "health")}
MESHES = {
    f"gin/meshes/{name}.gin": sizes
    for name, sizes in {"data": (-1, 1, 1), "fsdp": (1, -1, 1), "fsdp_tensor": (1, -1, 2)}.items()
}
OVERLAYS = {*ABLATIONS, *DOMAINS, *MESHES} | {
    "gin/guided.gin",
    "gin/local_tiny.gin",
    "gin/lora.gin",
    "gin/pretrained.gin",
    "gin/smollm2_accelerator.gin",
    "gin/data/humaneval.gin",
    "gin/data/jsonl.gin",
    "gin/data/mined.gin",
    "gin/data/mined_demonstrations.gin",
    "gin/data/prefix_search.gin",
    "gin/data/with_mined.gin",
}
RUNS = sorted(set(FILES) - OVERLAYS)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)
    yield
    gin.clear_config()


def resolve(*arguments: str) -> Experiment:
    files = [f"--gin_file={argument}" if argument.endswith(".gin") else argument for argument in arguments]
    experiment, _ = cli._resolve(*cli._parse(["run", *files]))
    return experiment


def test_all_files_are_here():
    assert {"gin/quickstart.gin", "gin/data/mbpp.gin"} <= set(RUNS)
    assert len(ABLATIONS) >= 11


@pytest.mark.parametrize("name", FILES)
def test_the_header_says_what_it_is(name):
    header = (ROOT / name).read_text().split("\nfrom __gin__")[0].splitlines()
    assert header and all(line.startswith("#") for line in header if line)
    if name not in ABLATIONS:
        text = "\n".join(header)
        assert "ust be set" in text or "It sets" in text


@pytest.mark.parametrize("name", RUNS)
def test_a_run_resolves_alone(name):
    experiment = resolve(name)
    assert experiment.name and experiment.arms and experiment.problems.demonstrations
    assert experiment.problems.validation and experiment.problems.evaluation
    assert len({arm.name for arm in experiment.arms}) == len(experiment.arms)
    assert resolve(name, "--gin.SEED=7").seed == 7
    hash(experiment)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", sorted(OVERLAYS - {"gin/meshes/data.gin"}))
def test_an_overlay_resolves_after_every_run(run, name):
    assert resolve(run, name) != resolve(run)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_the_arm_that_its_file_is_called(name):
    (arm,) = resolve("gin/quickstart.gin", name).arms
    assert isinstance(arm, Arm)
    assert arm.name == pathlib.Path(name).stem


def test_local_tiny_shrinks_every_run_and_leaves_its_arms():
    for run in RUNS:
        whole, tiny = resolve(run), resolve(run, "gin/local_tiny.gin")
        assert (tiny.name, tiny.seed, tiny.arms[0].name) == (whole.name, whole.seed, whole.arms[0].name)
        assert tiny.model.layers == 2 and tiny.model.width == 32
        assert tiny.pretrained.path == "" and (tiny.sampling.stop, tiny.evaluation.stop) == ((), None)
        assert tiny.ppo.updates == 2 and tiny.ppo.batch_size == 8 and tiny.ppo.screening == 0
        for learning in (tiny.sft, tiny.prm, tiny.orm):
            assert learning.fit.steps == learning.optimizer.total_steps == 4
        sizes = [source.count for sources in vars(tiny.problems).values() for source in sources]
        assert len(sizes) == 5 and max(sizes) <= 40


@pytest.mark.parametrize("name", MESHES)
def test_a_preset_sets_the_mesh(name):
    assert dataclasses.astuple(resolve("gin/quickstart.gin", name).mesh) == MESHES[name]


def test_lora_reaches_every_shape_of_a_run():
    for run in RUNS:
        lora = resolve(run, "gin/lora.gin", "--gin.RANK=8").model.lora
        assert (lora.rank, lora.scale, lora.sft) == (8, 4.0, True)
    tiny = resolve("gin/quickstart.gin", "gin/local_tiny.gin", "gin/lora.gin", '--gin.PROJECTIONS=("query", "value")')
    assert tiny.model.width == 32 and tiny.model.lora.projections == ("query", "value")


def test_a_checkpoints_chat_template_is_applied_where_it_is_asked_for():
    files = ("gin/quickstart.gin", "gin/pretrained.gin")
    assert not resolve(*files).pretrained.chat.apply
    chat = resolve(*files, "--gin.CHAT=True", '--gin.ChatConfig.system="Write Python."').pretrained.chat
    assert (chat.apply, chat.system) == (True, "Write Python.")


def test_mbpp_is_taken_by_its_official_splits():
    problems = resolve("gin/data/mbpp.gin", '--gin.MBPP="/data/mbpp.jsonl"').problems
    parts = {"demonstrations": ("train",), "validation": ("validation",), "evaluation": ("test",)}
    for part, splits in parts.items():
        (source,) = getattr(problems, part)
        assert source.path == "/data/mbpp.jsonl" and source.splits == splits


def test_mined_problems_need_no_other_file_to_be_mined_and_labelled():
    experiment = resolve("gin/data/mined.gin", '--gin.MINED="/mined"', "--gin.MiningConfig.min_tests=1")
    assert experiment.name == "mined" and experiment.mining.min_tests == 1
    assert [source.splits for source in experiment.mining.avoid[:1]] == [("test",)] and len(
        experiment.mining.avoid
    ) == 2
    parts = {"demonstrations": ("train",), "validation": ("validation",), "evaluation": ("test",)}
    for part, splits in parts.items():
        (source,) = getattr(experiment.problems, part)
        assert (source.folder, source.splits) == ("/mined", splits)


def test_a_benchmark_that_cannot_be_had_may_be_left_out_of_mining():
    def avoided(*flags):
        return resolve("gin/data/mined.gin", *flags).mining.avoid

    mbpp, human_eval = avoided()
    # The flags that the stage `mine` tells.
    assert avoided("--gin.MiningConfig.avoid=(@HumanEvalSource(),)") == (human_eval,)
    (alone,) = avoided("--gin.MiningConfig.avoid=(@MbppSource(),)")
    assert type(alone) is type(mbpp) and alone.path == mbpp.path and "test" in alone.splits
    assert avoided("--gin.MiningConfig.avoid=()") == ()


def test_mined_problems_beside_those_of_a_run_teach_the_reward_models_only():
    alone = resolve("gin/data/mbpp.gin")
    mixed = resolve("gin/data/mbpp.gin", "gin/data/with_mined.gin", '--gin.MINED="/mined"')
    assert mixed.mixed_with == ("/mined",)
    assert dataclasses.replace(mixed, mixed_with=()) == alone


def test_mined_demonstrations_leave_what_the_policy_is_asked_and_judged_on():
    alone = resolve("gin/mbpp_smollm2.gin")
    mixed = resolve("gin/mbpp_smollm2.gin", "gin/data/mined_demonstrations.gin", '--gin.MINED="/mined"')
    (mbpp,) = alone.problems.demonstrations
    first, mined = mixed.problems.demonstrations
    assert first == mbpp and mixed.problems.practice == (mbpp,)
    assert (mined.folder, mined.splits) == ("/mined", ("train",))
    problems = dataclasses.replace(mixed.problems, demonstrations=(mbpp,), practice=())
    assert dataclasses.replace(mixed, problems=problems) == alone


def test_overrides_reach_macros_and_bindings():
    experiment = resolve("gin/quickstart.gin", "--gin.UPDATES=3", "--gin.PpoConfig.lam=0.5")
    assert experiment.ppo.updates == 3 and experiment.ppo.lam == 0.5
    assert resolve("gin/quickstart.gin", "--gin.PpoConfig.updates=5").ppo.updates == 5


def commonly_overridden() -> list[tuple[str, tuple[str, ...]]]:
    """Each line of flags below "Commonly overridden" in a header, with the file that it stands in."""
    found = []
    for name in FILES:
        header = (ROOT / name).read_text().split("\nfrom __gin__")[0]
        for line in header.partition("ommonly overridden")[2].splitlines():
            flags = re.findall(r"""--gin(?:_file=|[^\s=]*=)(?:'[^']*'|"[^"]*"|[^\s'"])+""", line)
            if flags:
                found.append((name, tuple(flag.removeprefix("--gin_file=") for flag in shlex.split(" ".join(flags)))))
    return found


AFTER = {"gin/smollm2_accelerator.gin": "gin/mbpp_smollm2.gin"}
"""Overlays whose header asks for other files before it than gin/data/mbpp.gin."""


@pytest.mark.parametrize(("name", "flags"), commonly_overridden())
def test_what_is_commonly_overridden_changes_the_experiment(name, flags):
    files = (name,) if name in RUNS else (AFTER.get(name, "gin/data/mbpp.gin"), name)
    assert resolve(*files, *flags) != resolve(*files)


def test_headers_name_flags():
    assert len(commonly_overridden()) > 25


@pytest.mark.parametrize(
    "override", ["OptimizerConfig.learning_rate=1e-5", "LearningConfig.batch_size=4", "loop.FitConfig.steps=7"]
)
def test_an_override_that_every_scope_shadows_is_refused_by_those_that_work(override):
    name, value = override.split("=")
    field = ".".join(name.split(".")[-2:])
    told = f"--gin.{name} changes nothing, .*: give --gin.prm/{field} or --gin.sft/{field}"
    with pytest.raises(UserError, match=told):
        resolve("gin/data/mbpp.gin", "gin/pretrained.gin", f"--gin.{override}")
    resolved = resolve("gin/data/mbpp.gin", f"--gin.sft/{field}={value}")
    assert resolved.sft != resolve("gin/data/mbpp.gin").sft


def test_an_override_without_a_scope_reaches_what_no_scope_binds():
    experiment = resolve("gin/data/mbpp.gin", "--gin.FitConfig.patience=7", "--gin.OptimizerConfig.b1=0.8")
    assert (experiment.sft.fit.patience, experiment.prm.fit.patience) == (4, 7)
    assert experiment.sft.optimizer.b1 == experiment.prm.optimizer.b1 == 0.8


def test_the_configuration_that_a_run_keeps_gives_the_same_experiment(tmp_path):
    experiment = resolve("gin/quickstart.gin", "gin/local_tiny.gin", "--gin.PpoConfig.updates=1")
    cli._keep_configuration(str(tmp_path))
    kept, run_dir = cli._resolve(*cli._parse(["generate", "--problem=x", f"--run_dir={tmp_path}"]))
    assert kept == experiment and run_dir == str(tmp_path)


@pytest.mark.parametrize("name", ["finance", "health"])
def test_a_domain_serves_by_its_splits_and_its_rules_reach_the_quality(name):
    experiment = resolve("gin/quickstart.gin", f"gin/data/{name}.gin", "gin/ablations/outcome_quality.gin")
    sizes = {part: len(problems_of(experiment.problems, part)) for part in ("practice", "validation", "evaluation")}
    assert sizes == {"practice": 42, "validation": 6, "evaluation": 21}
    (arm,) = experiment.arms
    assert arm.quality.domains == (f"gin/data/domains/{name}",) and arm.quality.constraints == 1.0
    assert resolve("gin/quickstart.gin", f"gin/data/{name}.gin").arms[0].quality is None


def test_quality_without_a_scope_is_added_to_every_arm(tmp_path):
    overlay = tmp_path / "quality.gin"
    overlay.write_text(
        "from __gin__ import dynamic_registration\nfrom prm_jax.ppo import arms\nfrom prm_jax.ppo import quality\n"
        "arms.Arm.quality = @quality.Quality()\n"
    )
    arms = resolve("gin/quickstart.gin", str(overlay)).arms
    assert len(arms) > 1 and all(arm.quality is not None for arm in arms)


def test_smollm2_is_measured_on_the_same_problems_before_and_after_training():
    small = resolve("gin/mbpp_smollm2.gin")
    (asked,), (shown,) = small.problems.evaluation, small.problems.few_shot
    assert (asked.protocol, shown.protocol) == ("mbpp-v1", "mbpp-v1-three-shot")
    assert dataclasses.replace(asked, protocol=shown.protocol) == shown and asked.first == 100
    assert base_policies(small) == {"base": "evaluation", "base_few_shot": "few_shot"}
    assert small.sampling.max_new_tokens == small.ppo.max_new_tokens and small.evaluation.samples_per_problem == 10
    whole = resolve("gin/mbpp_smollm2.gin", "gin/smollm2_accelerator.gin")
    assert [source.first for source in (*whole.problems.evaluation, *whole.problems.few_shot)] == [0, 0]
    assert whole.evaluation.samples_per_problem == 80
    human = resolve("gin/humaneval_smollm2.gin")
    assert base_policies(human) == {"base": "evaluation"} and human.problems.evaluation == (HumanEvalSource(100),)
    whole = resolve("gin/humaneval_smollm2.gin", "gin/smollm2_accelerator.gin")
    assert whole.problems.evaluation == (HumanEvalSource(),)
    # Mining keeps away from all of them, whichever are measured.
    assert HumanEvalSource() in resolve("gin/humaneval_smollm2.gin", "gin/data/mined.gin").mining.avoid
    assert human.ppo == small.ppo and "\ndef" in human.evaluation.stop
    assert human.sampling.stop == small.sampling.stop and small.evaluation.stop is None


@pytest.mark.parametrize("name", ["humaneval", "jsonl", "domain", "finance", "health", "mined"])
def test_other_problems_to_be_evaluated_on_leave_no_few_shot_prompts_of_mbpp(name):
    assert base_policies(resolve("gin/mbpp_smollm2.gin", f"gin/data/{name}.gin")) == {"base": "evaluation"}


def test_without_a_checkpoint_there_is_no_base_to_measure():
    assert base_policies(resolve("gin/data/mbpp.gin")) == {}
