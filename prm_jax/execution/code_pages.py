"""Has forked processes inherit the pages of code and constants that their parent has read.

Comes in: nothing. Goes out: nothing; the mappings of this process are marked. Called by `zygote.py`. At a fork Linux
leaves out the page table of a mapping of a file, so that a child has to find each page anew at its first touch: every
sixth of all page faults of a small program. It copies the table of a mapping in which one page is the process's own; so
one byte of each is written over with itself.
"""

from __future__ import annotations

import ctypes
import re

_READ, _WRITE, _EXECUTE = 1, 2, 4  # As in `mprotect`.
_MAPPING = re.compile(r"^(\w+)-(\w+) (r-[x-])p \w+ \S+ [1-9]\d* ", re.MULTILINE)  # Private, of a file, not writable.


def inherit() -> None:
    """Marks all mappings of files that are there by now, but for those that the kernel does not let be written to."""
    mprotect = ctypes.CDLL(None).mprotect
    mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with open("/proc/self/maps") as file:
        mappings = _MAPPING.findall(file.read())
    for start, end, mode in mappings:
        address, size = int(start, 16), int(end, 16) - int(start, 16)
        rights = _READ | (_EXECUTE if "x" in mode else 0)
        if mprotect(address, size, rights | _WRITE) == 0:
            ctypes.memmove(address, ctypes.string_at(address, 1), 1)
            mprotect(address, size, rights)
