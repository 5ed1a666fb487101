"""A user's own problems, one JSON object per line.

| field | type | |
|---|---|---|
| `id` | string | required, unique in the file |
| `prompt` | string | required; what the policy reads |
| `entry_point` | string | required; the function that the tests call, defined by the reference |
| `reference` | string | required; a program that passes all tests |
| `tests` | list | required, not empty; each entry is `"assert f(1) == 2"` or an object, see below |
| `split` | string | `"train"` (default), `"validation"` or `"test"` |
| `setup` | string | code executed before the program, default empty |
| `provenance` | string | where the problem comes from and under which licence, default the file |
| `demonstration` | string | a program that SFT imitates in place of the reference; it need not pass, default empty |

A test as an object has either `assert` (one assert statement) or `call` and `expected` (both strings of Python,
`expected` a literal), and optionally `visible` (default true).

A row with a mistake is left out and named by file, line and reason; the others are loaded.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import logging
import warnings
from typing import Any

from prm_jax.errors import UserError
from prm_jax.problems.asserts import as_assert, is_literal, split_assert
from prm_jax.problems.problem import Problem, Test
from prm_jax.problems.reading import is_unicode, normalise_source, read_text
from prm_jax.problems.skeleton import count_statements

_REQUIRED = ("id", "prompt", "entry_point", "reference", "tests")
_OPTIONAL = {"split": "train", "setup": "", "provenance": "", "demonstration": ""}
SPLITS = ("train", "validation", "test")
_TEST_FIELDS = {"assert", "call", "expected", "visible"}


@dataclasses.dataclass(frozen=True)
class SkippedRow:
    """A row that was left out: the file, its 1-based line and what is wrong with it."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        """`file:line: reason`, as compilers write it."""
        return f"{self.path}:{self.line}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class JsonlSource:
    """A file of a user's own problems as a source.

    Attributes:
      path: a local file, a `gs://` path or a URL; the schema is in this module's docstring.
      strict: whether one bad row is a `UserError` instead of a warning.
    """

    path: str = ""
    strict: bool = False

    def load(self) -> list[Problem]:
        """The good problems, in the order of the file; each bad row is logged as a warning.

        Raises:
          UserError: when the file cannot be read or has no good row; with `strict`, for the first bad row.
        """
        problems, skipped = self.read()
        for row in skipped:
            if self.strict:
                raise UserError(f"{row}; mend the row or set strict = False")
            logging.getLogger(__name__).warning("problem skipped: %s", row)
        if not problems:
            why = f"the first mistake: line {skipped[0].line}: {skipped[0].reason}" if skipped else "the file is empty"
            raise UserError(f"{self.path}: no usable problem ({why}); see prm_jax/problems/jsonl.py for the schema")
        return problems

    def read(self) -> tuple[list[Problem], tuple[SkippedRow, ...]]:
        """The good problems and the rows that were left out.

        Raises:
          UserError: when the file cannot be read.
        """
        problems: dict[str, Problem] = {}
        skipped = []
        for number, line in enumerate(read_text(self.path).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                problem = _problem(line, f"{self.path}:{number}")
                if problem.id in problems:
                    raise ValueError(f"id {problem.id!r} stands in an earlier row too")
            except (ValueError, RecursionError, MemoryError) as error:
                skipped.append(SkippedRow(self.path, number, str(error) or type(error).__name__))
            else:
                problems[problem.id] = problem
        return list(problems.values()), tuple(skipped)


def to_line(problem: Problem) -> str:
    """The problem as one line of such a file, without the newline; reading it gives the problem back."""
    fields = {field: getattr(problem, field) for field in (*_REQUIRED, *_OPTIONAL)}
    return json.dumps({**fields, "tests": [_plain_test(test) for test in problem.tests]})


def _plain_test(test: Test) -> dict[str, Any]:
    if test.expected is None:
        return {"assert": as_assert(test), "visible": test.visible}
    return {"call": test.call, "expected": test.expected, "visible": test.visible}


def _problem(line: str, provenance: str) -> Problem:
    """One problem from one line; raises ValueError with the reason."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    fields = _checked_fields(row)
    reference = normalise_source(fields["reference"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Invalid escapes in the user's strings.
        try:
            compile(reference, "reference", "exec")
            compile(fields["setup"], "setup", "exec")
        except SyntaxError as error:
            raise ValueError(f"{error.filename} does not compile: line {error.lineno}: {error.msg}") from error
        if not any(
            isinstance(n, ast.FunctionDef) and n.name == fields["entry_point"] for n in ast.parse(reference).body
        ):
            raise ValueError(f"reference defines no function {fields['entry_point']!r} (entry_point)")
        tests = [_test(test, index) for index, test in enumerate(fields["tests"])]
        difficulty = count_statements(reference)
    return Problem(
        id=fields["id"],
        source="jsonl",
        split=fields["split"],
        prompt=fields["prompt"].rstrip("\n"),
        entry_point=fields["entry_point"],
        reference=reference,
        tests=tuple(sorted(tests, key=lambda test: not test.visible)),
        setup=normalise_source(fields["setup"]) if fields["setup"].strip() else "",
        difficulty=difficulty,
        provenance=fields["provenance"] or provenance,
        demonstration=normalise_source(fields["demonstration"]) if fields["demonstration"].strip() else "",
    )


def _checked_fields(row: Any) -> dict[str, Any]:
    """The fields of a row with defaults filled in; raises ValueError where one is missing, unknown or no text."""
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object, found {type(row).__name__}")
    missing = [field for field in _REQUIRED if field not in row]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    unknown = sorted(set(row) - set(_REQUIRED) - set(_OPTIONAL))
    if unknown:
        raise ValueError(f"unknown field {', '.join(unknown)}; expected {', '.join([*_REQUIRED, *_OPTIONAL])}")
    fields = {**_OPTIONAL, **row}
    for field, value in fields.items():
        if field != "tests" and not isinstance(value, str):
            raise ValueError(f"{field}: expected a string, found {type(value).__name__}")
        if field != "tests" and not is_unicode(value):
            raise ValueError(f"{field}: a lone surrogate, which is half a character; write both halves")
        if field in _REQUIRED and not value:
            raise ValueError(f"{field} is empty")
    if not isinstance(fields["tests"], list):
        raise ValueError(f"tests: expected a list, found {type(fields['tests']).__name__}")
    if fields["split"] not in SPLITS:
        raise ValueError(f"split {fields['split']!r}: expected one of {', '.join(SPLITS)}")
    return fields


def _test(entry: Any, index: int) -> Test:
    """One test from one entry of `tests`; raises ValueError with the reason."""
    if isinstance(entry, str):
        entry = {"assert": entry}
    if not isinstance(entry, dict) or not set(entry) <= _TEST_FIELDS:
        raise ValueError(f"tests[{index}]: expected an assert or an object of {', '.join(sorted(_TEST_FIELDS))}")
    visible = entry.get("visible", True)
    if not isinstance(visible, bool):
        raise ValueError(f"tests[{index}]: visible: expected true or false")
    texts = {field: entry[field] for field in ("assert", "call", "expected") if field in entry}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"tests[{index}]: {', '.join(texts)}: expected strings of Python")
    try:
        if set(texts) == {"assert"}:
            return split_assert(texts["assert"], visible)
        if set(texts) != {"call", "expected"}:
            raise ValueError("expected either an assert, or call and expected")
        ast.parse(texts["call"].strip(), mode="eval")
        if not is_literal(ast.parse(texts["expected"].strip(), mode="eval").body):
            raise ValueError(f"expected {texts['expected']!r} is not a Python literal")
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"tests[{index}]: {error}") from error
    return Test(call=texts["call"].strip(), expected=texts["expected"].strip(), visible=visible)
