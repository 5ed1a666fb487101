"""`prm_jax doctor`: every subject has its line, and a broken one hides none of the others."""

import os

import pytest

from prm_jax import cli
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.stages import doctor


def test_every_subject_is_told(capsys):
    assert cli.main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if not line.startswith(" ")] == list(doctor.SUBJECTS)
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        tier = sandbox.tier()
    assert f"tier {tier.name}" in told and all(what in told for what in (*tier.shut, *tier.open))
    assert os.uname().release in told and "not available" not in told


def test_a_broken_subject_is_told_in_its_line(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(doctor.SUBJECTS, "devices", lambda: 1 // 0)
    doctor.doctor()
    told = capsys.readouterr().out
    assert "devices   not available: integer division" in told and "disk      " in told
