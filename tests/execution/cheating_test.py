"""Programs that try to pass without solving the problem. None may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.problem import Test

FORGE = """
import json, os, struct
def record(kind, payload):
    data = json.dumps(payload).encode()
    return struct.pack(">Ic", len(data), kind) + data
"""

CHEATS = {
    "sys_exit_at_import": "import sys\nsys.exit(0)\n",
    "os_exit_in_call": "import os\ndef f(x):\n    os._exit(0)\n",
    "lying_eq": """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def f(x): return Liar()
""",
    "lying_eq_inside_a_list": """
class Liar:
    def __eq__(self, other): return True
def f(x): return [Liar(), Liar()]
""",
    "int_subclass": """
class Liar(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
def f(x): return Liar(0)
""",
    "patched_builtins": """
import builtins, json, ast, os
builtins.all = builtins.any = lambda *a: True
builtins.isinstance = lambda *a: True
builtins.len = lambda *a: 3
builtins.type = lambda *a: int
builtins.repr = builtins.str = lambda *a: '7'
builtins.AssertionError = Exception
json.dumps = lambda *a, **k: '["a", true]'
json.JSONEncoder.encode = lambda *a, **k: '["a", true]'
ast.literal_eval = lambda *a: None
def f(x): return None
""",
    "forged_records": FORGE
    + """
os.write(3, record(b'P', None) + record(b'R', ['a', True]) * 3 + record(b'D', None))
os._exit(0)
""",
    "forged_values": FORGE
    + """
os.write(3, record(b'P', None) + record(b'R', ['v', ['o', 'x']]) * 3 + record(b'D', None))
def f(x): return 0
""",
    "forged_extra_records": FORGE
    + """
def f(x):
    os.write(3, record(b'R', ['v', 0]) * 50)
    return 0
""",
    "hostile_json": FORGE
    + """
os.write(3, struct.pack(">Ic", 200000, b'P') + b'[' * 200000)
def f(x): return 0
""",
    "frame_walking": """
import gc, sys
def f(x):
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(value, dict) and 'calls' in value:
                value['calls'] = []
            for name in ('expected', 'passed', 'result'):
                if isinstance(value, dict) and name in value:
                    return value[name]
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing).__name__ in ('Test', 'Verdict'):
            return thing.expected
    return 0
""",
    "atexit_and_excepthook": """
import atexit, os, sys
atexit.register(lambda: os._exit(0))
sys.excepthook = lambda *a: os._exit(0)
def f(x): raise ValueError
""",
    "swallowed_timeout": """
import signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
def f(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "printed_verdict": """
print('PASSED', '{"outcome": "passed"}')
def f(x):
    print('ok')
    return 'passed'
""",
    "thread_that_forges": FORGE
    + """
import threading, time
def late():
    while True:
        os.write(3, record(b'D', None))
threading.Thread(target=late, daemon=True).start()
def f(x):
    time.sleep(0.05)
    return 0
""",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(workers=2, rerun_share=0.0)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", CHEATS)
def test_cheating_never_passes(sandbox: Sandbox, name: str) -> None:
    tests = (Test("f(0)", "1"), Test("f(1)", "[2, 3]"), Test("f(2)", "7919"))
    honest = Program("def f(x):\n    return [1, [2, 3], 7919][x]\n", tests)
    cheat, after = sandbox.run([Program(CHEATS[name], tests, cpu_seconds=0.2), honest])
    assert cheat.outcome not in (Outcome.PASSED, Outcome.UNKNOWN)
    assert not any(cheat.passed)
    assert after.outcome == Outcome.PASSED


def test_a_child_finds_no_expected_value_and_no_other_program(sandbox: Sandbox) -> None:
    search = """
import re
def f():
    found = 0  # The pattern does not match itself.
    for line in open('/proc/self/maps'):
        span, rights = line.split()[:2]
        if 'w' not in rights:
            continue
        start, end = (int(x, 16) for x in span.split('-'))
        try:
            with open('/proc/self/mem', 'rb') as memory:
                memory.seek(start)
                found += len(re.findall(b'[s]ecret-of-the-grader', memory.read(min(end - start, 1 << 24))))
        except (OSError, ValueError, OverflowError):
            pass
    return found
"""
    programs = [
        Program(search, (Test("f()", "0"), Test("1", "'secret-of-the-grader'")), cpu_seconds=5.0),
        *(Program(f"x = 'secret-of-the-grader' + '{n}'\n", (Test("x", "1"),)) for n in range(3)),
    ]
    with Sandbox(SandboxConfig(workers=1, rerun_share=0.0)) as alone:
        verdict = alone.run(programs)[0]
    assert verdict.passed[0] or verdict.outcome == Outcome.RUNTIME_ERROR  # The latter where /proc is shut.
