"""Every stage on two hosts that share a run directory: they run, keep one set of books, and learn what one learns."""

import json
import sys

import numpy as np
import pytest

from prm_jax.training.metrics import read_metrics

pytestmark = pytest.mark.slow

STAGES = (("label",), ("tasks",), ("sft",), ("prm",), ("ppo", "--arm=prm_online"), ("evaluate",), ("report",))
TOLERANCE = 1e-4


def losses(folder) -> np.ndarray:
    return np.array([row["train/loss"] for row in read_metrics(folder) if "train/loss" in row])


def test_two_hosts_run_every_stage(start_processes, command, tiny, tiny_run, tmp_path):
    for stage in STAGES:
        words = [sys.executable, "-m", "prm_jax.cli", *stage, *tiny, f"--run_dir={tmp_path}"]
        (status, out, err), (other_status, other_out, other_err) = start_processes(
            [words] * 2, JAX_COMPILATION_CACHE_DIR=str(command.cache)
        )
        assert status == 0 and other_status == 0, f"{stage}: {err[-4000:]}\n{other_err[-4000:]}"
        assert f"{stage[0]}" in out and "done in" not in other_out
    for folder in ("sft", "prm_blind"):
        expected = losses(tiny_run / folder)
        assert len(expected) > 1
        np.testing.assert_allclose(losses(tmp_path / folder), expected, atol=TOLERANCE, rtol=0)
    verified = [
        {json.loads(line)["key"] for line in (tmp_path / "ppo/prm_online" / name).read_text().splitlines()}
        for name in ("verdicts.jsonl", "verdicts-1.jsonl")
    ]
    assert all(verified)
    assert (tmp_path / "evaluate/prm/done.json").exists() and (tmp_path / "report.html").exists()
