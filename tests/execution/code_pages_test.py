"""Mappings of code are marked, and are afterwards what they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prm_jax.execution import code_pages

TRY = '''
import os
from prm_jax.execution import code_pages

def mappings():
    """The rights of each page of a file that may not be written to; how much of each mapping is the process's own."""
    with open("/proc/self/smaps") as file:
        lines = [line.split() for line in file]
    rights, own = {}, []
    for fields in lines:
        if "-" in fields[0] and ":" not in fields[0]:
            span, mode, inode = fields[0], fields[1], fields[4]
        elif fields[0] == "Anonymous:" and inode != "0" and mode in ("r--p", "r-xp"):
            start, end = (int(each, 16) for each in span.split("-"))
            rights |= dict.fromkeys(range(start, end, 4096), mode)
            own.append(int(fields[1]))
    return rights, own

def faults_of_a_child():
    pid = os.fork()
    if pid == 0:
        sorted(str(complex("1+2j") ** n) for n in range(9))
        os._exit(0)
    return os.wait4(pid, 0)[2].ru_minflt

faults_of_a_child()
(before, _), faults = mappings(), faults_of_a_child()
code_pages.inherit()
(after, own), fewer = mappings(), faults_of_a_child()
print(after == before, all(own), fewer < faults)
'''


def test_mappings_keep_their_rights_and_are_inherited() -> None:
    root = str(Path(code_pages.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, env={"PYTHONPATH": root})
    assert done.stdout.split() == ["True"] * 3, done.stderr
