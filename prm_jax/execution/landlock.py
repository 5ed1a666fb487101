"""Which files a confined program may read: those that are named. Everything else of the file system is shut.

Comes in: paths. Goes out: nothing; the process is confined, for good. `confinement.py` builds the rules once in the
zygote and applies them in each child. Standard library only. Needs no privilege, but a kernel that has Landlock (Linux
5.13 and later, where it is switched on); later versions of its interface also shut truncation, TCP, device commands,
abstract sockets and signals to processes outside.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # The same numbers on all architectures.
_RULE_PATH_BENEATH = 1
_PATH_BENEATH = struct.Struct("=Qi")  # Rights, descriptor.
_VERSION = 1  # Flag of the first call: ask for the interface's version only.
_LOG_SAME_EXEC_OFF = 1  # Since version 7: hostile programs would fill the audit log.

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Execute, write, read, list, remove two kinds and make seven kinds of files; since version 2 move, 3 truncate, 5 ioctl.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS = {4: 0b11}  # TCP: bind, connect.
_SCOPES = {6: 0b11}  # Abstract Unix sockets, signals.

_syscall = ctypes.CDLL(None).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, *[ctypes.c_ulong] * 4]


def version() -> int:
    """The version of the kernel's Landlock interface; 0 where there is none."""
    return max(0, _syscall(_CREATE_RULESET, 0, 0, _VERSION, 0))


def _newest(rights: dict[int, int], version: int) -> int:
    return rights[max(known for known in rights if known <= version)] if version >= min(rights) else 0


class Rules:
    """A set of rules in the kernel, built once and applied many times."""

    def __init__(self, readable: Iterable[str], listed: Iterable[str] = ()) -> None:
        """Nothing but what is below the paths of `readable` that exist may be read, nothing written or executed.

        Folders below those of `listed` may be listed besides: the kernel has no right for one folder alone.

        Raises `OSError` where the kernel has no Landlock or refuses the rules.
        """
        self._version = version()
        handled = [_newest(rights, self._version) for rights in (_FILE_RIGHTS, _NET_RIGHTS, _SCOPES)]
        size = 24 if self._version >= 6 else 16 if self._version >= 4 else 8
        attributes = (ctypes.c_uint64 * 3)(*handled)
        self._fd = _checked(_CREATE_RULESET, ctypes.addressof(attributes), size, 0)
        for path in readable:
            self._allow(path, _READ_FILE | _READ_DIR)
        for path in listed:
            self._allow(path, _READ_DIR)
        flags = _LOG_SAME_EXEC_OFF if self._version >= 7 else 0
        self._restrict = (_RESTRICT_SELF, self._fd, flags, 0, 0)

    def _allow(self, path: str, rights: int) -> None:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                rights &= _READ_FILE
            rule = ctypes.create_string_buffer(_PATH_BENEATH.pack(rights, fd))
            _checked(_ADD_RULE, self._fd, _RULE_PATH_BENEATH, ctypes.addressof(rule))
        finally:
            os.close(fd)

    def apply(self) -> None:
        """Confines this process; `no_new_privs` must hold already. Raises `OSError` where the kernel refuses."""
        if _syscall(*self._restrict) != 0:
            raise OSError("Landlock refuses")


def _checked(number: int, *arguments: int) -> int:
    result: int = _syscall(number, *arguments, *[0] * (4 - len(arguments)))
    if result < 0:
        raise OSError("Landlock refuses")
    return result
