"""What the child shuts before the program runs.

Comes in: the limits of one program. Goes out: nothing; the process is confined. `zygote.py` makes a `Confinement`
once, which holds for itself what its children may inherit, and applies the rest in each forked child. `LAYERS` is an
ordered tuple of small functions: a further layer is one more entry.

All kernels: memory (address space), CPU (as a backstop to the zygote's own clock), core dumps, writing any byte to a
file, set-user-id programs, every descriptor but the records', the caller's environment and working directory. Where
the kernel has Landlock: files but those that Python itself needs (`library.readable_paths`). Where it has seccomp:
processes, programs, sockets, signals to others and all else that `seccomp.ALLOWED` does not name. What holds on a
machine is found by trying (`tiers.py`), not read off here.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable

from prm_jax.execution import landlock, seccomp
from prm_jax.execution.library import library_folders, readable_paths

RECORD_FD = 3

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_prctl = ctypes.CDLL(None).prctl
_DIE_WITH_PARENT = (_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
_setpgid, _setrlimit, _closerange = os.setpgid, resource.setrlimit, os.closerange
_RLIMIT_CPU, _RLIMIT_NPROC, _INFINITY = resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIM_INFINITY
# Counts all processes and threads of the user, so a tight limit would make honest programs' threads fail.
_MOST_TASKS = 4096


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that forked it ends."""
    _prctl(*_DIE_WITH_PARENT)


def adopt_orphans() -> None:
    """Makes this process the parent of whatever its children leave behind, so that it can be killed."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Confinement:
    """What all children of a zygote share.

    Attributes:
      rules: the files that may be read; None where the kernel has no Landlock.
      system_calls: the system calls that may be made; None where the kernel has no filters.
    """

    def __init__(self, memory_bytes: int) -> None:
        """Lowers the limits of this process, which its children inherit, and builds the kernel's rules for them.

        Raises `OSError` where the kernel refuses, and then no program may run.
        """
        _lower(resource.RLIMIT_AS, memory_bytes)
        _lower(resource.RLIMIT_FSIZE, 0)
        _lower(resource.RLIMIT_CORE, 0)
        _lower(resource.RLIMIT_NOFILE, 64)
        if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError("the kernel refuses no_new_privs")
        self.most_cpu_seconds = resource.getrlimit(resource.RLIMIT_CPU)[1]
        self.tasks = _lowered(resource.RLIMIT_NPROC, _MOST_TASKS)
        self.rules = landlock.Rules(readable_paths(), library_folders()) if landlock.version() else None
        self.system_calls = seccomp.Filter() if seccomp.is_available() else None

    def apply(self, cpu_seconds: float) -> None:
        """Applies all layers to this process; raises `OSError` where one fails, and then no program may run.

        Args:
          cpu_seconds: CPU time of the whole program.
        """
        for layer in LAYERS:
            layer(self, cpu_seconds)


def _lower(which: int, value: int) -> None:
    """Sets both limits, never above the hard limit that holds already."""
    resource.setrlimit(which, _lowered(which, value))


def _lowered(which: int, value: int) -> tuple[int, int]:
    """Both limits as `value`, or as the hard limit that holds already where that is lower."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    return value, value


def _own_group(shared: Confinement, cpu_seconds: float) -> None:
    _setpgid(0, 0)
    _prctl(*_DIE_WITH_PARENT)


def _cpu(shared: Confinement, cpu_seconds: float) -> None:
    seconds = int(cpu_seconds) + 2
    most = shared.most_cpu_seconds
    if most != _INFINITY and seconds > most:
        seconds = most
    _setrlimit(_RLIMIT_CPU, (seconds, seconds))


def _tasks(shared: Confinement, cpu_seconds: float) -> None:
    # Here, not in the zygote, which on a busy user's machine could then fork no child at all.
    _setrlimit(_RLIMIT_NPROC, shared.tasks)


def _files(shared: Confinement, cpu_seconds: float) -> None:
    if shared.rules is not None:
        shared.rules.apply()


def _close_descriptors(shared: Confinement, cpu_seconds: float) -> None:
    _closerange(RECORD_FD + 1, 1 << 16)


def _system_calls(shared: Confinement, cpu_seconds: float) -> None:
    if shared.system_calls is not None:
        shared.system_calls.attach()


# The system calls come last: the filter refuses what the other layers do.
LAYERS: tuple[Callable[[Confinement, float], None], ...] = (
    *(_own_group, _cpu, _tasks, _files, _close_descriptors, _system_calls),
)
