"""Bytes go through a buffer from pipe to pipe, and none stays."""

from __future__ import annotations

import os
import threading

from prm_jax.execution.scratch import Scratch


def test_what_is_read_is_sent_and_gone() -> None:
    scratch = Scratch()
    data = os.urandom(1_000_000)  # More than a buffer holds at first, and than a pipe does.
    source, sink = os.pipe()
    with open(source, "rb") as reading, open(sink, "wb") as writing:
        writer = threading.Thread(target=writing.write, args=(data,))
        writer.start()
        assert scratch.fill_exactly(source, len(data)) and scratch.view() == data
        writer.join()
        sender = threading.Thread(target=scratch.send, args=(sink,))
        sender.start()
        assert reading.read(len(data)) == data
        sender.join()
        writing.close()
        assert not scratch.fill(source) and not scratch.fill_exactly(source, 1)
    scratch.clear(1 << 18)
    assert scratch.view() == bytes(1 << 18)
    scratch.clear()
    assert len(scratch.view()) == 0
