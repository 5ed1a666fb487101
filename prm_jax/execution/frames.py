"""Length-prefixed frames over pipes: how parent, supervisor and zygotes talk.

Comes in: bytes of a pipe. Goes out: frames `(identity, wall_seconds, payload)`. Called by `sandbox.py` in the parent
and by `supervisor.py` and `zygote.py` on the other side. Standard library only, since it runs in a bare interpreter.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

# Payload length, identity of the program, wall-clock backstop in seconds.
HEADER = struct.Struct(">IId")
# A job's payload begins with what its zygote has to know: CPU seconds of a call, number of calls, whether they are
# traced, whether their instructions are counted. The rest is marshalled for the child, which alone reads it: each page
# that the zygote touches is copied anew after every fork.
JOB = struct.Struct(">dI??")
# A report's payload: how the child ended (`STATUSES`) and its CPU seconds, which the child's records follow.
REPORT = struct.Struct(">Bd")
STATUSES = ("ended", "timeout", "output", "unconfined", "trouble")
# One of those records: payload length and kind (see `child.py`).
RECORD = struct.Struct(">Ic")


def pack(identity: int, wall_seconds: float, payload: bytes) -> bytes:
    """One frame as bytes."""
    return HEADER.pack(len(payload), identity, wall_seconds) + payload


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes all of `data` to a blocking descriptor."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(fd, view) :]


class FrameBuffer:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, float, bytes]]:
        """Takes bytes as they came from the pipe and gives the frames that are complete by now."""
        self._data += data
        while len(self._data) >= HEADER.size:
            length, identity, wall_seconds = HEADER.unpack_from(self._data)
            end = HEADER.size + length
            if len(self._data) < end:
                return
            payload = bytes(self._data[HEADER.size : end])
            del self._data[:end]
            yield identity, wall_seconds, payload
