"""The stages on eight simulated devices, parameters and batches split: they run and learn what one device learns."""

import numpy as np
import pytest

from prm_jax.training.metrics import read_metrics

pytestmark = pytest.mark.slow

MESH = """
from __gin__ import dynamic_registration
from prm_jax.parallel import mesh
from prm_jax.stages import experiment

experiment.Experiment.mesh = @mesh.MeshConfig()
mesh.MeshConfig.data = 4
mesh.MeshConfig.fsdp = 2
"""
TOLERANCE = 1e-4


def losses(folder) -> np.ndarray:
    return np.array([row["train/loss"] for row in read_metrics(folder) if "train/loss" in row])


def test_eight_devices_learn_what_one_learns(command, tiny, tiny_run, run_without, tmp_path):
    folder = run_without("sft", "prm", "prm_blind", "ppo")
    mesh = tmp_path / "mesh.gin"
    mesh.write_text(MESH)
    for stage, options in (("sft", ()), ("prm", ()), ("ppo", ("--arm=prm_online",))):
        command(stage, *tiny, f"--gin_file={mesh}", *options, f"--run_dir={folder}", devices=8)
    assert len(losses(folder / "sft")) == 4
    np.testing.assert_allclose(losses(folder / "sft"), losses(tiny_run / "sft"), atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(losses(folder / "prm_blind"), losses(tiny_run / "prm_blind"), atol=TOLERANCE, rtol=0)
    assert (folder / "ppo/prm_online/done.json").exists()
