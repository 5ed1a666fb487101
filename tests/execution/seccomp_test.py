"""The filter, run by a small interpreter of BPF for every system call of both architectures."""

from __future__ import annotations

import errno
import os
import platform
import re
import struct
from pathlib import Path

import pytest

from prm_jax.execution import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, NOT_THERE = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
PID = 4321


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to a call."""
    program = seccomp.instructions_for(machine)
    audit = seccomp.ARCHITECTURES[machine] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        constant = PID if constant == seccomp.OWN_PID else constant
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x35:
                at += if_true if accumulator >= constant else if_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"code {code:#x}")


@pytest.fixture(params=list(seccomp.ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def number(machine: str, name: str) -> int | None:
    tables = {**seccomp.ALLOWED, **seccomp.NOT_THERE, **{name: pair[0] for name, pair in seccomp.CONDITIONAL.items()}}
    return tables[name][list(seccomp.ARCHITECTURES).index(machine)]


def test_every_number_gets_the_answer_of_the_tables(machine: str) -> None:
    allowed = {number(machine, name) for name in seccomp.ALLOWED}
    conditional = {number(machine, name) for name in seccomp.CONDITIONAL}
    absent = {number(machine, name) for name in seccomp.NOT_THERE}
    for each in (*range(seccomp.NEWEST + 40), 2**30 - 1):
        if each in conditional:
            continue
        expected = ALLOW if each in allowed else NOT_THERE if each in absent or each > seccomp.NEWEST else REFUSED
        assert decide(machine, each) == expected, each


def test_other_architectures_are_killed(machine: str) -> None:
    assert decide(machine, 0, architecture=0x40000003) == KILL  # 32-bit x86.
    assert decide(machine, 0x40000000) == KILL  # x32.
    assert decide(machine, 0xFFFFFFFF) == KILL


CALLS = [
    ("openat", (0, 0, os.O_RDONLY | os.O_CLOEXEC), ALLOW),
    ("openat", (0, 0, os.O_WRONLY), REFUSED),
    ("openat", (0, 0, os.O_RDWR), REFUSED),
    ("openat", (0, 0, os.O_RDONLY | os.O_CREAT), REFUSED),
    ("openat", (0, 0, os.O_RDONLY | os.O_TRUNC), REFUSED),
    ("open", (0, os.O_RDONLY), ALLOW),
    ("open", (0, os.O_WRONLY | os.O_CREAT), REFUSED),
    ("clone", (0x3D0F00,), ALLOW),  # What glibc asks for a thread with.
    ("clone", (0x1200011,), REFUSED),  # And for a process.
    ("clone", (0x11,), REFUSED),
    ("clone", (0x3D0F00 | 0x40000000,), REFUSED),
    ("kill", (PID, 9), ALLOW),
    ("kill", (PID + 1, 0), REFUSED),
    ("kill", (0, 9), REFUSED),
    ("kill", (2**64 - 1, 9), REFUSED),
    ("kill", (2**32 - PID, 9), REFUSED),
    ("tgkill", (PID, 99, 6), ALLOW),
    ("tgkill", (1, 1, 6), REFUSED),
    ("fcntl", (3, 3), ALLOW),
    ("fcntl", (3, 8, PID), REFUSED),
    ("fcntl", (3, 10, 9), REFUSED),
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), REFUSED),
    ("prlimit64", (0, 7, 0, 0x7FFF00001000), ALLOW),
    ("prlimit64", (0, 7, 0x1000, 0), REFUSED),
    ("prlimit64", (0, 7, 0x7F0000000000, 0), REFUSED),
    ("prlimit64", (1, 7, 0, 0x1000), REFUSED),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS)
def test_arguments(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    at = number(machine, name)
    if at is not None:
        assert decide(machine, at, *arguments) == expected


def test_every_condition_is_tried() -> None:
    assert {name for name, _, _ in CALLS} == set(seccomp.CONDITIONAL)


HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    # The architecture's own numbers are the generic ones.
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}


def test_numbers_are_the_kernels(machine: str) -> None:
    header = next((Path(path) for path in HEADERS[machine] if Path(path).exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    found = {name: int(value) for name, value in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())}
    found.setdefault("newfstatat", found.get("fstatat", -1))
    for name in (*seccomp.ALLOWED, *seccomp.NOT_THERE, *seccomp.CONDITIONAL):
        at = number(machine, name)
        assert at is None or found[name] == at, name


@pytest.mark.skipif(platform.machine() not in seccomp.ARCHITECTURES, reason="no table for this machine")
def test_the_own_process_is_filled_in() -> None:
    program = seccomp.Filter()
    marked = [each for each in seccomp.instructions_for(platform.machine()) if each[3] == seccomp.OWN_PID]
    assert len(program._own_pid) == len(marked) > 0
    assert all(struct.unpack_from("=I", program._array, offset) == (0xFFFFFFFF,) for offset in program._own_pid)
