"""Counting instructions: as many in every run, of the program's own text, and none that a program makes up."""

from prm_jax.execution.journal import Journal
from prm_jax.execution.opcodes import MAX_OPCODES
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program
from prm_jax.problems.problem import Test

LOOP = "def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n"
TESTS = tuple(Test(f"f({n})", str(n * (n - 1) // 2)) for n in (10, 20, 30))
CONFIG = SandboxConfig(workers=1, rerun_share=0.0)


def run(*programs: Program, journal: Journal | None = None):
    with Sandbox(CONFIG, journal) as sandbox:
        return sandbox.run(programs)


def test_the_count_grows_by_the_same_number_with_each_round():
    first, second = run(Program(LOOP, TESTS, opcodes=True), Program(LOOP + "\n", TESTS, opcodes=True))
    assert first.outcome is Outcome.PASSED
    ten, twenty, thirty = first.opcodes
    assert 0 < twenty - ten == thirty - twenty
    assert second.opcodes == first.opcodes


def test_comprehensions_count_and_builtins_do_not():
    texts = [f"def f(n):\n    return sum({values})\n" for values in ("range(n)", "[i for i in range(n)]")]
    builtin, comprehension = run(*(Program(text, TESTS, opcodes=True) for text in texts))
    assert len(set(builtin.opcodes)) == 1
    assert len(set(comprehension.opcodes)) == 3


def test_a_call_that_does_not_happen_has_no_count_and_a_long_one_a_bounded_one():
    tests = (Test("f(1)", "0"), Test("f(10**9)", "0"), Test("f(2)", "1"))
    (verdict,) = run(Program(LOOP, tests, cpu_seconds=0.1, opcodes=True))
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.opcodes[0] > 0 and verdict.opcodes[1:] == (None, None)
    (verdict,) = run(Program(LOOP, (Test("f(200_000)", "19999900000"),), opcodes=True))
    assert verdict.outcome is Outcome.PASSED and verdict.opcodes == (MAX_OPCODES,)


def test_only_who_asks_is_counted():
    plain, traced = run(Program(LOOP, TESTS), Program(LOOP, TESTS, trace=True))
    assert plain.opcodes == traced.opcodes == ()


def test_a_count_is_kept_in_the_journal(tmp_path):
    program = Program(LOOP, TESTS, opcodes=True)
    (verdict,) = run(program, journal=Journal(tmp_path / "verdicts.jsonl"))
    assert Journal(tmp_path / "verdicts.jsonl").get(program, CONFIG.conditions) == verdict
    assert Journal(tmp_path / "verdicts.jsonl").get(Program(LOOP, TESTS), CONFIG.conditions) is None
