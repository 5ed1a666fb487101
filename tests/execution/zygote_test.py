"""What a zygote does where the machine lets it down."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from prm_jax.execution import zygote
from prm_jax.execution.confinement import Confinement
from prm_jax.execution.frames import HEADER, JOB, pack
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.scratch import Scratch
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.problem import Test


def test_a_fork_that_fails_is_trouble_and_nobody_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[object] = []
    monkeypatch.setattr(zygote, "_fork", lambda: -1)
    for name in ("kill", "killpg", "wait4"):
        monkeypatch.setattr(os, name, lambda *arguments: killed.append(arguments))
    source, sink = os.pipe()
    os.write(sink, pack(0, 1.0, JOB.pack(1.0, 1, False, False)))
    scratch = Scratch()
    assert scratch.fill(source) == HEADER.size + JOB.size
    before = os.listdir("/proc/self/fd"), os.sched_getaffinity(0)
    assert zygote._run(scratch, 1.0, 1 << 20, object.__new__(Confinement)) == ("trouble", 0.0)
    assert killed == []
    assert (os.listdir("/proc/self/fd"), os.sched_getaffinity(0)) == before


def test_the_limit_of_tasks_holds_for_programs_and_not_for_their_zygote() -> None:
    text = "import resource\ndef f():\n    return resource.getrlimit(resource.RLIMIT_NPROC) == (4096, 4096)\n"
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        assert sandbox.run([Program(text, (Test("f()", "True"),))])[0].outcome is Outcome.PASSED
        assert sandbox._process is not None
        supervisor = sandbox._process.pid
        (pid,) = map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())
        assert resource.prlimit(pid, resource.RLIMIT_NPROC) == resource.getrlimit(resource.RLIMIT_NPROC)
