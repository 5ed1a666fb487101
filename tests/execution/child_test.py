"""What a zygote does in its own process before any program is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prm_jax.execution import child

TRY = """
import os, random, sys
from prm_jax.execution import child
before = os.listdir("/proc/self/fd")
random.seed(0)
state = random.getstate()
child.rehearse()
print(os.listdir("/proc/self/fd") == before, sys.gettrace() is None, random.getstate() == state)
print("__program__" not in sys.modules)
"""


def test_a_rehearsal_leaves_nothing() -> None:
    root = str(Path(child.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, env={"PYTHONPATH": root})
    assert done.stdout.split() == ["True"] * 4, done.stderr
