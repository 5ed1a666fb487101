"""The journal replays verdicts and survives a torn line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.grading import unknown
from prm_jax.execution.journal import Journal, program_key
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.problems.problem import Test

PROGRAM = Program("def f(x):\n    y = x + 1\n    return y\n", (Test("f(1)", "2"), Test("f(1)", "3")), trace=True)


def test_a_second_run_replays_without_a_sandbox(tmp_path: Path) -> None:
    path = tmp_path / "run" / "journal.jsonl"
    with Sandbox(SandboxConfig(workers=1), Journal(path)) as sandbox:
        first = sandbox.run([PROGRAM, PROGRAM])
    assert first[0].outcome == Outcome.WRONG_ANSWER
    assert first[0].traces[0] is not None
    assert len(path.read_text().splitlines()) == 1
    with Sandbox(SandboxConfig(workers=1), Journal(path)) as sandbox:
        assert sandbox.run([PROGRAM, PROGRAM]) == first
        assert sandbox._process is None


def test_values_are_replayed(tmp_path: Path) -> None:
    asked = dataclasses.replace(PROGRAM, values=True)
    with Sandbox(SandboxConfig(workers=1), Journal(tmp_path / "journal.jsonl")) as sandbox:
        first = sandbox.run([asked])
    assert first[0].values == ("2", "2")
    with Sandbox(SandboxConfig(workers=1), Journal(tmp_path / "journal.jsonl")) as sandbox:
        assert sandbox.run([asked]) == first


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Sandbox(SandboxConfig(workers=1), Journal(path)) as sandbox:
        (verdict,) = sandbox.run([PROGRAM])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    journal = Journal(path)
    assert len(journal) == 1
    other = dataclasses.replace(PROGRAM, text="x = 1\n")
    journal.put(other, verdict)
    journal.put(PROGRAM, dataclasses.replace(verdict, line=99))
    journal.close()
    again = Journal(path)
    assert again.get(other) == again.get(PROGRAM) == verdict
    assert again.get(dataclasses.replace(PROGRAM, text="x = 2\n")) is None


def test_the_key_sees_everything_that_a_verdict_depends_on() -> None:
    variants = [
        PROGRAM,
        dataclasses.replace(PROGRAM, text="x = 1\n"),
        dataclasses.replace(PROGRAM, tests=PROGRAM.tests[:1]),
        dataclasses.replace(PROGRAM, tests=(Test("f(1)", "3"), Test("f(1)", "2"))),
        dataclasses.replace(PROGRAM, setup="import math"),
        dataclasses.replace(PROGRAM, cpu_seconds=2.0),
        dataclasses.replace(PROGRAM, trace=False),
        dataclasses.replace(PROGRAM, values=True),
    ]
    conditions = [
        SandboxConfig(memory_mb=64),
        SandboxConfig(output_bytes=64),
        SandboxConfig(wall_factor=64.0),
        SandboxConfig(hash_seed=1),
        SandboxConfig(rerun_share=1.0),
        SandboxConfig(seed=1),
    ]
    keys = {program_key(program) for program in variants}
    keys |= {program_key(PROGRAM, config.conditions) for config in conditions}
    assert len(keys) == len(variants) + len(conditions)
    same = SandboxConfig(workers=3, accept_weak_confinement=True, backend="bwrap")
    assert program_key(PROGRAM, same.conditions) == program_key(PROGRAM)


def test_other_conditions_are_not_replayed(tmp_path: Path) -> None:
    large = Program("def f():\n    return [0] * 99\n", (Test("f()", repr([0] * 99)),))
    journal = Journal(tmp_path / "journal.jsonl")
    for output_bytes, outcome in ((64, Outcome.WRONG_ANSWER), (1 << 20, Outcome.PASSED)):
        with Sandbox(SandboxConfig(workers=1, output_bytes=output_bytes), journal) as sandbox:
            assert sandbox.run([large])[0].outcome is outcome
    journal.close()


def test_an_unknown_verdict_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    monkeypatch.setattr(Sandbox, "_run_fresh", lambda _, programs: {each: unknown(each, "why") for each in programs})
    with Sandbox(SandboxConfig(workers=1), journal) as troubled:
        assert troubled.run([PROGRAM])[0].outcome is Outcome.UNKNOWN
    monkeypatch.undo()
    with Sandbox(SandboxConfig(workers=1), journal) as sandbox:
        (verdict,) = sandbox.run([PROGRAM])
    journal.close()
    assert verdict.outcome is Outcome.WRONG_ANSWER
    # Nor is one read from the file.
    path.write_text(path.read_text().replace('"wrong_answer"', '"unknown"'))
    assert len(Journal(path)) == 0


def test_a_path_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="journal"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_another_check_is_another_program() -> None:
    tests = [Test("(f(1),)", None, check=check) for check in (None, "_0 > 1", "_0 > 2")]
    assert len({program_key(Program("", (test,))) for test in tests}) == 3


def test_a_journal_in_a_bucket_is_there_once_it_is_flushed(bucket) -> None:
    path = "gs://bucket/run/verdicts.jsonl"
    verdict = Verdict(Outcome.PASSED, (True,))
    programs = [dataclasses.replace(PROGRAM, text=f"x = {number}\n") for number in range(3)]
    journal = Journal(path)
    journal.put(programs[0], verdict)
    journal.flush()
    journal.put(programs[1], verdict)
    killed = Journal(path)  # What a machine finds that comes after one that is gone.
    assert killed.get(programs[0]) == verdict and killed.get(programs[1]) is None
    killed.put(programs[2], verdict)
    killed.close()
    assert Journal(path).get(programs[2]) == verdict
    assert bucket.names() == ["bucket/run/verdicts.jsonl"]
