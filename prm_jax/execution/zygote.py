"""A warm interpreter that forks one child per program and watches it.

Comes in: job frames on one pipe. Goes out: report frames on another: the zygote's own JSON (`status`, `cpu_seconds`)
and then the child's records, unread. `supervisor.py` keeps one zygote per core. The zygote reads exactly one job at a
time, so that a child finds no other program in the memory it inherits.

Each phase (set-up, the program's text, each call) has a CPU limit, which the zygote enforces by the child's CPU clock;
records mark the phases. A child that forges them gains no more than the sum of the limits.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import time
from typing import Any

from prm_jax.execution import child, confinement
from prm_jax.execution.frames import HEADER, RECORD, REPORT, pack, read_exact, write_all

# Imported once here, so that a program's own import of them costs nothing. Each more makes every fork dearer, by the
# pages that it adds: the supervisor and the zygote themselves import little for the same reason.
WARM_MODULES = (
    *("bisect", "cmath", "collections", "collections.abc", "copy", "datetime", "functools", "heapq", "itertools"),
    *("json", "math", "operator", "random", "re", "string", "sys", "time", "typing"),
)
SETUP_SECONDS = 5.0  # CPU for the trusted set-up.
TEXT_SECONDS = 0.2  # CPU for compiling and importing, on top of one call's limit.
TRACE_SECONDS = 0.5  # CPU that tracing may add to each phase.
UNCONFINED = 71  # Exit status of a child that could not be confined.
UNWATCHED_SECONDS = 0.01  # Most programs end before; each wake-up of the zygote on the way would cost them time.

# Not `os.fork`, which makes a child ready for threads and callbacks that the zygote has not, and in doing so touches,
# so copies, as many pages again as all else does before the program starts.
_fork = ctypes.PyDLL(None).fork


def phase_limits(job: dict[str, Any]) -> list[float]:
    """CPU seconds of each phase: set-up, text, each call."""
    call = job["cpu_seconds"] + (TRACE_SECONDS if job["trace"] or job["opcodes"] else 0.0)
    return [SETUP_SECONDS, TEXT_SECONDS + call, *[call] * len(job["calls"])]


def serve(jobs: int, reports: int, directory: str, config: dict[str, Any]) -> None:
    """Runs jobs until their pipe ends."""
    confinement.die_with_parent()
    confinement.adopt_orphans()
    os.environ.clear()
    for name in WARM_MODULES:
        importlib.import_module(name)
    confined = _confinement(config["memory_bytes"])
    gc.collect()
    gc.freeze()  # Keeps the collector of each child from touching, and so copying, the inherited pages.
    while header := read_exact(jobs, HEADER.size):
        length, identity, wall_seconds = HEADER.unpack(header)
        payload = read_exact(jobs, length)
        _empty(directory)
        write_all(reports, pack(identity, 0.0, _run(json.loads(payload), wall_seconds, config, confined)))


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
    import shutil  # Rarely needed.

    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory, exist_ok=True)
    os.chdir(directory)


def _run(
    job: dict[str, Any], wall_seconds: float, config: dict[str, Any], confined: confinement.Confinement | None
) -> bytes:
    """Forks the child, watches it to its end and gives the report."""
    if confined is None:
        return _report("unconfined")
    limits = phase_limits(job)
    # A record is at most `output_bytes` long and a call writes one, traced three; more than all together is hostile.
    most_bytes = config["output_bytes"] * (len(job["calls"]) + 1) * (3 if job["trace"] else 1)
    source, sink = os.pipe()
    pid = _fork()
    if pid == 0:
        try:
            os.dup2(sink, confinement.RECORD_FD)
            confined.apply(sum(limits))
            child.run(job, confinement.RECORD_FD, config["output_bytes"])
        finally:
            os._exit(UNCONFINED)  # Reached only where confinement failed.
    os.close(sink)
    try:
        watch = _Watch(pid, source, limits, time.monotonic() + wall_seconds, most_bytes)
        status = watch.until_end()
    finally:
        os.close(source)
        code, usage = _reap(pid)
    if status == "ended":
        # A program that ends with that number itself has the harness's first record before it.
        unconfined = code == UNCONFINED << 8 and not watch.records
        status = "done" if watch.done else "unconfined" if unconfined else "died"
    return _report(status, usage.ru_utime + usage.ru_stime, bytes(watch.records))


def _report(status: str, cpu_seconds: float = 0.0, records: bytes = b"") -> bytes:
    head = json.dumps({"status": status, "cpu_seconds": cpu_seconds}).encode()
    return REPORT.pack(len(head)) + head + records


class _Watch:
    """Reads the records of one child and keeps its clocks."""

    def __init__(self, pid: int, source: int, limits: list[float], deadline: float, most_bytes: int) -> None:
        self.records = bytearray()
        self.done = False
        self._pid = pid
        self._clock = (~pid << 3) | 2  # The kernel's name for the CPU clock of a process.
        self._source = source
        self._limits = limits
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._phase = 0
        self._phase_began = 0.0
        self._parsed = 0

    def until_end(self) -> str:
        """`"ended"`, `"timeout"` or `"output"`."""
        poll = select.poll()
        poll.register(self._source, 0)  # Only its end.
        poll.poll(int(1000 * UNWATCHED_SECONDS))
        poll.modify(self._source, select.POLLIN)
        while True:
            cpu_left = self._limits[self._phase] - (self._cpu() - self._phase_began)
            wall_left = self._wall_left()
            if cpu_left <= 0 or wall_left <= 0:
                return "timeout"
            # Rounded up, or the last millisecond would be waited for in a busy loop.
            if not poll.poll(int(1000 * min(cpu_left, wall_left)) + 1):
                continue
            data = os.read(self._source, 1 << 16)
            if not data:
                return "ended"
            self.records += data
            if len(self.records) > self._most_bytes:
                return "output"
            self._count_phases()
            if self.done:
                return "ended"

    def _wall_left(self) -> float:
        """Seconds to the backstop. Waiting for a core does not count: it says how busy the machine is."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{self._pid}/schedstat") as file:
                left += int(file.read().split()[1]) / 1e9
        return left

    def _cpu(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return self._phase_began

    def _count_phases(self) -> None:
        while len(self.records) >= self._parsed + RECORD.size:
            length, kind = RECORD.unpack_from(self.records, self._parsed)
            end = self._parsed + RECORD.size + length
            if len(self.records) < end:
                return
            self._parsed = end
            if kind in b"PR" and self._phase + 1 < len(self._limits):
                self._phase += 1
                self._phase_began = self._cpu()
            self.done = self.done or kind in b"DX"


def _reap(pid: int) -> tuple[int, resource.struct_rusage]:
    """Kills the child, its session and all that it left behind, and collects them."""
    os.kill(pid, signal.SIGKILL)
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
