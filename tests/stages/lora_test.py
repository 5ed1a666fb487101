"""A run with adapters: they are all that its folders hold, and what is exported has them added up."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gin
from prm_jax import cli
from prm_jax.models.checkpoint_load import load_policy as load_exported
from prm_jax.models.checkpoint_load import load_scorer as load_exported_scorer
from prm_jax.models.checkpoint_load import open_checkpoint
from prm_jax.models.config import LoraConfig, ModelConfig
from prm_jax.models.lora import trainable
from prm_jax.models.policy import init_policy, init_scorer, policy_logits, scores
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.stages.experiment import Experiment, ProblemSets
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.stages.workbench import load_policy, load_scorer, load_tokenizer, model_config, save_params

ROOT = pathlib.Path(__file__).parents[2]
SHAPE = ModelConfig(vocab_size=11, width=16, layers=1, heads=2, kv_heads=2, mlp_width=16)


def leave(run, stage, params):
    run.folder(stage).mkdir(parents=True)
    write_json(run.folder(stage) / "done.json", {"fingerprint": stage, "seconds": 1.0, "summary": {}})
    save_params(run.folder(stage), params)


@pytest.mark.parametrize("sft", [True, False])
def test_all_networks_of_a_run_have_the_same_trunk_in_memory(sft, tmp_path):
    model = dataclasses.replace(SHAPE, lora=LoraConfig(rank=2, sft=sft))
    experiment = Experiment("test", ProblemSets(), model=model, seed=3)
    run = RunDirectory(str(tmp_path))
    learnt = init_policy(model, jax.random.key(7))
    leave(run, "sft", trainable(learnt, model) if sft else init_policy(SHAPE, jax.random.key(7)))
    leave(run, "ppo/outcome", trainable(learnt, model))
    leave(run, "prm", trainable(init_scorer(model, jax.random.key(8), learnt), model))
    policies = [load_policy(experiment, run, stage, model) for stage in ("sft", "ppo/outcome")]
    networks = [*policies, load_scorer(experiment, run, "prm", model)]
    first, *others = ([leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(each["trunk"])] for each in networks)
    assert all(other == first for other in others)
    assert [set(each) for each in networks] == [
        {"trunk", "adapters"} if sft else {"trunk"}, {"trunk", "adapters"}, {"trunk", "adapters", "head"}
    ]  # fmt: skip
    # The trunk is what SFT started from, a function of the seed, or what it left.
    expected = init_policy(SHAPE, jax.random.key(3 if sft else 7))["trunk"]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), networks[0]["trunk"], expected)


@pytest.mark.slow
def test_a_run_with_adapters_ends_with_a_report_and_its_networks_are_exported_whole(
    command, tiny, run_without, saved_leaves, tmp_path, monkeypatch
):
    folder = run_without("sft", "prm", "prm_blind", "ppo", "evaluate")
    (folder / "report.html").unlink()
    overlays = ("--gin_file=gin/ablations/prm_online.gin", "--gin_file=gin/lora.gin", "--gin.RANK=2")
    # A scorer that reads its surprise cannot be exported.
    arguments = (*tiny, *overlays, "--gin.ModelConfig.reads_surprise=False", f"--run_dir={folder}")
    out, _ = command("run", *arguments)
    assert "report:" in out and (folder / "report.html").exists()
    assert 0 <= json.loads((folder / "evaluate/prm_online/result.json").read_text())["pass_at_1"]["value"] <= 1
    for name in ("sft", "prm", "prm_blind", "ppo/prm_online", "ppo/prm_online/scorer"):
        leaves = saved_leaves(folder / name)
        assert leaves and not any(leaf.startswith("trunk") for leaf in leaves)
        assert all(np.any(value) for leaf, value in leaves.items() if leaf.endswith(".B"))

    monkeypatch.chdir(ROOT)
    experiment, _ = cli._resolve(*cli._parse(["run", *arguments]))
    gin.clear_config()
    run = RunDirectory(str(folder))
    model = model_config(experiment, load_tokenizer(run))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    tokens = jnp.asarray(np.random.default_rng(0).integers(3, 259, (2, 24)), jnp.int32)
    rows = tokens, jnp.ones_like(tokens), jnp.broadcast_to(jnp.arange(24), tokens.shape)
    logits, score = jax.jit(policy_logits, static_argnums=1), jax.jit(scores, static_argnums=1)
    for network in ("sft", "prm_online", "prm"):
        command("export", f"--run_dir={folder}", f"--out={tmp_path / network}", f"--network={network}")
        exported = open_checkpoint(tmp_path / network)
        if network == "prm":
            theirs = score(load_exported_scorer(exported, exported.config, mesh), exported.config, *rows)
            own = score(load_scorer(experiment, run, "prm", model), model, *rows)
        else:
            theirs = logits(load_exported(exported, exported.config, mesh), exported.config, *rows)
            stage = network if network == "sft" else f"ppo/{network}"
            own = logits(load_policy(experiment, run, stage, model), model, *rows)
        np.testing.assert_allclose(theirs, own, atol=1e-4)
