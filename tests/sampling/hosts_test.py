"""Continuous batching on two hosts of two devices against one of four: each host gets the same completions."""

import pathlib
import sys

import numpy as np
import pytest

PROGRAM = pathlib.Path(__file__).parent / "on_hosts.py"


@pytest.mark.slow
def test_two_hosts_sample_what_one_samples(start_processes, tmp_path):
    told = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        for status, _, err in start_processes(
            [[sys.executable, str(PROGRAM), str(folder)]] * processes, 4 // processes
        ):
            assert status == 0, err
        told += [np.load(folder / f"{host}.npz") for host in range(processes)]
    one, *others = told
    assert one["finished"].any() and one["lengths"].min() > 0
    for other in others:
        np.testing.assert_array_equal(other["tokens"], one["tokens"])
        np.testing.assert_array_equal(other["lengths"], one["lengths"])
        np.testing.assert_allclose(other["logprobs"], one["logprobs"], atol=1e-5)
