"""A confined program has the whole standard library, and the parent's path does not matter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prm_jax.execution import bwrap, library
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.problem import Test

IMPORT = """
import importlib, sys

def failing():
    failed = []
    for name in sorted(sys.stdlib_module_names - {"antigravity", "this"}):  # They open a browser and print.
        try:
            importlib.import_module(name)
        except Exception:
            failed.append(name)
    return failed
"""


def test_all_of_the_standard_library_can_be_imported() -> None:
    command = [sys.executable, "-I", "-S", "-c", f"{IMPORT}\nprint(failing())"]
    elsewhere = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    zone = "import zoneinfo\ndef there():\n    return zoneinfo.ZoneInfo('Europe/Berlin').key\n"
    programs = [Program(IMPORT, (Test("failing()", elsewhere),), cpu_seconds=60.0, values=True)]
    if os.path.exists("/usr/share/zoneinfo/Europe/Berlin"):
        programs.append(Program(zone, (Test("there()", "'Europe/Berlin'"),), cpu_seconds=5.0))
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        for verdict in sandbox.run(programs):
            assert verdict.outcome is Outcome.PASSED, verdict


def test_installed_packages_are_not_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("os.py", "json/__init__.py", "site-packages/secret.py", "dist-packages/secret.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(os, "__file__", str(tmp_path / "os.py"))
    below = {path for path in library.readable_paths() if path.startswith(str(tmp_path))}
    assert below == {str(tmp_path / "os.py"), str(tmp_path / "json")}
    assert str(tmp_path) in library.library_folders()


def test_bubblewrap_shows_nothing_of_the_parents_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bwrap.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.syspath_prepend(str(tmp_path / "of-the-user"))
    command = bwrap.wrap([sys.executable, "boot.py"], [str(tmp_path / "room")], str(tmp_path / "writable"))
    shown = [source for option, source in zip(command, command[1:], strict=False) if option == "--ro-bind-try"]
    assert str(tmp_path / "room") in shown
    assert str(tmp_path / "of-the-user") not in shown
    assert not [path for path in shown if "-packages" in path or path in library.library_folders()]
