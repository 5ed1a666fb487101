"""A network leaves through the host's memory, whatever devices it was trained on."""

import jax
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.models.checkpoint_load import load_policy, load_scorer, open_checkpoint
from prm_jax.models.config import LoraConfig, ModelConfig
from prm_jax.models.lora import merged, trainable, whole
from prm_jax.models.policy import init_policy, init_scorer
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.stages import export as stage
from prm_jax.stages.experiment import Experiment, ProblemSets
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.stages.workbench import save_params
from prm_jax.text.tokenizer import BpeTokenizer

TOKENIZER = BpeTokenizer.train(["def solve(xs):\n    return xs\n"], 300)
SHAPE = {"vocab_size": TOKENIZER.vocab_size, "width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "mlp_width": 24}


def leave(run, stage, params=None):
    """What a finished stage leaves."""
    run.folder(stage).mkdir(parents=True)
    write_json(run.folder(stage) / "done.json", {"fingerprint": stage, "seconds": 1.0, "summary": {}})
    if params is None:
        TOKENIZER.save(run.folder(stage) / "tokenizer.json")
    else:
        save_params(run.folder(stage), params)


@pytest.fixture
def host(monkeypatch):
    """The host's device; four of the simulated ones are the accelerators, which JAX takes where nobody names others."""
    devices = jax.devices()
    monkeypatch.setattr(jax, "devices", lambda backend=None: devices[:1] if backend == "cpu" else devices[4:])
    with jax.default_device(devices[4]):
        yield devices[0]


@pytest.mark.parametrize("rank", [0, 2])
def test_no_accelerator_holds_what_is_exported(rank, host, tmp_path, monkeypatch):
    model = ModelConfig(**SHAPE, lora=LoraConfig(rank=rank))
    experiment = Experiment("test", ProblemSets(), model=model, seed=3)
    run = RunDirectory(str(tmp_path / "run"))
    # The trunk beside adapters is a function of the seed.
    policy = init_policy(model.without_lora(), jax.random.key(3))
    policy = whole(trainable(init_policy(model, jax.random.key(7)), model), policy if rank else None)
    scorer = init_scorer(model, jax.random.key(8), policy)
    for name, params in (("tasks", None), ("sft", trainable(policy, model)), ("prm", trainable(scorer, model))):
        leave(run, name, params)
    held = []
    for name in ("save_policy", "save_scorer"):
        save = getattr(stage, name)

        def watched(folder, params, *arguments, save=save, **options):
            held.extend(leaf.devices() for leaf in jax.tree.leaves(params))
            save(folder, params, *arguments, **options)

        monkeypatch.setattr(stage, name, watched)
    for network, load, params in (("sft", load_policy, policy), ("prm", load_scorer, scorer)):
        stage.export(experiment, str(tmp_path / "run"), str(tmp_path / network), network)
        exported = open_checkpoint(tmp_path / network)
        found = load(exported, exported.config, make_mesh(MeshConfig(), [host]))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
            jax.device_get(found), jax.device_get(merged(params, model)[0]),
        )  # fmt: skip
    assert held and all(devices == {host} for devices in held)


def test_a_jax_without_a_cpu_is_told(tmp_path, monkeypatch):
    def devices(backend=None):
        raise RuntimeError(f"Unknown backend {backend}")

    run = RunDirectory(str(tmp_path / "run"))
    leave(run, "tasks")
    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    experiment = Experiment("test", ProblemSets(), model=ModelConfig(**SHAPE))
    with pytest.raises(UserError, match="JAX_PLATFORMS=cuda leaves it out: set it to cuda,cpu"):
        stage.export(experiment, str(tmp_path / "run"), str(tmp_path / "out"))
