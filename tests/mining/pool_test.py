"""Reading in other processes, one of which may die."""

import os
import pathlib

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.functions import FileReport
from prm_jax.mining.pool import CHUNK, read_files
from prm_jax.mining.walk import SourceFile

ROOT = pathlib.Path(__file__).parents[2]
FILES = [SourceFile("/r", f"/r/m{number}.py") for number in range(CHUNK + 3)]


def dies_at_five(file: SourceFile) -> FileReport:
    if file.module == "m5":
        os._exit(1)
    return FileReport(lines=len(file.module))


def test_a_file_that_kills_its_reader_costs_only_itself(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # The workers import this module by its name.
    found = dict(read_files(FILES, MiningConfig(workers=1), dies_at_five))
    assert set(found) == set(FILES)
    assert [file.module for file, report in found.items() if report.skipped == "kills its reader"] == ["m5"]
    assert all(report.lines == len(file.module) for file, report in found.items() if file.module != "m5")


def test_files_are_read_with_the_configuration(tmp_path):
    source = 'def f(x):\n    """f(1) == 1"""\n    y = x\n    return y\n'
    (tmp_path / "m.py").write_text(source)
    file = SourceFile(str(tmp_path), str(tmp_path / "m.py"))
    ((_, report),) = read_files([file], MiningConfig(workers=1, min_tests=1))
    assert [problem.entry_point for problem in report.problems] == ["f"]
