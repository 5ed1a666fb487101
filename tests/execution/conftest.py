"""Machines whose kernels lack something, and what a test leaves open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prm_jax.execution import sandbox as sandbox_module

WITHOUT = {
    "landlock": "from prm_jax.execution import landlock\nlandlock.version = lambda: 0\n",
    "seccomp": "from prm_jax.execution import seccomp\nseccomp.is_available = lambda: False\n",
}


@pytest.fixture
def take_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Has the next sandboxes start as on a machine whose kernel lacks a layer."""

    def take(*layers: str) -> None:
        boot = sandbox_module._BOOT.read_text()
        line = "    from prm_jax.execution import supervisor\n"
        assert line in boot
        lines = "".join(WITHOUT[layer] for layer in layers).splitlines()
        boot = boot.replace(line, line + "".join(f"    {each}\n" for each in lines))
        boot = boot.replace("os.path.abspath(__file__)", repr(str(sandbox_module._BOOT)))
        (tmp_path / "boot.py").write_text(boot)
        monkeypatch.setattr(sandbox_module, "_BOOT", tmp_path / "boot.py")

    return take


@pytest.fixture
def opened() -> Callable[[], set[tuple[str, str]]]:
    """This process's descriptors and what they lead to: as garbage, those of another test may be closed meanwhile."""

    def descriptors() -> set[tuple[str, str]]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # That of the listing itself.
                found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        return found

    return descriptors
