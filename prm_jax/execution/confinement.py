"""What the child shuts before the program runs.

Comes in: the limits of one program. Goes out: nothing; the process is confined. Called by `zygote.py` in the forked
child. `LAYERS` is an ordered tuple of small functions: a further layer is one more entry.

Kept shut by this tier: memory (address space), CPU (as a backstop to the zygote's own clock), core dumps, writing any
byte to a file, set-user-id programs, every descriptor but the records', the caller's environment, the caller's working
directory. A process that outlives its program is killed by the zygote.

Not kept shut by this tier: reading files that the user may read, truncating or removing files that the user may
remove, network sockets, starting processes while the program runs, signals to the user's other processes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from typing import NamedTuple

RECORD_FD = 3

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class Limits(NamedTuple):
    """Limits of one program.

    Attributes:
      memory_bytes: address space.
      cpu_seconds: CPU time of the whole process.
    """

    memory_bytes: int
    cpu_seconds: float


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Makes this process the parent of whatever its children leave behind, so that it can be killed."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _new_session(limits: Limits) -> None:
    os.setsid()
    die_with_parent()


def _no_new_privileges(limits: Limits) -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _close_descriptors(limits: Limits) -> None:
    os.closerange(RECORD_FD + 1, 1 << 16)


def _resources(limits: Limits) -> None:
    cpu = int(limits.cpu_seconds) + 2
    _lower(resource.RLIMIT_AS, limits.memory_bytes)
    _lower(resource.RLIMIT_CPU, cpu)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, 64)
    # Counts all processes and threads of the user, so a tight limit would make other programs' threads fail.
    _lower(resource.RLIMIT_NPROC, 4096)


def _lower(which: int, value: int) -> None:
    """Sets both limits, never above the hard limit that holds already."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


LAYERS: tuple[Callable[[Limits], None], ...] = (_new_session, _close_descriptors, _resources, _no_new_privileges)


def confine(limits: Limits) -> None:
    """Applies all layers to this process; raises `OSError` where one fails, and then no program may run."""
    for layer in LAYERS:
        layer(limits)
