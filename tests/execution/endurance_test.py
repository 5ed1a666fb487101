"""Twenty thousand programs leave nothing behind, and a busy machine finds what an idle one finds."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from prm_jax.execution.grade import program_for, reference_limits
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.mbpp import MbppSource
from prm_jax.problems.problem import Test

PROGRAMS = 20_000
KINDS = {
    Outcome.PASSED: "def f(x):\n    return x + {n}\n",
    Outcome.WRONG_ANSWER: "def f(x):\n    return x - {n} - 1\n",
    Outcome.RUNTIME_ERROR: "def f(x):\n    return open('left-{n}', 'w')\n",
    Outcome.SYNTAX_ERROR: "def f(x:\n    return {n}\n",
    Outcome.KILLED: "import os\ndef f(x):\n    os.kill(os.getpid(), 9 + 0 * {n})\n",
}
RARE = {
    Outcome.TIMEOUT: "def f(x):\n    while True:\n        {n}\n",
    Outcome.MEMORY: "def f(x):\n    return [0] * (10**12 + {n})\n",
}


def programs(count: int) -> list[tuple[Outcome, Program]]:
    """All kinds by turns, one in a hundred of those that take long."""
    made = []
    for n in range(count):
        outcome, text = list((RARE if n % 100 == 0 else KINDS).items())[n // 100 % 2 if n % 100 == 0 else n % 5]
        made.append((outcome, Program(text.format(n=n), (Test("f(1)", str(1 + n)),), cpu_seconds=0.02)))
    return made


def state(pid: int) -> dict[str, int]:
    """Descriptors and resident KiB of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "resident": int(resident.split()[1])}


def family(pid: int) -> list[int]:
    """A process and all that descend from it, zombies too."""
    parents = collections.defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.read_bytes().rpartition(b")")[2].split()[1])].append(int(stat.parent.name))
        except OSError:
            continue
    return [pid, *(each for child in parents[pid] for each in family(child))]


@pytest.mark.slow
def test_twenty_thousand_programs_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[[], set[tuple[str, str]]]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Sandbox(SandboxConfig(rerun_share=0.0)) as sandbox:
        sandbox.run([program for _, program in programs(200)])
        assert sandbox._process is not None
        supervisor = sandbox._process.pid
        own = opened()
        before = {pid: state(pid) for pid in family(supervisor)}
        made = programs(PROGRAMS)
        verdicts = sandbox.run([program for _, program in made])
        assert [verdict.outcome for verdict in verdicts] == [outcome for outcome, _ in made]
        after = {pid: state(pid) for pid in family(supervisor)}
        assert list(after) == list(before)  # The same supervisor, the same zygotes and nobody else.
        for pid, then in before.items():
            assert after[pid]["descriptors"] == then["descriptors"]
            assert after[pid]["resident"] < then["resident"] + 4096
        assert opened() <= own
        assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert list(tmp_path.iterdir()) == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in before)


@pytest.mark.slow
def test_busy_cores_change_no_verdict() -> None:
    path = os.environ.get("PRM_JAX_MBPP")
    if not path:
        pytest.skip("PRM_JAX_MBPP is not set")
    problems = MbppSource(path).load()
    with Sandbox(SandboxConfig(rerun_share=0.0)) as sandbox:
        limits = reference_limits(problems, sandbox)
        references = [program_for(each, each.reference, hidden=True, cpu_seconds=limits[each.id]) for each in problems]
        idle = sandbox.run(references)
        loops = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(4)]
        try:
            busy = sandbox.run(references)
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
    assert [(each.outcome, each.passed) for each in busy] == [(each.outcome, each.passed) for each in idle]
    assert sum(each.outcome is Outcome.PASSED for each in idle) > 0.98 * len(problems)
