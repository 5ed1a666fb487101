"""`Sandbox`: runs untrusted programs on their tests and gives verdicts.

Comes in: `Program`s. Goes out: one `Verdict` each. Called by labelling, PPO, evaluation and `prm_jax generate`. The
work is done by a supervisor that is executed afresh (`boot.py`), never forked from this process, which may hold JAX.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
import marshal
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

from prm_jax.errors import UserError
from prm_jax.execution import bwrap, grading
from prm_jax.execution.frames import JOB, FrameBuffer, pack, write_all
from prm_jax.execution.journal import Journal, program_key
from prm_jax.execution.tiers import Tier, find_tier
from prm_jax.execution.verdict import Outcome, Program, Verdict

_BOOT = Path(__file__).with_name("boot.py")
_IN_FLIGHT_PER_WORKER = 16
_ATTEMPTS = 2
_MIN_WALL_SECONDS = 2.0
_GRACE_SECONDS = 60.0  # Beyond a program's wall-clock limit, before its zygote counts as hung.
_PATIENCE = 120.0  # Seconds after which a supervisor that tells nothing, not even that programs run, counts as hung.


@dataclasses.dataclass(frozen=True)
class SandboxConfig:
    """How programs are run.

    Attributes:
      workers: zygotes; 0 for one per core.
      memory_mb: address space of one program, in MiB.
      wall_factor: wall-clock backstop, as a multiple of the CPU limits of all calls (at least 2 s); time that a program
        waits for a core does not count.
      output_bytes: most bytes of one call's value, and of its trace; a larger value equals nothing, a larger trace
        tells lines only.
      rerun_share: share of programs that are run twice to find flaky ones; timeouts, memory failures and killed
        programs always are.
      seed: chooses that share.
      hash_seed: Python's, on which the order of sets of strings depends.
      accept_weak_confinement: run untrusted programs also on a machine where they can reach its files or the network
        (see `prm_jax doctor`). Say yes only where nothing can be lost or told: in a container or an account of its own.
      backend: `"own"`, or `"bwrap"` to have bubblewrap put all of it into namespaces as well, see `bwrap.py`.
    """

    workers: int = 0
    memory_mb: int = 1024
    wall_factor: float = 10.0
    output_bytes: int = 1 << 20
    rerun_share: float = 0.05
    seed: int = 0
    hash_seed: int = 0
    accept_weak_confinement: bool = False
    backend: Literal["own", "bwrap"] = "own"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, least in (("workers", 0), ("memory_mb", 1), ("output_bytes", 1)):
            if getattr(self, name) < least:
                raise UserError(f"SandboxConfig.{name}={getattr(self, name)}; expected at least {least}")
        if not self.wall_factor > 0:
            raise UserError(f"SandboxConfig.wall_factor={self.wall_factor}; expected more than 0")
        if not 0 <= self.rerun_share <= 1:
            raise UserError(f"SandboxConfig.rerun_share={self.rerun_share}; expected 0 to 1")
        if not 0 <= self.hash_seed < 1 << 32:
            raise UserError(f"SandboxConfig.hash_seed={self.hash_seed}; expected 0 to {(1 << 32) - 1}")
        if self.backend not in ("own", "bwrap"):
            raise UserError(f"SandboxConfig.backend={self.backend!r}; expected 'own' or 'bwrap'")

    @property
    def conditions(self) -> tuple[str, ...]:
        """What a verdict depends on besides its program, where it is not the default."""
        names = ("memory_mb", "wall_factor", "output_bytes", "rerun_share", "seed", "hash_seed")
        values = ((name, getattr(self, name)) for name in names)
        return tuple(f"{name}={value}" for name, value in values if value != getattr(SandboxConfig, name))


class Sandbox:
    """A pool of confined interpreters, started at the first `run`; use it as a context manager."""

    def __init__(self, config: SandboxConfig = SandboxConfig(), journal: Journal | None = None) -> None:
        """`journal`, where given, is asked first and told every verdict; it keeps those that are known."""
        self.config = config
        self.journal = journal
        self._workers = config.workers or len(os.sched_getaffinity(0))
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = FrameBuffer()
        self._directory = ""
        self._tier: Tier | None = None

    def __enter__(self) -> Sandbox:
        """Gives itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the sandbox."""
        self.close()

    def run(self, programs: Sequence[Program]) -> list[Verdict]:
        """Verdicts in the order of `programs`; equal programs are run once.

        Raises `UserError` for a test whose expected value is not a literal, and where this machine cannot keep
        programs from its files and the network, unless `SandboxConfig.accept_weak_confinement`.
        """
        known: dict[Program, Verdict] = {}
        fresh: list[Program] = []
        for program in dict.fromkeys(programs):
            verdict = self.journal.get(program, self.config.conditions) if self.journal is not None else None
            if verdict is None:
                fresh.append(program)
            else:
                known[program] = verdict
        for program, verdict in self._run_fresh(fresh).items():
            known[program] = verdict
            if self.journal is not None:
                self.journal.put(program, verdict, self.config.conditions)
        return [known[program] for program in programs]

    def tier(self) -> Tier:
        """What is kept shut on this machine; tried out at the first call."""
        if self._tier is None:
            self._tier = find_tier(self._execute)
        return self._tier

    def close(self) -> None:
        """Ends the supervisor and all below it."""
        process, self._process = self._process, None
        if process is not None:
            self._end(process)
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        # The end of its input is the signal to stop: it kills its zygotes, and they their children.
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _run_fresh(self, programs: list[Program]) -> dict[Program, Verdict]:
        for program in programs:
            for test in program.tests:
                if test.expected is not None:
                    grading.expected_value(test.expected)
        if programs:
            self._refuse_weak_confinement()
        first = self._execute(programs)
        again = [program for program in programs if self._needs_rerun(program, first[program])]
        for program, second in self._execute(again).items():
            verdict = first[program]
            both_known = Outcome.UNKNOWN not in (verdict.outcome, second.outcome)
            if both_known and (verdict.outcome, verdict.passed) != (second.outcome, second.passed):
                first[program] = dataclasses.replace(verdict, flaky=True)
        return first

    def _refuse_weak_confinement(self) -> None:
        if not (self.config.accept_weak_confinement or self.tier().is_strong):
            self.close()
            raise UserError(
                f"on this machine untrusted programs would run in tier {self.tier().name}, which leaves open: "
                f"{', '.join(self.tier().open)} (see `prm_jax doctor`); use a kernel with Landlock and seccomp, or "
                "bubblewrap (SandboxConfig.backend = 'bwrap'), or, where nothing can be lost or told, bind "
                "SandboxConfig.accept_weak_confinement = True"
            )

    def _needs_rerun(self, program: Program, verdict: Verdict) -> bool:
        if verdict.outcome in (Outcome.TIMEOUT, Outcome.MEMORY, Outcome.KILLED):
            return True
        digest = hashlib.sha256(f"{program_key(program)}{self.config.seed}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.config.rerun_share * 2**64

    def _execute(self, programs: Iterable[Program]) -> dict[Program, Verdict]:
        """Runs each program once."""
        table = list(programs)
        try:
            return self._pass_through(table)
        except BaseException:
            # The next call would take the reports that this one leaves in the pipe for its own.
            self.close()
            raise

    def _pass_through(self, table: Sequence[Program]) -> dict[Program, Verdict]:
        """Has a window of the programs at a time run; starts the supervisor again if it dies."""
        verdicts: dict[Program, Verdict] = {}
        waiting = collections.deque(range(len(table)))
        failures: collections.Counter[int] = collections.Counter()
        flying: set[int] = set()
        window = self._workers * _IN_FLIGHT_PER_WORKER
        while waiting or flying:
            # Refilled by halves, so that one write carries many programs.
            batch = []
            if len(flying) <= window // 2:
                batch = [waiting.popleft() for _ in range(min(len(waiting), window - len(flying)))]
                flying.update(batch)
            try:
                reports = self._exchange([(index, table[index]) for index in batch])
            except OSError:
                self.close()
                failures.update(flying)
                waiting.extendleft(sorted(flying, reverse=True))
                flying.clear()
                for index in [index for index in waiting if failures[index] >= _ATTEMPTS]:
                    waiting.remove(index)
                    verdicts[table[index]] = grading.unknown(table[index], "sandbox: supervisor died")
                continue
            for index, report in reports:
                flying.discard(index)
                verdicts[table[index]] = grading.judge(table[index], report)
        return {program: verdicts[program] for program in table}

    def _exchange(self, batch: list[tuple[int, Program]]) -> list[tuple[int, bytes]]:
        """Sends programs, waits for at least one report; raises `OSError` where the supervisor is gone or hangs."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        if batch:
            # Blocks no longer than the supervisor needs to read: it never waits for its own output to be taken.
            frames = [pack(index, self._wall_seconds(program), _payload(program)) for index, program in batch]
            _write(process.stdin.fileno(), b"".join(frames), _PATIENCE)
        reports: list[tuple[int, bytes]] = []
        while not reports:
            _await(process.stdout.fileno(), select.POLLIN, _PATIENCE)
            data = os.read(process.stdout.fileno(), 1 << 20)
            if not data:
                raise BrokenPipeError("the supervisor is gone")
            reports = [(index, report) for index, _, report in self._buffer.feed(data) if report]
        return reports

    def _wall_seconds(self, program: Program) -> float:
        return max(_MIN_WALL_SECONDS, self.config.wall_factor * program.cpu_seconds * (len(program.tests) + 1))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._directory = tempfile.mkdtemp(prefix="prm_jax-")
            self._buffer = FrameBuffer()
            config = {
                "workers": self._workers,
                "memory_bytes": self.config.memory_mb << 20,
                "output_bytes": self.config.output_bytes,
                "directory": self._directory,
                "grace_seconds": _GRACE_SECONDS,
            }
            # What `-I` does, but for the hash seed, which `-I` would ignore; the environment is empty anyway.
            command = [sys.executable, "-P", "-s", "-S", str(_BOOT), json.dumps(config)]
            if self.config.backend == "bwrap":
                command = bwrap.wrap(command, [str(_BOOT.parent), str(Path(__file__).parent)], self._directory)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                # One arena: each further thread's would take 128 MiB of a program's address space.
                env={
                    "PYTHONHASHSEED": str(self.config.hash_seed),
                    "PYTHONUTF8": "1",
                    "MALLOC_ARENA_MAX": "1",
                    # Each child would look up anew what a library calls for the first time.
                    "LD_BIND_NOW": "1",
                },
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        return self._process


def _await(fd: int, event: int, seconds: float) -> None:
    """Waits until a pipe can be read or written, or is closed; raises `TimeoutError`."""
    poll = select.poll()
    poll.register(fd, event)
    if not poll.poll(1000 * seconds):
        raise TimeoutError(f"the supervisor has not moved for {seconds:g} s")


def _write(fd: int, data: bytes, seconds: float) -> None:
    """Writes all of `data` to a pipe whose reader may hang: in parts, each of which fits where there is any room."""
    for start in range(0, len(data), select.PIPE_BUF):
        _await(fd, select.POLLOUT, seconds)
        write_all(fd, data[start : start + select.PIPE_BUF])


def _payload(program: Program) -> bytes:
    """The program as the zygote gets it: without any expected value."""
    head = JOB.pack(program.cpu_seconds, len(program.tests), program.trace, program.opcodes)
    calls = [[test.call, test.in_child] for test in program.tests]
    return head + marshal.dumps((program.text, program.setup, calls))
