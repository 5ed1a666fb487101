"""Spreads programs over zygotes and keeps the zygotes alive.

Comes in: job frames on standard input. Goes out: report frames on standard output, in any order, and an empty frame
where programs run and nothing else is to be told. Started by `boot.py` in an interpreter of its own; ends when its
input ends or its parent is gone. A zygote that dies or hangs is replaced; the program that it ran is run once more and
then reported as trouble of the sandbox's own. Zygotes are executed afresh, by the same command: one that was forked
would pass on to its children the programs and reports in this process's memory.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from prm_jax.execution import zygote
from prm_jax.execution.frames import REPORT, STATUSES, FrameBuffer, pack
from prm_jax.execution.zygote import waited_seconds

IN_FLIGHT = 4  # Jobs per zygote: one runs, the others wait in its pipe.
ATTEMPTS = 2
BATCH = 8  # Reports that go to the parent together while there is work: each write wakes it.
JOBS_FD, REPORTS_FD = 3, 4  # Of a zygote.
IDLE_SECONDS = 1.0  # How often to look after parent and zygotes, and to tell the parent that programs run.


class Job:
    """One program as bytes, and how often its zygote died under it."""

    def __init__(self, identity: int, wall_seconds: float, payload: bytes) -> None:
        self.identity = identity
        self.wall_seconds = wall_seconds
        self.frame = pack(identity, wall_seconds, payload)
        self.failures = 0


class Worker:
    """One zygote, its two pipes and the jobs that it holds, the running one first."""

    def __init__(self, directory: str, config: dict[str, Any]) -> None:
        job_source, self.sink = os.pipe()
        self.source, report_sink = os.pipe()
        self.jobs: collections.deque[Job] = collections.deque()
        self.unsent = b""
        self.buffer = FrameBuffer()
        self.busy_since = 0.0
        self.grace_seconds = config["grace_seconds"]
        self.pid = _zygote(job_source, report_sink, config | {"directory": directory, "is_zygote": True})
        os.close(job_source)
        os.close(report_sink)
        os.set_blocking(self.sink, False)
        os.set_blocking(self.source, False)

    def give(self, job: Job) -> None:
        """Queues a job."""
        if not self.jobs:
            self.busy_since = time.monotonic()
        self.jobs.append(job)
        self.unsent += job.frame
        self.push()

    def push(self) -> None:
        """Sends what the pipe takes."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self.unsent = self.unsent[os.write(self.sink, self.unsent) :]

    def take(self) -> list[tuple[Job, bytes]] | None:
        """Finished jobs with their reports; None where the zygote is dead."""
        try:
            data = os.read(self.source, 1 << 18)
        except BlockingIOError:
            return []
        if not data:
            return None
        finished = [(self.jobs.popleft(), payload) for _, _, payload in self.buffer.feed(data)]
        if finished:
            self.busy_since = time.monotonic()
        return finished

    @property
    def hung(self) -> bool:
        """Whether the running job is far beyond its wall-clock limit; waiting for a core does not count."""
        if not self.jobs:
            return False
        beyond = time.monotonic() - self.busy_since - self.jobs[0].wall_seconds - self.grace_seconds
        return beyond > 0 and beyond > max(map(waited_seconds, self._children()), default=0.0)

    def _children(self) -> list[int]:
        """The process of the program, and what it left behind; none where the kernel does not tell."""
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return list(map(int, file.read().split()))
        return []

    def end(self) -> None:
        """Kills the zygote, which takes its child along, and closes the pipes."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.sink)
        os.close(self.source)


def _zygote(jobs: int, reports: int, config: dict[str, Any]) -> int:
    """Starts a zygote, which has these two descriptors and no other; gives its process."""
    # Whatever a program prints or reads ends there.
    standard = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    # In this order: the jobs' pipe was opened first, so that no descriptor of the reports' is 3.
    given = [(os.POSIX_SPAWN_DUP2, jobs, JOBS_FD), (os.POSIX_SPAWN_DUP2, reports, REPORTS_FD)]
    command = [*sys.orig_argv[:-1], json.dumps(config)]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=[*standard, *given])


class Supervisor:
    """The event loop between the parent and the zygotes. Nothing here blocks but the one `poll`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._parent = os.getppid()
        self._waiting: collections.deque[Job] = collections.deque()
        self._unsent = bytearray()
        self._reports = 0
        self._told = time.monotonic()  # When the parent was last told something.
        self._buffer = FrameBuffer()
        self._open = True
        self._workers: list[Worker] = []
        for index in range(config["workers"]):
            self._workers.append(self._start(index))

    def _start(self, index: int) -> Worker:
        return Worker(os.path.join(self._config["directory"], str(index)), self._config)

    def run(self) -> None:
        """Works until the input ends."""
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        while self._open and os.getppid() == self._parent:
            ready = self._wait()
            if 0 in ready:
                self._receive()
            for index, worker in enumerate(self._workers):
                if worker.sink in ready:
                    worker.push()
                finished = worker.take() if worker.source in ready else []
                if finished is None or worker.hung:
                    self._replace(index)
                else:
                    for job, payload in finished:
                        self._report(job, payload)
            self._deal()
            self._reassure()
            self._answer()
        for worker in self._workers:
            worker.end()

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        if self._is_due():
            poll.register(1, select.POLLOUT)
        for worker in self._workers:
            poll.register(worker.source, select.POLLIN)
            if worker.unsent:
                poll.register(worker.sink, select.POLLOUT)
        return {fd for fd, _ in poll.poll(int(1000 * IDLE_SECONDS))}

    def _receive(self) -> None:
        data = os.read(0, 1 << 20)
        self._open = bool(data)
        self._waiting.extend(Job(*frame) for frame in self._buffer.feed(data))

    def _deal(self) -> None:
        """Fills the zygotes evenly."""
        for depth in range(IN_FLIGHT):
            for worker in self._workers:
                if self._waiting and len(worker.jobs) <= depth:
                    worker.give(self._waiting.popleft())

    def _report(self, job: Job, payload: bytes) -> None:
        self._unsent += pack(job.identity, 0.0, payload)
        self._reports += 1

    def _reassure(self) -> None:
        """Has the parent hear something while programs run, however long they take."""
        runs = any(worker.jobs for worker in self._workers)
        if runs and time.monotonic() - self._told >= IDLE_SECONDS:
            self._unsent += b"" if self._unsent else pack(0, 0.0, b"")
            self._reports = BATCH

    def _is_due(self) -> bool:
        """Whether reports are to be sent: enough of them, or the parent may have to bring more work."""
        return bool(self._unsent) and (self._reports >= BATCH or not self._waiting)

    def _answer(self) -> None:
        if self._is_due():
            try:
                del self._unsent[: os.write(1, self._unsent)]
                self._told = time.monotonic()
                if not self._unsent:
                    self._reports = 0
            except BlockingIOError:
                pass
            except BrokenPipeError:
                self._open = False

    def _replace(self, index: int) -> None:
        dead = self._workers[index]
        dead.end()
        jobs = list(dead.jobs)
        if jobs:
            jobs[0].failures += 1
            if jobs[0].failures >= ATTEMPTS:
                self._report(jobs.pop(0), REPORT.pack(STATUSES.index("trouble"), 0.0))
        self._waiting.extendleft(reversed(jobs))
        del self._workers[index]
        self._workers.insert(index, self._start(index))


def main(config: dict[str, Any]) -> None:
    """Supervises until the input ends, then removes the working directories; or is a zygote, where `config` says so."""
    if config.get("is_zygote"):
        zygote.serve(JOBS_FD, REPORTS_FD, config["directory"], config["memory_bytes"], config["output_bytes"])
        return
    try:
        Supervisor(config).run()
    finally:
        import shutil  # Here, so that no zygote carries it.

        shutil.rmtree(config["directory"], ignore_errors=True)
