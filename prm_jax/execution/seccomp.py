"""The system calls that a confined program may make; all others are refused.

Comes in: the process that is to be confined. Goes out: nothing; a BPF filter holds for it and for its threads, for
good. `confinement.py` builds the filter once in the zygote and attaches it in each child. Standard library only.

A program that computes needs few system calls: memory, time, threads, reading files, writing to descriptors that it
has. What is not in `ALLOWED` is refused with EPERM: processes, programs, sockets, signals to others, tracing, mounts,
BPF, io_uring, performance events, everything that changes a file system or another process, raised limits. Refused
with ENOSYS, as an older kernel would, are the calls that a C library replaces by older ones: `clone3` and `openat2`,
whose flags stand behind a pointer where a filter cannot look, and calls newer than this table. A call by another
architecture's numbers kills the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from typing import NamedTuple

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_prctl = ctypes.CDLL(None).prctl
_NUMBER = struct.Struct("=I")

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's audit numbers of the architectures that have a column in the tables."""

NEWEST = 462
"""The highest number that both architectures had when the tables were written (`mseal`, Linux 6.10)."""

# By name: the numbers on x86-64 and on aarch64, which lacks the older ones of several calls that do the same.
ALLOWED: dict[str, tuple[int, int | None]] = {
    # Descriptors and files.
    "read": (0, 63), "pread64": (17, 67), "readv": (19, 65), "write": (1, 64), "writev": (20, 66), "close": (3, 57),
    "lseek": (8, 62), "stat": (4, None), "lstat": (6, None), "fstat": (5, 80), "newfstatat": (262, 79),
    "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, None), "readlinkat": (267, 78), "getdents": (78, None), "getdents64": (217, 61),
    "getcwd": (79, 17), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59),
    # Memory and threads.
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214), "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293), "membarrier": (324, 283),
    "exit": (60, 93), "exit_group": (231, 94), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "getcpu": (309, 168),
    # Its own signals.
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "pause": (34, None),
    "alarm": (37, None), "getitimer": (36, 102), "setitimer": (38, 103), "restart_syscall": (219, 128),
    # Time and waiting.
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "poll": (7, None), "ppoll": (271, 73),
    "select": (23, None), "pselect6": (270, 72), "epoll_create": (213, None), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22), "eventfd": (284, None),
    "eventfd2": (290, 19),
    # What it is and what it has.
    "gettid": (186, 178), "getpid": (39, 172), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150),
    "getgroups": (115, 158), "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156),
    "getpriority": (140, 141), "getrusage": (98, 165), "getrlimit": (97, 163), "sysinfo": (99, 179),
    "uname": (63, 160), "getrandom": (318, 278),
}  # fmt: skip
NOT_THERE: dict[str, tuple[int, int | None]] = {"clone3": (435, 435), "openat2": (437, 437)}

OWN_PID = -1
"""Stands in a condition for the process that the filter is attached to."""


class Condition(NamedTuple):
    """One 32-bit word of a call's arguments, masked, has to be one of `values`.

    Attributes:
      word: 0 for the low half of the first argument, 1 for its high half, 2 for the low half of the second, ...
      values: what is let through.
      mask: the bits that count.
    """

    word: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_THREAD = 0x00010000  # CLONE_THREAD
_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_DUPFD, _GETFD, _SETFD, _GETFL, _SETFL, _DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
_TCGETS, _FIONCLEX, _FIOCLEX = 0x5401, 0x5450, 0x5451

# Numbers as above, and the conditions that must all hold.
CONDITIONAL: dict[str, tuple[tuple[int, int | None], tuple[Condition, ...]]] = {
    "open": ((2, None), (Condition(2, (0,), _WRITING),)),
    "openat": ((257, 56), (Condition(4, (0,), _WRITING),)),
    "clone": ((56, 220), (Condition(0, (_THREAD,), _THREAD | _NAMESPACES),)),
    "kill": ((62, 129), (Condition(0, (OWN_PID,)),)),
    "tgkill": ((234, 131), (Condition(0, (OWN_PID,)),)),
    # Not F_SETOWN, which has the kernel send signals to any process of the user.
    "fcntl": ((72, 25), (Condition(2, (_DUPFD, _GETFD, _SETFD, _GETFL, _SETFL, _DUPFD_CLOEXEC)),)),
    "ioctl": ((16, 29), (Condition(2, (_TCGETS, _FIONCLEX, _FIOCLEX)),)),
    # Of this process, and without new limits: root could raise them.
    "prlimit64": ((302, 261), (Condition(0, (0,)), Condition(4, (0,)), Condition(5, (0,)))),
}

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # Numbers from here on are those of x86-64's second, 32-bit set of calls.

Instruction = tuple[int, int, int, int]
"""Code, offset of the jump where true, offset where false, constant."""


class _SockFilter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_SockFilter)))


def is_available() -> bool:
    """Whether the kernel takes filters and the tables have a column for this machine."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    ctypes.set_errno(0)
    # Without a program: a kernel that knows filters complains of the address, another one of the mode.
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    return ctypes.get_errno() == errno.EFAULT and platform.machine() in ARCHITECTURES


class Filter:
    """The filter as the kernel takes it, built once and attached many times."""

    def __init__(self) -> None:
        """Builds the filter for this machine's architecture, which must be one of `ARCHITECTURES`."""
        instructions = instructions_for(platform.machine())
        self._array = (_SockFilter * len(instructions))(*(_SockFilter(*each) for each in instructions))
        self._program = _SockFprog(len(instructions), self._array)
        # Prepared, as each object that a child makes or looks up costs it pages.
        self._attach = (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(self._program), 0, 0)
        own = [index for index, instruction in enumerate(instructions) if instruction[3] == OWN_PID]
        self._own_pid = [index * ctypes.sizeof(_SockFilter) + _SockFilter.k.offset for index in own]

    def attach(self) -> None:
        """Confines this process; `no_new_privs` must hold already. Raises `OSError` where the kernel refuses."""
        pid = os.getpid()
        for offset in self._own_pid:
            _NUMBER.pack_into(self._array, offset, pid)
        if _prctl(*self._attach) != 0:
            raise OSError("seccomp refuses the filter")


def instructions_for(machine: str) -> list[Instruction]:
    """The filter for an architecture; `OWN_PID` stands where the process's own number belongs.

    Numbers are found by bisection: when a filter is attached, the kernel runs it once for every number there is.
    """
    tree = _bisect(_spans(machine))
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        *tree,
    ]


def _spans(machine: str) -> list[tuple[int, list[Instruction]]]:
    """What to do with each number, as the first number of each run of numbers that are treated alike."""
    column = list(ARCHITECTURES).index(machine)
    allow, refuse, not_there = _return(_ALLOW), _return(_ERRNO | errno.EPERM), _return(_ERRNO | errno.ENOSYS)
    blocks = {
        **{numbers[column]: allow for numbers in ALLOWED.values()},
        **{numbers[column]: not_there for numbers in NOT_THERE.values()},
        **{numbers[column]: _block(conditions, allow, refuse) for numbers, conditions in CONDITIONAL.values()},
    }
    spans: list[tuple[int, list[Instruction]]] = []
    for number in range(NEWEST + 1):
        block = blocks.get(number, refuse)
        if not spans or spans[-1][1] is not block:
            spans.append((number, block))
    return [*spans, (NEWEST + 1, not_there), (_X32, _return(_KILL))]


def _return(action: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, action)]


def _block(conditions: Sequence[Condition], allow: list[Instruction], refuse: list[Instruction]) -> list[Instruction]:
    """Allows where all conditions hold."""
    block: list[Instruction] = []
    for condition in conditions:
        block.append((_LOAD, 0, 0, _ARGUMENTS_OFFSET + 4 * condition.word))
        block.append((_AND, 0, 0, condition.mask))
        for left, value in zip(reversed(range(len(condition.values))), condition.values, strict=True):
            block.append((_EQUAL, left + 1, 0, value))
        block += refuse
    return block + allow


def _bisect(spans: Sequence[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(spans) == 1:
        return spans[0][1]
    middle = len(spans) // 2
    below, above = _bisect(spans[:middle]), _bisect(spans[middle:])
    assert len(below) < 256, "a jump of BPF is one byte"
    return [(_AT_LEAST, len(below), 0, spans[middle][0]), *below, *above]
