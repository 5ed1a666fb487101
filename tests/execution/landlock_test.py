"""Landlock's rules, applied in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prm_jax.execution import landlock

pytestmark = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

TRY = """
import ctypes, os, sys
from prm_jax.execution import landlock
folder = sys.argv[1]
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
landlock.Rules([folder + "/open", folder + "/single", folder + "/absent"]).apply()
def attempt(do):
    try:
        do()
    except PermissionError:
        return "refused"
    return "done"
print(attempt(lambda: open(folder + "/open/deep/file").read()))
print(attempt(lambda: os.listdir(folder + "/open")))
print(attempt(lambda: open(folder + "/single").read()))
print(attempt(lambda: open(folder + "/shut/file").read()))
print(attempt(lambda: os.listdir(folder)))
print(attempt(lambda: open(folder + "/open/../shut/file").read()))
print(attempt(lambda: open(folder + "/open/way").read()))
print(attempt(lambda: open(folder + "/open/deep/file", "w")))
print(attempt(lambda: os.mkdir(folder + "/open/made")))
print(attempt(lambda: os.remove(folder + "/open/deep/file")))
"""


def test_only_what_is_named_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    for name in ("open/deep/file", "shut/file", "single"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "open/way").symlink_to(tmp_path / "shut/file")
    root = str(Path(landlock.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(tmp_path)], capture_output=True, text=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.split() == ["done"] * 3 + ["refused"] * 7, done.stderr
    assert (tmp_path / "open/deep/file").read_text() == "text"


@pytest.mark.parametrize(("version", "rights"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (9, 16)])
def test_older_interfaces_are_asked_for_what_they_know(version: int, rights: int) -> None:
    assert landlock._newest(landlock._FILE_RIGHTS, version) == 2**rights - 1
    assert bool(landlock._newest(landlock._NET_RIGHTS, version)) == (version >= 4)
    assert bool(landlock._newest(landlock._SCOPES, version)) == (version >= 6)
