"""Labelled programs as JSON lines: the plain files between labelling and the tasks; and generated tests likewise.

One object a line with the fields of `LabelledProgram`; labels are 1 neutral, 2 wrong, 3 right. Of tests one object a
problem: its `problem_id`, and `tests` with the fields of `Test`.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.problems.problem import Test

TESTS = "generated_tests.jsonl"
"""The file of the tests that the problems of a family gained."""

_FIELDS = {field.name for field in dataclasses.fields(LabelledProgram)}


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes a file under a temporary name and renames it, so that nobody sees half of it; its folder is made.

    Raises:
      UserError: where the file cannot be written.
    """
    path = epath.Path(path)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # It is there only where something went wrong.
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}; free space or choose another directory"
        raise UserError(message) from error


def write_labelled(path: epath.PathLike, rows: Iterable[LabelledProgram]) -> None:
    """Writes rows, all or none.

    Raises:
      UserError: where the file cannot be written.
    """
    write_text(path, "".join(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n" for row in rows))


def read_labelled(path: epath.PathLike) -> list[LabelledProgram]:
    """Reads rows.

    Raises:
      UserError: names the first bad row by file and line.
    """
    return list(_rows(epath.Path(path)))


def write_tests(path: epath.PathLike, tests: Mapping[str, Sequence[Test]]) -> None:
    """Writes the tests of problems by their ids, all or none.

    Raises:
      UserError: where the file cannot be written.
    """
    rows = ({"problem_id": name, "tests": [dataclasses.asdict(test) for test in own]} for name, own in tests.items())
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_tests(path: epath.PathLike) -> dict[str, tuple[Test, ...]]:
    """The tests that `write_tests` wrote."""
    rows = map(json.loads, epath.Path(path).read_text().splitlines())
    return {row["problem_id"]: tuple(Test(**test) for test in row["tests"]) for row in rows}


def _rows(path: epath.Path) -> Iterator[LabelledProgram]:
    if not path.exists():
        raise UserError(f"no labelled programs at {path}; run `prm_jax label` first")
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if line.strip():
            try:
                yield _row(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                message = f"{path}:{number}: {error}; expected one labelled program as a JSON object"
                raise UserError(message) from error


def _row(row: Any) -> LabelledProgram:
    if not isinstance(row, dict) or set(row) != _FIELDS:
        odd = sorted(_FIELDS.symmetric_difference(row)) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"fields missing or unknown: {odd}")
    ends, labels = tuple(row["step_ends"]), tuple(Label(label) for label in row["labels"])
    if len(ends) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(ends)} steps")
    return LabelledProgram(**{**row, "step_ends": ends, "labels": labels})
