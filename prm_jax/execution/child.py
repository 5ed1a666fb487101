"""Runs one untrusted program and its calls, and writes a record of each.

Comes in: a job (the program's text, the set-up and the calls) and the descriptor for records. Goes out: records on that
descriptor, each a length, a kind and JSON. Called by `zygote.py` in a process forked for this one program.

Records, in this order: `P` the set-up ran; `P` the program's text ran; for each call any `T` (trace), an `O` (number of
instructions) where they are counted, and one `R` (result); `D` done. `X` takes the place of a `P` that was not reached
and ends the program. Results: `["v", value]`, `["e", exception, line, is_memory_error]`, and `["a", held]` for a test
whose comparison runs here.

Nothing in this process knows an expected value, so a program that forges records can only guess. The exception are
in-child tests (the whole `assert` statement): their comparison runs beside the program, which can cheat it with a
lying `__eq__` or a forged record. They are marked in the data (`Test.in_child`), and rewards leave them out.
"""

from __future__ import annotations

import builtins
import json
import marshal
import os
import random
import sys
from types import ModuleType
from typing import Any

from prm_jax.execution.encoding import encode
from prm_jax.execution.frames import JOB, RECORD
from prm_jax.execution.opcodes import OpcodeCounter
from prm_jax.execution.tracing import PROGRAM_FILE, Tracer

TEST_FILE = "<test>"
PROGRAM_MODULE = "__program__"

# Captured before the program runs, which may patch the modules that they come from.
_eval, _exec, _compile, _type, _str, _len = eval, exec, compile, type, str, len
_write, _exit, _seed = os.write, os._exit, random.seed
_loads = marshal.loads  # Of what the parent wrote, with the same interpreter.
_dumps = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_pack = RECORD.pack
_LOADED, _DONE = _pack(4, b"P") + b"null", _pack(4, b"D") + b"null"
_BaseException, _MemoryError, _AssertionError = BaseException, MemoryError, AssertionError


_REHEARSAL = """
def f(x):
    found = {}
    for i, each in enumerate([x, 2, 3]):
        if each not in found and len(found) < 9:
            found[each] = str(i // x)
    return sorted(list(found.items()))
"""


def run(job: memoryview, fd: int, most_bytes: int) -> None:
    """Runs the job and ends the process: nothing that the program left behind (threads, `atexit`) gets a turn.

    Args:
      job: its payload, see `frames.JOB`.
      fd: where the records go.
      most_bytes: of one record.
    """
    try:
        _run(job, fd, most_bytes)
    finally:
        _exit(0)


def rehearse() -> None:
    """Runs a program of this module's own in the zygote: what Python sets up at first use is then there in each child.

    Several times, as Python speeds up a function when it has been called for a while.
    """
    source, sink = os.pipe()
    calls = [["f(1)", False], ["f(0)", False]]
    for n in range(20):
        is_traced = n % 2 == 1
        job = JOB.pack(1.0, 2, is_traced, False) + marshal.dumps((_REHEARSAL, "", calls))
        _run(memoryview(job), sink, 1 << 12)
        os.read(source, 1 << 16)
    os.close(source)
    os.close(sink)
    del sys.modules[PROGRAM_MODULE]


def _send(fd: int, kind: bytes, payload: Any, most_bytes: int = 1 << 20, instead: Any = None) -> None:
    """Writes a record, of `instead` where that of `payload` would be longer than `most_bytes`."""
    data = _dumps(payload).encode("ascii")
    if _len(data) > most_bytes:
        data = _dumps(instead).encode("ascii")
    _write_all(fd, _pack(_len(data), kind) + data)


def _send_trace(fd: int, events: list[Any] | None, complete: bool, lines: list[int], most_bytes: int) -> None:
    """A call's trace, without the values where it would be too long; without events where they were sent already."""
    bare = None if events is None else [[line, depth, []] for line, depth, _ in events]
    _send(fd, b"T", [events, complete, lines], most_bytes, [bare, False, lines])


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[_write(fd, data) :]


def _run(job: memoryview, fd: int, most_bytes: int) -> None:
    _, _, is_traced, counts = JOB.unpack_from(job)
    text, setup, calls = _loads(job[JOB.size :])
    # A module like any other: `dataclasses`, `pickle` and `typing` look a class's module up by its name.
    module = sys.modules[PROGRAM_MODULE] = ModuleType(PROGRAM_MODULE)
    space = module.__dict__
    space["__builtins__"] = builtins
    if not _load(text, setup, fd, space):
        return
    for call, in_child in calls:
        tracer = None
        counter = OpcodeCounter() if counts else None
        if is_traced:
            tracer = Tracer(lambda tracer: _send_trace(fd, tracer.events, False, [], most_bytes))
        result = _call(call, in_child, space, tracer or counter)
        if counter is not None:
            _send(fd, b"O", counter.count)
        if tracer is not None:
            events = None if tracer.cut else tracer.events
            _send_trace(fd, events, tracer.complete, [*tracer.lines], most_bytes)
        _send(fd, b"R", result, most_bytes, ["v", ["o", "too large"]])
    _write_all(fd, _DONE)


def _load(text: str, setup: str, fd: int, space: dict[str, Any]) -> bool:
    """Executes the set-up and the program's text; False where one of them failed, which it reports."""
    stage = "setup"
    try:
        if setup:
            _exec(_compile(setup, "<setup>", "exec", dont_inherit=True), space)
        _write_all(fd, _LOADED)
        stage = "syntax"
        code = _compile(text, PROGRAM_FILE, "exec", dont_inherit=True)
        stage = "import"
        _seed(0)
        _exec(code, space)
        _write_all(fd, _LOADED)
    except _BaseException as error:
        told, line, is_memory = _describe(error)
        _send(fd, b"X", [stage, told, getattr(error, "lineno", None) if stage == "syntax" else line, is_memory])
        return False
    return True


def _call(call: str, in_child: bool, space: dict[str, Any], tracer: Tracer | OpcodeCounter | None) -> list[Any]:
    """Evaluates one call, or executes one `assert`, in the program's namespace."""
    _seed(0)
    try:
        code = _compile(call, TEST_FILE, "exec" if in_child else "eval", dont_inherit=True)
        if tracer is not None:
            tracer.start()
        try:
            value = _eval(code, space)
        finally:
            if tracer is not None:
                tracer.stop()
        return ["a", True] if in_child else ["v", encode(value)]
    except _BaseException as error:
        text, line, is_memory = _describe(error)
        if in_child and line is None and _type(error) is _AssertionError:
            return ["a", False]
        return ["e", text, line, is_memory]


def _describe(error: BaseException) -> tuple[str, int | None, bool]:
    """`"Type: message"` cut to 200 characters, the innermost line of the program, whether memory ran out."""
    is_memory = _type(error) is _MemoryError
    line = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == PROGRAM_FILE:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    try:
        name = _str(_type(error).__name__)
        message = _str(error)
    except _BaseException:  # The program's own exception class may fail to describe itself.
        name, message = "Exception", "without a message"
    return f"{name}: {message}"[:200], line, is_memory
