"""What the C library does with memory that this process has freed: keep it for the next step, or give it back.

`cli.py` has it kept. `memory.py` gives it back before it asks what there is to be had, and has no more kept where a
program leaves no room for that. Elsewhere than on glibc nothing happens.
"""

from __future__ import annotations

import contextlib
import ctypes

# Of malloc.h; they have no names elsewhere.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8

TIMES_KEPT = 4
"""How many times the temporaries of a program lie in memory where they are kept, at the most.

Small requests settle in what the alignment of a large one has left over, so that the next large one does not fit into
the same hole. Four times were seen with glibc 2.36.
"""


def keep() -> None:
    """Has what is freed kept.

    On a CPU XLA frees its buffers after each step, and glibc would give their pages back to the kernel, which has to
    find and clear others for the next step: a tenth of the time of training.
    """
    _set((_TRIM_THRESHOLD, -1), (_MMAP_MAX, 0), (_ARENA_MAX, 1))


def keep_no_more() -> None:
    """Has large blocks given back as soon as they are freed, as glibc does unless told otherwise."""
    _set((_TRIM_THRESHOLD, 2**17), (_MMAP_MAX, 2**16))
    give_back()


def give_back() -> None:
    """Gives the kernel what has been freed and kept."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(*options: tuple[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        for option, value in options:
            ctypes.CDLL(None).mallopt(option, value)
