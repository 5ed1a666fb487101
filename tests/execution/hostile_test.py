"""Programs that try to pass without solving the problem, or to reach what is not theirs: none does either.

`hostile/FAMILY/NAME.py` holds one program each. Its first line names the outcomes that are right; `# cpu:` a CPU limit
of its own. All are to satisfy `TESTS`. Those that try to reach something give the right answers if they reach it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.problems.problem import Test

ROOT = Path(__file__).with_name("hostile")
FILES = {str(path.relative_to(ROOT).with_suffix("")): path for path in sorted(ROOT.glob("*/*.py"))}
TESTS = (Test("f(0)", "17"), Test("f(1)", "[2, 3]"), Test("f(2)", "7919"))
HONEST = "def f(x):\n    return [17, [2, 3], 7919][x]\n"
BAIT = Path(f"/tmp/bait-{os.getpid()}/file")  # Several processes may test at once.
NAMED = {"bait": "/tmp/hostile-bait/file", "port": "27913"}  # In the programs, where ours are put in their place.


def marked(name: str, mark: str) -> str | None:
    """What the line `# MARK: …` at the head of a program says."""
    found = re.match(rf"(?:#.*\n)*?# {mark}: (.*)\n", FILES[name].read_text())
    return found and found[1]


def program(name: str, port: int) -> Program:
    text = FILES[name].read_text().replace(NAMED["bait"], str(BAIT)).replace(NAMED["port"], str(port))
    return Program(text, TESTS, cpu_seconds=float(marked(name, "cpu") or 0.2))


def surroundings() -> dict[str, object]:
    """What a program could have changed."""
    folders = ("/tmp", "/dev/shm", os.path.expanduser("~"), "/root", os.getcwd())
    names = {f"{folder}/{name}" for folder in folders if os.access(folder, os.R_OK) for name in os.listdir(folder)}
    return {
        "files": {name for name in names if "hostile" in name},
        "bait": (BAIT.read_text(), BAIT.stat().st_mode, BAIT.stat().st_nlink),
        "shared memory": Path("/proc/sysvipc/shm").read_text(),
        "abstract sockets": {line for line in Path("/proc/net/unix").read_text().splitlines() if "hostile" in line},
    }


def below(pid: int) -> set[int]:
    """All processes that descend from one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


class Battle:
    """All programs have run once, in one batch, honest ones between them."""

    def __init__(self, sandbox: Sandbox) -> None:
        BAIT.parent.mkdir(exist_ok=True)
        BAIT.write_text("bait")
        BAIT.chmod(0o600)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            udp.bind(tcp.getsockname())
            for listener in (tcp, udp):
                listener.setblocking(False)
            tcp.listen()
            self.before = surroundings()
            programs = [program(name, tcp.getsockname()[1]) for name in FILES]
            honest = [Program(f"{HONEST}# {n}\n", TESTS) for n in range(len(programs) // 4)]
            mixed = [each for n, hostile in enumerate(programs) for each in (hostile, *honest[n // 4 : n // 4 + 1])]
            found = dict(zip(mixed, sandbox.run(mixed), strict=True))
            self.after = surroundings()
            self.calls = [listener for listener in (tcp, udp) if _was_called(listener)]
        self.verdicts: dict[str, Verdict] = dict(zip(FILES, (found[each] for each in programs), strict=True))
        self.honest = [found[each] for each in honest]
        assert sandbox._process is not None
        self.processes = below(sandbox._process.pid)
        self.descriptors = [
            sorted(os.readlink(path).split(":")[0] for path in Path(f"/proc/{pid}/fd").iterdir())
            for pid in self.processes
        ]
        self.folder = [path for path in Path(sandbox._directory).rglob("*") if not path.is_dir()]


def _was_called(listener: socket.socket) -> bool:
    try:
        listener.accept() if listener.type == socket.SOCK_STREAM else listener.recv(1)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="module")
def battle() -> Iterator[Battle]:
    # No wall-clock limit that a loaded machine could meet, but for those programs that wait.
    with Sandbox(SandboxConfig(workers=2, memory_mb=256, rerun_share=0.0, wall_factor=40.0)) as sandbox:
        if sandbox.tier().name != "A":
            pytest.skip(f"this machine only has tier {sandbox.tier().name}")
        yield Battle(sandbox)
    shutil.rmtree(BAIT.parent)


def test_the_suite_is_whole() -> None:
    assert len(FILES) >= 60
    assert len({name.split("/")[0] for name in FILES}) >= 20
    outcomes = {outcome.value for outcome in Outcome} - {"passed", "unknown"}
    for name in FILES:
        assert set((marked(name, "expect") or "nothing").split(" | ")) <= outcomes, name


@pytest.mark.parametrize("name", FILES)
def test_no_program_passes_and_each_gets_its_verdict(battle: Battle, name: str) -> None:
    verdict = battle.verdicts[name]
    assert not any(verdict.passed), verdict
    assert verdict.outcome in (marked(name, "expect") or "").split(" | "), verdict
    assert not verdict.flaky, verdict


def test_programs_that_reach_for_something_would_pass_if_they_got_it(battle: Battle) -> None:
    """Else their failures would show nothing."""
    reaching = [name for name in FILES if FILES[name].read_text().endswith("return [17, [2, 3], 7919][x]\n")]
    assert len(reaching) >= 40
    for name in reaching:
        exception = battle.verdicts[name].exception or ""
        assert "rror" in exception or battle.verdicts[name].outcome != "runtime_error", (name, exception)
        assert "SyntaxError" not in exception and "AttributeError" not in exception, (name, exception)


def test_honest_programs_between_them_pass(battle: Battle) -> None:
    assert len(battle.honest) >= 15
    assert {verdict.outcome for verdict in battle.honest} == {Outcome.PASSED}


def test_nothing_is_left(battle: Battle) -> None:
    assert battle.after == battle.before
    assert battle.calls == []
    assert battle.folder == []
    assert len(battle.processes) == 2  # The zygotes.
    # Standard input, output and error, jobs, reports, Landlock's rules.
    assert battle.descriptors == [["/dev/null"] * 3 + ["anon_inode"] + ["pipe"] * 2] * 2


# Its needles are shifted by one letter, so that it finds neither itself nor what it searches in.
SEARCH = """
import ctypes

def f():
    shifted = bytes((byte + 1) % 256 for byte in range(256))
    with open("/proc/self/maps") as file:
        mappings = [line.split() for line in file]
    found = set()
    for span, rights, *_ in mappings:
        start, end = (int(each, 16) for each in span.split("-"))
        for at in range(start, end, 1 << 16) if rights.startswith("rw") else ():
            page = ctypes.string_at(at, min(1 << 16, end - at)).translate(shifted)
            found |= {needle for needle in ("uif.wbmvf", "uif.dbmm", "uif.ufyu") if needle.encode() in page}
    return sorted(found)
"""


def test_a_child_inherits_nothing_of_another_program(take_away: Callable[..., None]) -> None:
    """Neither its text nor its calls nor what it returned, whatever their sizes; no expected value is there at all."""
    take_away("landlock")  # So that the search can read where memory is.
    text = "the_value = ('the', 'value')\ndef f(n, _):\n    return ['-'.join(the_value)] * n\n# the-text\n"
    sizes = (1, 9, 100, 9000, 1)
    before = [
        Program(text + "#" * n, (Test(f"f({n}, 'the-call')", repr(["the-value"] * n)),), cpu_seconds=1.0) for n in sizes
    ]
    thief = Program(SEARCH, (Test("f()", "[]"), Test("1", "'the-value'")), cpu_seconds=5.0)
    known = "needles = 'the-text'\n"
    control = Program(known + SEARCH, (Test("f()", "['uif.ufyu']"),), cpu_seconds=5.0)
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0, accept_weak_confinement=True)) as sandbox:
        *_, stolen, found = sandbox.run([*before, thief, control])
        assert sandbox._process is not None
        for zygote in below(sandbox._process.pid):
            os.kill(zygote, signal.SIGKILL)
        (of_another_zygote,) = sandbox.run([thief])
    assert stolen.passed[0] and of_another_zygote.passed[0], (stolen, of_another_zygote)
    assert found.outcome is Outcome.PASSED, found
