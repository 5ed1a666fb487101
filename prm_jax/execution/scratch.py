"""Where a zygote holds a job and the records of its child: memory that is empty again at the next fork.

Comes in: bytes of pipes. Goes out: bytes to pipes. Called by `zygote.py`. A child inherits its zygote's heap, freed
blocks with what they held included, so nothing of a program may ever lie there: neither its text nor what it returned.
What is here goes from pipe to pipe without a copy, and the kernel takes the pages away. Standard library only.
"""

from __future__ import annotations

import mmap
import os

from prm_jax.execution.frames import write_all

_SIZE = 1 << 18


class Scratch:
    """A buffer that grows as it is filled.

    Attributes:
      size: bytes in use, from the beginning.
    """

    def __init__(self) -> None:
        """An empty buffer."""
        self.size = 0
        self._memory = mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def view(self) -> memoryview:
        """The bytes in use; to be gone before the buffer is filled further or cleared."""
        return memoryview(self._memory)[: self.size]

    def fill(self, fd: int, most: int = 1 << 16) -> int:
        """Reads once from a descriptor, at most `most` bytes; gives their number, 0 at its end."""
        if self.size == len(self._memory):
            self._memory.resize(2 * self.size)
        with memoryview(self._memory) as whole, whole[self.size : self.size + most] as room:
            count = os.readv(fd, (room,))
        self.size += count
        return count

    def fill_exactly(self, fd: int, count: int) -> bool:
        """Reads so many bytes of a blocking descriptor; False where it ended before."""
        end = self.size + count
        while self.size < end:
            if not self.fill(fd, end - self.size):
                return False
        return True

    def send(self, fd: int) -> None:
        """Writes all that is in use to a blocking descriptor."""
        write_all(fd, self.view())

    def clear(self, size: int = 0) -> None:
        """Empties the buffer; `size` bytes of zero are in use afterwards."""
        if len(self._memory) > _SIZE:
            self._memory.resize(_SIZE)
        self._memory.madvise(mmap.MADV_DONTNEED)
        self.size = size
