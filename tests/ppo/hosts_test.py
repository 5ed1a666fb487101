"""PPO on several hosts: two and four processes over loopback, four devices in all, against one process.

Real programs, a real sandbox on each host, and parameters that are split over all devices.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

from prm_jax.training.metrics import read_metrics

COUNTED = ("scorer/auc_before_refresh", "update/clip_fraction", "update/value_clip_fraction")
PROGRAM = pathlib.Path(__file__).parent / "on_hosts.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def train(start_processes):
    """Runs or resumes the toy in a directory, on so many processes."""

    def run(folder, processes):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, str(PROGRAM), str(folder)]
        for status, _, err in start_processes([command] * processes, devices=4 // processes):
            assert status == 0, err

    return run


@pytest.fixture(scope="module")
def one(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train(folder, processes=1)
    return folder


@pytest.fixture(scope="module", params=[2, 4])
def several(request, train, tmp_path_factory):
    """The directory of a run on several processes, and how many they were."""
    folder = tmp_path_factory.mktemp("several")
    train(folder, processes=request.param)
    return folder, request.param


def assert_same_metrics(folder, other):
    """Sums over devices are taken in another order, so equality is up to 1e-5; a count may turn by a near tie."""
    rows, others = read_metrics(folder), read_metrics(other)
    assert len(rows) == len(others) == 4 and any(0 < row["rollout/pass_rate"] < 1 for row in rows)
    for row, wanted in zip(rows, others, strict=True):
        for name in COUNTED:
            assert row.pop(name, 0.0) == pytest.approx(wanted.pop(name, 0.0), abs=0.05)
        assert row == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def verified(folder, host):
    return [json.loads(line) for line in (folder / f"verified-{host}.jsonl").read_text().splitlines()]


def test_several_hosts_learn_what_one_learns(one, several):
    assert_same_metrics(several[0], one)


def test_each_host_verifies_its_own_rows(one, several):
    folder, processes = several
    assert not (one / "verified-1.jsonl").exists()
    parts = [verified(folder, host) for host in range(processes)]
    assert np.shape(parts) == (processes, 4, 16 // processes)
    assert [sum(rows, []) for rows in zip(*parts, strict=True)] == verified(one, 0)


def test_the_checkpoint_of_several_hosts_is_resumed_on_another_number(train, several, tmp_path):
    folder, processes = several
    for number in {2: (1, 2, 4), 4: (2,)}[processes]:
        resumed = tmp_path / str(number)
        shutil.copytree(folder, resumed)
        shutil.rmtree(resumed / "checkpoints/4")
        train(resumed, number)
        assert len(verified(resumed, 0)) == 4 + 2
        assert_same_metrics(resumed, folder)
