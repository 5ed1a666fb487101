"""What was read of a file is known again, unless the file has changed."""

import os
import pathlib

import pytest

from prm_jax.mining.functions import FileReport
from prm_jax.mining.journal import ReportJournal
from prm_jax.mining.walk import SourceFile
from prm_jax.problems.problem import Problem, Test


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[SourceFile]:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    return [SourceFile(str(tmp_path), str(tmp_path / f"{name}.py")) for name in ("one", "two")]


def report(lines: int) -> FileReport:
    tests = (Test("f(1)", "2"), Test("(f(1), 2)", None, check="_0 < _1"))
    problem = Problem("mined/f", "mined", "train", "Say \u2026\ud800", "f", "def f(x):\n    return x\n", tests)
    return FileReport(lines=lines, problems=(problem,), dropped=(("vague", 2),), corpus=(problem,))


def test_reports_come_back_as_they_were(tmp_path, files):
    with ReportJournal(tmp_path / "read.jsonl", files) as journal:
        assert journal.known == {}
        for lines, file in enumerate(files):
            journal.note(file, report(lines))
    with ReportJournal(tmp_path / "read.jsonl", files) as journal:
        assert journal.known == {file: report(lines) for lines, file in enumerate(files)}


def test_a_changed_file_is_read_again(tmp_path, files):
    with ReportJournal(tmp_path / "read.jsonl", files) as journal:
        for file in files:
            journal.note(file, report(1))
    os.utime(files[0].path, ns=(1, 1))
    with ReportJournal(tmp_path / "read.jsonl", files) as journal:
        assert list(journal.known) == files[1:]
        journal.note(files[0], report(5))
    with ReportJournal(tmp_path / "read.jsonl", files) as journal:
        assert journal.known == {files[0]: report(5), files[1]: report(1)}


def test_a_torn_line_and_a_foreign_one_cost_only_themselves(tmp_path, files):
    path = tmp_path / "read.jsonl"
    with ReportJournal(path, files) as journal:
        journal.note(files[0], report(1))
        journal.note(files[1], report(2))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"path": 1}\n' + second[:-20])
    with ReportJournal(path, files) as journal:
        assert list(journal.known) == files[:1]
        journal.note(files[1], report(2))
    with ReportJournal(path, files) as journal:
        assert list(journal.known) == files


def test_the_folder_need_not_be_there(tmp_path, files):
    with ReportJournal(tmp_path / "run" / "mine" / "read.jsonl", files) as journal:
        journal.note(files[0], report(1))
    with ReportJournal(tmp_path / "run" / "mine" / "read.jsonl", files) as journal:
        assert list(journal.known) == files[:1]


def test_a_journal_in_a_bucket_is_there_once_it_is_closed(bucket, files):
    path = "gs://bucket/run/read.jsonl"
    with ReportJournal(path, files) as journal:
        journal.note(files[0], report(1))
    with ReportJournal(path, files) as journal:
        assert journal.known == {files[0]: report(1)}
    assert bucket.names() == ["bucket/run/read.jsonl"]
