"""Tiers are what a program cannot do: layers are taken away, and the tier falls."""

from __future__ import annotations

from pathlib import Path

import pytest

from prm_jax.errors import UserError
from prm_jax.execution import bwrap
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.tiers import ATTEMPTS, TIERS, tier_of
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.problem import Test


def test_tiers_by_what_is_shut():
    assert tier_of(ATTEMPTS).name == "A"
    assert tier_of(set(ATTEMPTS) - {"starting processes"}).name == "B"
    assert tier_of(set(ATTEMPTS) - {"reading files"}).name == "C"
    assert tier_of(set(ATTEMPTS) - {"network"}).name == "D"
    assert tier_of(()).name == "D" and tier_of(()).open == tuple(ATTEMPTS)
    assert [name for name in TIERS if tier_of(TIERS[name]).is_strong] == ["A", "B"]


def test_a_whole_kernel_is_tier_a():
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        if not sandbox.tier().is_strong:
            pytest.skip("this kernel has no Landlock or no seccomp")
        assert (sandbox.tier().name, sandbox.tier().open) == ("A", ())


@pytest.mark.parametrize(
    ("layers", "name", "is_open"),
    [
        (("landlock",), "C", {"reading files"}),
        (("seccomp",), "D", {"network", "starting processes"}),
        (("landlock", "seccomp"), "D", set(ATTEMPTS)),
    ],
)
def test_without_a_layer_programs_are_refused_until_the_flag_says_otherwise(take_away, layers, name, is_open):
    take_away(*layers)
    program = Program("x = 1\n", (Test("x", "1"),))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        assert sandbox.tier().name == name and is_open <= set(sandbox.tier().open)
        with pytest.raises(UserError, match=f"tier {name}.*accept_weak_confinement"):
            sandbox.run([program])
        assert sandbox.run([]) == []
    with Sandbox(SandboxConfig(workers=1, accept_weak_confinement=True)) as sandbox:
        assert sandbox.run([program])[0].outcome == Outcome.PASSED


@pytest.mark.skipif(not bwrap.is_installed(), reason="bubblewrap is not installed")
def test_bubblewrap_stands_in_for_landlock(take_away):
    take_away("landlock")
    programs = [Program(f"x = {n}\n", (Test("x", str(n)),)) for n in range(20)]
    sandbox = Sandbox(SandboxConfig(workers=2, backend="bwrap"))
    assert sandbox.tier().name == "A"
    assert {verdict.outcome for verdict in sandbox.run(programs)} == {Outcome.PASSED}
    directory = sandbox._directory
    sandbox.close()
    assert not Path(directory).exists()


def test_bubblewrap_that_is_not_installed_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Sandbox(SandboxConfig(backend="bwrap")) as sandbox, pytest.raises(UserError, match="not installed"):
        sandbox.run([Program("x = 1\n", ())])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="'docker'"):
        SandboxConfig(backend="docker")


def test_trying_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        sandbox.tier()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.iterdir()) == []
