"""Verdicts of every kind, lines, flaky programs, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prm_jax.errors import UserError
from prm_jax.execution import sandbox as sandbox_module
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.problems.asserts import split_assert
from prm_jax.problems.problem import Test


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(workers=2, rerun_share=0.0)) as sandbox:
        yield sandbox


def program(text: str, *tests: tuple[str, str | None], cpu_seconds: float = 0.3, setup: str = "") -> Program:
    return Program(text, tuple(Test(*test) for test in tests), setup=setup, cpu_seconds=cpu_seconds)


def run(sandbox: Sandbox, text: str, *tests: tuple[str, str | None], **options: object) -> Verdict:
    return sandbox.run([program(text, *tests, **options)])[0]  # type: ignore[arg-type]


def test_values_are_told_where_asked(sandbox: Sandbox) -> None:
    text = "def f(x):\n    if x == 1:\n        raise ValueError\n    return [{x: {'b', 'a'}}, f, frozenset()][x % 3]\n"
    calls = tuple(Test(f"f({x})", "0") for x in (0, 1, 4, 2, 3))
    (verdict,) = sandbox.run([Program(text, calls, values=True)])
    assert verdict.values == ("{0: {'a', 'b'}}", None, None, None, "{3: {'a', 'b'}}")
    (verdict,) = sandbox.run([Program("def f(x):\n    while x: pass\n", calls[:2], cpu_seconds=0.2, values=True)])
    assert verdict.values == ("None", None)
    assert sandbox.run([Program(text, calls)])[0].values == ()


def test_passes_only_where_every_test_passes(sandbox: Sandbox) -> None:
    text = "def f(x):\n    return x + 1\n"
    assert run(sandbox, text, ("f(1)", "2"), ("f(2)", "3")).outcome == Outcome.PASSED
    verdict = run(sandbox, text, ("f(1)", "2"), ("f(2)", "4"), ("f('a')", "0"), ("f(3)", "4"))
    assert (verdict.outcome, verdict.passed) == (Outcome.WRONG_ANSWER, (True, False, False, True))
    assert verdict.tests_passed == 2


def test_runtime_error_names_the_innermost_line_of_the_program(sandbox: Sandbox) -> None:
    text = "def g(x):\n    return 1 // x\n\ndef f(x):\n    return g(x)\n"
    verdict = run(sandbox, text, ("f(1)", "1"), ("f(0)", "1"))
    assert (verdict.outcome, verdict.line, verdict.passed) == (Outcome.RUNTIME_ERROR, 2, (True, False))
    assert verdict.exception is not None and verdict.exception.startswith("ZeroDivisionError: ")
    assert run(sandbox, "x = 1\ny = z\n", ("x", "1")).line == 2
    assert run(sandbox, "x = 1\n", ("f(1)", "1")).line is None


def test_exceptions_are_told_without_control_characters(sandbox: Sandbox) -> None:
    verdict = run(sandbox, "def f():\n    raise ValueError('\\x1b[2J\\ud800 é\\n')\n", ("f()", "1"))
    assert verdict.exception == r"ValueError: \x1b[2J\xd800 é\x0a"


@pytest.mark.parametrize(("text", "line"), [("def f(x):\n    return (x\n", 2), ("x = 1\n  y = 2\n", 2), ("x\0", None)])
def test_syntax_error_names_its_line(sandbox: Sandbox, text: str, line: int | None) -> None:
    verdict = run(sandbox, text, ("f(1)", "1"))
    assert (verdict.outcome, verdict.passed) == (Outcome.SYNTAX_ERROR, (False,))
    assert line is None or verdict.line == line


@pytest.mark.parametrize("text", ["while True:\n    pass\n", "def f(x):\n    while True:\n        x += 1\n"])
def test_timeout_by_cpu_clock(sandbox: Sandbox, text: str) -> None:
    verdict = run(sandbox, text, ("f(1)", "1"))
    assert verdict.outcome == Outcome.TIMEOUT
    assert 0.25 < verdict.cpu_seconds < 1.5
    assert not verdict.flaky


def test_calls_before_a_timeout_count(sandbox: Sandbox) -> None:
    verdict = run(sandbox, "def f(x):\n    while x:\n        pass\n    return 1\n", ("f(0)", "1"), ("f(1)", "1"))
    assert (verdict.outcome, verdict.passed) == (Outcome.TIMEOUT, (True, False))


def test_sleeping_meets_the_wall_clock() -> None:
    start = time.monotonic()
    with Sandbox(SandboxConfig(workers=1, wall_factor=1.0, rerun_share=0.0)) as sandbox:
        verdict = run(sandbox, "import time\ndef f():\n    time.sleep(60)\n", ("f()", "None"))
    assert verdict.outcome == Outcome.TIMEOUT
    assert time.monotonic() - start < 20


def test_memory(sandbox: Sandbox) -> None:
    verdict = run(sandbox, "def f(n):\n    return len(bytearray(n))\n", ("f(1 << 20)", "1048576"), ("f(1 << 32)", "0"))
    assert (verdict.outcome, verdict.passed) == (Outcome.MEMORY, (True, False))


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), 11)", "os.close(3)"])
def test_a_process_that_ends_itself_is_killed(sandbox: Sandbox, how: str) -> None:
    verdict = run(sandbox, f"import os\ndef f():\n    {how}\n    return 1\n", ("1", "1"), ("f()", "1"))
    assert (verdict.outcome, verdict.passed) == (Outcome.KILLED, (True, False))


def test_exits_and_deep_recursion_are_runtime_errors(sandbox: Sandbox) -> None:
    for body in ("raise SystemExit(0)", "raise KeyboardInterrupt", "return f()"):
        assert run(sandbox, f"def f():\n    {body}\n", ("f()", "1")).outcome == Outcome.RUNTIME_ERROR


def test_trouble_of_the_sandbox_is_unknown(sandbox: Sandbox) -> None:
    verdict = run(sandbox, "x = 1\n", ("x", "1"), setup="import no_such_module\n")
    assert verdict.outcome == Outcome.UNKNOWN


def test_a_program_that_kills_its_zygote_is_unknown_and_harms_no_other(take_away: Callable[..., None]) -> None:
    take_away("landlock", "seccomp")
    kill = "import os, signal\ndef f():\n    os.kill(os.getppid(), signal.SIGKILL)\n"
    programs = [program(f"x = {n}\n", ("x", str(n))) for n in range(40)]
    programs.insert(20, program(kill, ("f()", "1")))
    with Sandbox(SandboxConfig(workers=2, accept_weak_confinement=True)) as sandbox:
        outcomes = [verdict.outcome for verdict in sandbox.run(programs)]
    assert outcomes == [Outcome.PASSED] * 20 + [Outcome.UNKNOWN] + [Outcome.PASSED] * 20


def test_killed_zygotes_lose_no_program() -> None:
    with Sandbox(SandboxConfig(workers=2, rerun_share=0.0)) as sandbox:
        sandbox.run([program("x = 0\n", ("x", "0"))])
        assert sandbox._process is not None
        supervisor = sandbox._process.pid
        programs = [program(f"x = sum(range({n} + 10**5))\n", ("x > 0", "True")) for n in range(200)]
        found: list[Verdict] = []
        running = threading.Thread(target=lambda: found.extend(sandbox.run(programs)))
        running.start()
        killed = 0
        while running.is_alive() and killed < 6:
            time.sleep(0.05)
            for zygote in _children(supervisor)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(zygote, signal.SIGKILL)
                    killed += 1
        running.join()
    assert killed >= 2
    # The program that a zygote runs when it is killed is run again; one that meets two kills is unknown.
    outcomes = [verdict.outcome for verdict in found]
    assert len(outcomes) == 200 and set(outcomes) <= {Outcome.PASSED, Outcome.UNKNOWN}
    assert outcomes.count(Outcome.UNKNOWN) <= killed // 2


@pytest.mark.slow
def test_a_supervisor_that_hangs_is_started_again_and_given_up_if_it_hangs_again(monkeypatch) -> None:
    monkeypatch.setattr(sandbox_module, "_PATIENCE", 1.0)
    started = Sandbox._started
    right = program("def f():\n    return 1\n" + "#" * 200_000, ("f()", "1"))  # Longer than a pipe holds.
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        assert run(sandbox, "x = 1\n", ("x", "1")).outcome == Outcome.PASSED
        assert sandbox._process is not None
        os.kill(sandbox._process.pid, signal.SIGSTOP)
        assert sandbox.run([right])[0].outcome == Outcome.PASSED

        def hung(self: Sandbox) -> subprocess.Popen:
            process = started(self)
            os.kill(process.pid, signal.SIGSTOP)
            return process

        monkeypatch.setattr(Sandbox, "_started", hung)
        assert sandbox.run([right])[0].outcome == Outcome.UNKNOWN


def test_a_supervisor_whose_programs_take_long_is_not_given_up(monkeypatch) -> None:
    monkeypatch.setattr(sandbox_module, "_PATIENCE", 2.5)
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        slow = program("import time\n\ndef f():\n    time.sleep(3.5)\n", ("f()", "None"), cpu_seconds=1.0)
        started = time.monotonic()
        assert sandbox._execute([slow])[slow].outcome == Outcome.PASSED
        assert time.monotonic() - started < 6  # It was run once.


def test_a_zygote_that_hangs_is_replaced(monkeypatch) -> None:
    monkeypatch.setattr(sandbox_module, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(sandbox_module, "_MIN_WALL_SECONDS", 0.5)
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as sandbox:
        assert run(sandbox, "x = 1\n", ("x", "1")).outcome == Outcome.PASSED
        assert sandbox._process is not None
        (zygote,) = _children(sandbox._process.pid)
        os.kill(zygote, signal.SIGSTOP)
        assert run(sandbox, "x = 2\n", ("x", "2"), cpu_seconds=0.01).outcome == Outcome.PASSED
        assert _children(sandbox._process.pid) != [zygote]


def test_a_zygote_whose_program_waits_for_a_core_does_not_hang(monkeypatch) -> None:
    monkeypatch.setattr(sandbox_module, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(sandbox_module, "_MIN_WALL_SECONDS", 1.0)
    core = min(os.sched_getaffinity(0))
    spin = "import time\n\ndef f(seconds):\n    while time.process_time() < seconds:\n        pass\n"
    slow = program(spin, ("f(0.6)", "None"), cpu_seconds=2.0)
    # The supervisor looks after its zygotes whenever one of them reports.
    others = [program(f"{spin}#{i}\n", ("f(0.02)", "None"), cpu_seconds=2.0) for i in range(30)]
    busy = [subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", "while 1: 0"]) for _ in range(2)]
    affinity = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
        with Sandbox(SandboxConfig(workers=2, rerun_share=0.0, wall_factor=0.01)) as sandbox:
            sandbox.tier()
            began = time.monotonic()
            found = sandbox._execute([slow, *others])
        assert time.monotonic() - began > 1.0
        assert {verdict.outcome for verdict in found.values()} == {Outcome.PASSED}
    finally:
        os.sched_setaffinity(0, affinity)
        for process in busy:
            process.kill()
            process.wait()


def test_a_killed_supervisor_is_started_again() -> None:
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        assert run(sandbox, "x = 1\n", ("x", "1")).outcome == Outcome.PASSED
        assert sandbox._process is not None
        os.kill(sandbox._process.pid, signal.SIGKILL)
        assert run(sandbox, "x = 2\n", ("x", "2")).outcome == Outcome.PASSED


def test_an_interrupted_call_leaves_no_verdict_to_the_next(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(fd: int, event: int, seconds: float) -> None:
        if event == select.POLLIN:
            select.select([fd], [], [])  # The first program's report is in the pipe.
            raise KeyboardInterrupt

    run(sandbox, "x = 0\n", ("x", "0"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sandbox_module, "_await", interrupted)
        run(sandbox, "x = 1\n", ("x", "1"))
    assert run(sandbox, "x = 2\n", ("x", "1")).outcome == Outcome.WRONG_ANSWER


@pytest.mark.parametrize(
    "wrong",
    [
        *({"workers": -1}, {"memory_mb": 0}, {"output_bytes": 0}, {"wall_factor": 0.0}, {"wall_factor": float("nan")}),
        *({"rerun_share": 1.5}, {"rerun_share": -0.1}, {"hash_seed": -1}, {"hash_seed": 2**32}, {"backend": "docker"}),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"SandboxConfig.{name}={value!r}; expected"):
        SandboxConfig(**wrong)  # type: ignore[arg-type]
    assert SandboxConfig(hash_seed=2**32 - 1, rerun_share=1.0, workers=0).memory_mb == 1024


def test_in_child_tests(sandbox: Sandbox) -> None:
    text = "def f(x):\n    assert x > 0\n    return x * 0.1\n"
    tests = [("assert abs(f(3) - 0.3) < 1e-9", None), ("assert f(3) == 0.3", None), ("assert f(0) == 0", None)]
    verdict = run(sandbox, text, *tests)
    assert (verdict.outcome, verdict.passed) == (Outcome.WRONG_ANSWER, (True, False, False))
    assert run(sandbox, text, tests[2]).outcome == Outcome.RUNTIME_ERROR


def test_comparisons_are_made_in_the_parent(sandbox: Sandbox) -> None:
    tests = tuple(split_assert(f"assert {text}") for text in ("abs(f(3) - 0.3) < 1e-9", "not f(0)", "set(f(1)) != {1}"))
    honest = "def f(x):\n    return {0: 0, 1: [1, 2], 3: 0.1 * 3}[x]\n"
    liar = (
        "class Liar(float):\n    def __sub__(self, other): return 0\n    __abs__ = __rsub__ = __bool__ = __sub__\n"
        "    def __lt__(self, other): return True\ndef f(x):\n    return Liar()\n"
    )
    verdicts = sandbox.run([Program(text, tests, cpu_seconds=0.3) for text in (honest, liar)])
    assert verdicts[0].passed == (True, True, True)
    assert (verdicts[1].outcome, verdicts[1].passed) == (Outcome.WRONG_ANSWER, (False, False, False))


DATACLASS = """
from __future__ import annotations
import dataclasses, pickle, sys, typing

@dataclasses.dataclass
class Point:
    x: int
    of: typing.ClassVar[str] = "plane"

def fields():
    return [field.name for field in dataclasses.fields(Point)], typing.get_type_hints(Point)["x"] is int

def copied(x):
    return pickle.loads(pickle.dumps(Point(x))) == Point(x)

def is_module():
    import __program__
    del sys.modules["__program__"]
    return vars(__program__) is globals() and __program__.Point is Point
"""


def test_a_program_is_a_module(sandbox: Sandbox) -> None:
    tests = [("fields()", "(['x'], True)"), ("copied(2)", "True"), ("is_module()", "True"), ("Point(3).x", "3")]
    verdict = run(sandbox, DATACLASS, *tests)
    assert verdict.outcome == Outcome.PASSED, verdict
    own = "def f():\n    return sorted(name for name in globals() if name != 'f')\n"
    names = ["__builtins__", "__doc__", "__loader__", "__name__", "__package__", "__spec__"]
    assert run(sandbox, own, ("f()", repr(names))).outcome == Outcome.PASSED  # Nothing of the harness.


def test_setup_shares_the_namespace(sandbox: Sandbox) -> None:
    assert run(sandbox, "def f(x):\n    return math.floor(x)\n", ("f(1.5)", "1"), setup="import math").passed == (True,)


def test_a_loud_program_does_not_block(sandbox: Sandbox) -> None:
    text = (
        "import sys\ndef f():\n    for _ in range(2000):\n        print('x' * 1000)\n"
        "    sys.stderr.write('y' * 10**6)\n    return 1\n"
    )
    assert run(sandbox, text, ("f()", "1"), cpu_seconds=2.0).outcome == Outcome.PASSED


def test_randomness_and_hashes_are_fixed(sandbox: Sandbox) -> None:
    text = "import random\ndef f():\n    return [random.random(), hash('a'), list({'a', 'b', 'c'})]\n"
    same = "assert (f(), f())[0][1:] == f()[1:]"
    first = program(text, ("f()", "0"), (same, None))
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as other:
        assert sandbox.run([first])[0].passed == other.run([first])[0].passed == (False, True)
    seeded = "import random\ndef f():\n    return random.random()\n"
    assert run(sandbox, seeded, ("f()", "0.8444218515250481"), ("f()", "0.8444218515250481")).outcome == Outcome.PASSED


def test_values_past_the_caps_are_wrong_answers(sandbox: Sandbox) -> None:
    tests = [(f"f({size})", "[]") for size in (10**5, 10**5 + 1, 10**6)]
    verdict = run(sandbox, "def f(n):\n    return [10**15] * n\n", *tests, ("len(f(9))", "9"), cpu_seconds=2.0)
    assert (verdict.outcome, verdict.passed) == (Outcome.WRONG_ANSWER, (False, False, False, True))


def test_a_program_that_takes_long_may_run_on_every_core(sandbox: Sandbox) -> None:
    body = "while time.process_time() < 0.3: pass\n    return len(os.sched_getaffinity(0))"
    text = f"import os, time\ndef f():\n    {body}\n"
    cores = str(len(os.sched_getaffinity(0)))
    assert run(sandbox, text, ("f()", cores), cpu_seconds=2.0).outcome == Outcome.PASSED


def test_order_is_kept_and_equal_programs_agree(sandbox: Sandbox) -> None:
    programs = [program(f"x = {n % 7}\n", ("x", str(n % 3))) for n in range(60)]
    verdicts = sandbox.run(programs)
    assert [verdict.passed for verdict in verdicts] == [(n % 7 == n % 3,) for n in range(60)]
    assert sandbox.run([]) == []


def test_disagreeing_runs_are_flaky() -> None:
    flaky = program("import os\ndef f():\n    return os.urandom(1)[0] % 2\n", ("f()", "0"))
    steady = program("def f():\n    return 1\n", ("f()", "0"))
    with Sandbox(SandboxConfig(workers=1, rerun_share=1.0)) as sandbox:
        seen = [sandbox.run([flaky, steady]) for _ in range(16)]
    assert any(verdict.flaky for verdict, _ in seen)
    assert not any(verdict.flaky for _, verdict in seen)


def test_an_expected_value_that_is_no_literal_is_the_users_mistake(sandbox: Sandbox) -> None:
    with pytest.raises(UserError, match="not a Python literal"):
        run(sandbox, "x = 1\n", ("x", "f(1)"))


def _children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == pid:
                found.append(int(entry))
    return found


def _processes_below(pid: int) -> list[int]:
    return [each for child in _children(pid) for each in (child, *_processes_below(child))]


@pytest.mark.parametrize("missing", [(), ("landlock", "seccomp")])
def test_nothing_is_left_behind(
    take_away: Callable[..., None], opened: Callable[[], set[tuple[str, str]]], missing: tuple[str, ...]
) -> None:
    take_away(*missing)
    before = opened()
    sandbox = Sandbox(SandboxConfig(workers=2, rerun_share=0.0, accept_weak_confinement=bool(missing)))
    programs = [program(f"def f():\n    return {n}\n", ("f()", str(n))) for n in range(290)]
    leaving = (
        "import os, time\ndef f():\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\n"
        "    return {}\n"
    )
    programs += [program(leaving.format(n), ("f()", str(n))) for n in range(5)]
    programs += [program(f"open('file{n}', 'w').close()\nx = 1\n", ("x", "1")) for n in range(5)]
    verdicts = sandbox.run(programs)
    assert {verdict.outcome for verdict in verdicts[:290]} == {Outcome.PASSED}
    assert sandbox._process is not None
    supervisor = sandbox._process.pid
    assert len(_processes_below(supervisor)) == 2
    zygote = _processes_below(supervisor)[0]
    assert len(os.listdir(f"/proc/{zygote}/fd")) <= 6  # Standard ones, jobs, reports, Landlock's rules.
    # Once more, so that the last program's file is cleared too.
    sandbox.run([program(f"x = {n}\n", ("x", str(n))) for n in range(8)])
    directory = sandbox._directory
    assert [name for _, _, names in os.walk(directory) for name in names] == []
    below = _processes_below(supervisor)
    sandbox.close()
    assert not os.path.exists(directory)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in [supervisor, *below])
    assert opened() <= before


def test_the_supervisor_dies_with_its_parent() -> None:
    script = (
        "import os\nfrom prm_jax.execution.sandbox import Sandbox, SandboxConfig\n"
        "from prm_jax.execution.verdict import Program\nsandbox = Sandbox(SandboxConfig(workers=1))\n"
        "sandbox.run([Program('x = 1', ())])\nprint(sandbox._process.pid, sandbox._directory, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = str(Path(sandbox_module.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    pid, directory = done.stdout.split()
    for _ in range(100):
        left = [path for path in (f"/proc/{pid}", directory) if os.path.exists(path)]
        if not left:
            break
        time.sleep(0.1)
    assert not left
