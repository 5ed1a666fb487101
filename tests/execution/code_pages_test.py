"""Mappings of code are marked, and are afterwards what they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prm_jax.execution import code_pages

TRY = """
import os, resource
from prm_jax.execution import code_pages

def mappings():
    with open("/proc/self/smaps") as file:
        lines = [line.split() for line in file]
    found = {}
    for fields in lines:
        if "-" in fields[0] and ":" not in fields[0]:
            span, mode, inode = fields[0], fields[1], fields[4]
        elif fields[0] == "Anonymous:" and inode != "0" and mode in ("r--p", "r-xp"):
            found[span, mode] = int(fields[1])
    return found

def faults_of_a_child():
    pid = os.fork()
    if pid == 0:
        os._exit(len(str(complex("1+2j") ** 2)) and 0)
    return os.wait4(pid, 0)[2].ru_minflt

import re, ctypes
faults_of_a_child()
before, faults = mappings(), faults_of_a_child()
code_pages.inherit()
after, fewer = mappings(), faults_of_a_child()
print(set(after) == set(before), all(after.values()), all(before.values()), fewer < faults)
"""


def test_mappings_keep_their_rights_and_are_inherited() -> None:
    root = str(Path(code_pages.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, env={"PYTHONPATH": root})
    assert done.stdout.split() == ["True", "True", "False", "True"], done.stderr
