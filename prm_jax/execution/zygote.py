"""A warm interpreter that forks one child per program and watches it.

Comes in: job frames on one pipe. Goes out: report frames on another: how the child ended, its CPU seconds and then its
records, unread (see `frames.py`). `supervisor.py` keeps one zygote per core. The zygote reads exactly one job at a
time, into memory that is emptied between jobs (`scratch.py`), so that a child inherits nothing of another program.

Each phase (set-up, the program's text, each call) has a CPU limit, which the zygote enforces by the child's CPU clock;
records mark the phases. A child that forges them gains no more than the sum of the limits.

Most of a small program's cost are pages: after a fork, each page that the zygote or the child writes to is copied, and
a reference count is a write. So whatever can be done once, by the supervisor or by the parent is not done in `_run`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import select
import signal
import time
from collections.abc import Iterable

from prm_jax.execution import child, code_pages, confinement
from prm_jax.execution.frames import HEADER, JOB, RECORD, REPORT, STATUSES
from prm_jax.execution.scratch import Scratch

# Imported once here, so that a program's own import of them costs nothing. Each more makes every fork dearer, by the
# pages that it adds: the supervisor and the zygote themselves import little for the same reason.
WARM_MODULES = (
    *("bisect", "cmath", "collections", "collections.abc", "copy", "datetime", "functools", "heapq", "itertools"),
    *("json", "math", "operator", "random", "re", "string", "sys", "time", "typing"),
)
SETUP_SECONDS = 5.0  # CPU for the trusted set-up.
TEXT_SECONDS = 0.2  # CPU for compiling and importing, on top of one call's limit.
TRACE_SECONDS = 0.5  # CPU that tracing may add to each phase.
HEAD_BYTES = HEADER.size + REPORT.size  # Of a report, in front of the records.
UNCONFINED = 71  # Exit status of a child that could not be confined.
CORES = tuple(os.sched_getaffinity(0))
UNWATCHED_SECONDS = 0.01  # Most programs end before; each wake-up of the zygote on the way would cost them time.

# Not `os.fork`, which makes a child ready for threads and callbacks that the zygote has not, and in doing so touches,
# so copies, as many pages again as all else does before the program starts.
_fork = ctypes.PyDLL(None).fork
_core = ctypes.PyDLL(None).sched_getcpu
_REFUSALS = contextlib.suppress(OSError)


def phase_limits(call_seconds: float, calls: int, is_traced: bool) -> list[float]:
    """CPU seconds of each phase: set-up, text, each call."""
    call = call_seconds + (TRACE_SECONDS if is_traced else 0.0)
    return [SETUP_SECONDS, TEXT_SECONDS + call, *[call] * calls]


def serve(jobs: int, reports: int, directory: str, memory_bytes: int, output_bytes: int) -> None:
    """Runs jobs until their pipe ends.

    Args:
      jobs: descriptor of the pipe that jobs come from.
      reports: descriptor of the pipe that reports go to.
      directory: the working directory of the programs.
      memory_bytes: address space of a program.
      output_bytes: most bytes of one record.
    """
    confinement.die_with_parent()
    confinement.adopt_orphans()
    os.environ.clear()
    for name in WARM_MODULES:
        importlib.import_module(name)
    _empty(directory)
    confined = _confinement(memory_bytes)
    code_pages.inherit()
    child.rehearse()
    gc.collect()
    gc.freeze()  # Keeps the collector of each child from touching, and so copying, the inherited pages.
    scratch = Scratch()
    while scratch.fill_exactly(jobs, HEADER.size):
        length, identity, wall_seconds = HEADER.unpack_from(scratch.view())
        if not scratch.fill_exactly(jobs, length):
            return
        status, cpu_seconds = _run(scratch, wall_seconds, output_bytes, confined)
        if confined is not None and confined.rules is None:
            _empty(directory)
        HEADER.pack_into(scratch.view(), 0, scratch.size - HEADER.size, identity, 0.0)
        REPORT.pack_into(scratch.view(), HEADER.size, STATUSES.index(status), cpu_seconds)
        scratch.send(reports)
        scratch.clear()


def _confinement(memory_bytes: int) -> confinement.Confinement | None:
    """What confines the children; None where the kernel refuses, and then no program runs."""
    try:
        return confinement.Confinement(memory_bytes)
    except OSError:
        return None


def _empty(directory: str) -> None:
    """Makes `directory` exist, empty, and the working directory."""
    try:
        if not os.listdir(directory) and os.getcwd() == directory:
            return
    except OSError:
        pass
    if os.path.exists(directory):
        import shutil  # Needed only where the kernel lets programs leave something; it loads three large libraries.

        shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory, exist_ok=True)
    os.chdir(directory)


def _run(
    scratch: Scratch, wall_seconds: float, output_bytes: int, confined: confinement.Confinement | None
) -> tuple[str, float]:
    """Forks the child and watches it to its end.

    Args:
      scratch: holds the job's frame; afterwards room for the head of a report, and the child's records.
      wall_seconds: the child's wall-clock limit.
      output_bytes: most bytes of one record.
      confined: what confines the child.

    Returns:
      One of `STATUSES` and the child's CPU seconds.
    """
    if confined is None:
        scratch.clear(HEAD_BYTES)
        return "unconfined", 0.0
    call_seconds, calls, is_traced, counts = JOB.unpack_from(scratch.view(), HEADER.size)
    limits = phase_limits(call_seconds, calls, is_traced or counts)
    source, sink = os.pipe()
    # A child starts on the core of its zygote, which waits for it: what it inherits is in that core's caches, and no
    # other core has to be woken. One that takes longer is let go (`_Watch`).
    _restrict(0, (_core(),))
    pid = _fork()
    if pid == 0:
        try:
            os.dup2(sink, confinement.RECORD_FD)
            confined.apply(sum(limits))
            child.run(scratch.view()[HEADER.size :], confinement.RECORD_FD, output_bytes)
        finally:
            os._exit(UNCONFINED)  # Reached only where confinement failed.
    _restrict(0, CORES)
    os.close(sink)
    scratch.clear(HEAD_BYTES)
    if pid < 0:  # No process or no memory is left. To `kill`, that number names every process of the user.
        os.close(source)
        return "trouble", 0.0
    # A record is at most `output_bytes` long and a call writes one, traced three; more than all together is hostile.
    most_bytes = HEAD_BYTES + output_bytes * (calls + 1) * (3 if is_traced else 1)
    try:
        status = _watch(pid, source, scratch, limits, wall_seconds, most_bytes)
    finally:
        os.close(source)
        code, usage = _reap(pid, confined)
    # A program that ends with that number itself has the harness's first record before it.
    if code == UNCONFINED << 8 and scratch.size == HEAD_BYTES:
        status = "unconfined"
    return status, usage.ru_utime + usage.ru_stime


def waited_seconds(pid: int) -> float:
    """Seconds that a process has waited for a core in its life; 0 where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[1]) / 1e9
    return 0.0


def _restrict(pid: int, cores: Iterable[int]) -> None:
    """Has a process, 0 for this one, run on these cores; where the machine does not let it, on those that it may."""
    with _REFUSALS:
        os.sched_setaffinity(pid, cores)


def _watch(pid: int, source: int, scratch: Scratch, limits: list[float], wall_seconds: float, most_bytes: int) -> str:
    """Reads the child's records into `scratch`; how it ended: `"ended"`, `"timeout"` or `"output"`."""
    poll = select.poll()
    poll.register(source, 0)  # Only its end.
    if poll.poll(int(1000 * UNWATCHED_SECONDS)):
        while scratch.fill(source):  # What a child that has ended left in the pipe.
            pass
        return "ended" if scratch.size <= most_bytes else "output"
    _restrict(pid, CORES)
    deadline = time.monotonic() + wall_seconds - UNWATCHED_SECONDS
    return _Watch(pid, source, scratch, limits, deadline, most_bytes).until_end()


class _Watch:
    """Reads the records of one child and keeps its clocks."""

    def __init__(
        self, pid: int, source: int, scratch: Scratch, limits: list[float], deadline: float, most_bytes: int
    ) -> None:
        self._scratch = scratch
        self._done = False
        self._pid = pid
        self._clock = (~pid << 3) | 2  # The kernel's name for the CPU clock of a process.
        self._source = source
        self._limits = limits
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._phase = 0
        self._phase_began = 0.0
        self._parsed = scratch.size

    def until_end(self) -> str:
        """`"ended"`, `"timeout"` or `"output"`."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        while True:
            cpu_left = self._limits[self._phase] - (self._cpu() - self._phase_began)
            wall_left = self._wall_left()
            if cpu_left <= 0 or wall_left <= 0:
                return "timeout"
            # Rounded up, or the last millisecond would be waited for in a busy loop.
            if not poll.poll(int(1000 * min(cpu_left, wall_left)) + 1):
                continue
            if not self._scratch.fill(self._source):
                return "ended"
            if self._scratch.size > self._most_bytes:
                return "output"
            self._count_phases()
            if self._done:
                return "ended"

    def _wall_left(self) -> float:
        """Seconds to the backstop. Waiting for a core does not count: it says how busy the machine is."""
        left = self._deadline - time.monotonic()
        return left if left > 0 else left + waited_seconds(self._pid)

    def _cpu(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return self._phase_began

    def _count_phases(self) -> None:
        while self._scratch.size >= self._parsed + RECORD.size:
            length, kind = RECORD.unpack_from(self._scratch.view(), self._parsed)
            end = self._parsed + RECORD.size + length
            if self._scratch.size < end:
                return
            self._parsed = end
            if kind in b"PR" and self._phase + 1 < len(self._limits):
                self._phase += 1
                self._phase_began = self._cpu()
            self._done = self._done or kind in b"DX"


def _reap(pid: int, confined: confinement.Confinement) -> tuple[int, resource.struct_rusage]:
    """Kills the child and all that it left behind, and collects them."""
    os.kill(pid, signal.SIGKILL)
    if confined.system_calls is not None:  # It could start no process.
        _, code, usage = os.wait4(pid, 0)
        return code, usage
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _, code, usage = os.wait4(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                _kill_children()
                os.waitpid(-1, 0)
    return code, usage


def _kill_children() -> None:
    """Kills the processes that a program left and that were handed to this one."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
            if parent == os.getpid():
                os.kill(int(entry), signal.SIGKILL)
