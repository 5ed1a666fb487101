"""MBPP (Austin et al. 2021): 974 short problems with three asserts each, read from the published `mbpp.jsonl`."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator
from typing import Any

from prm_jax.errors import UserError
from prm_jax.problems.asserts import called_name, split_assert
from prm_jax.problems.problem import Problem, Test
from prm_jax.problems.reading import normalise_source, read_text
from prm_jax.problems.skeleton import count_statements

SPLIT_TASKS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}
"""The official splits by `task_id`."""

PROTOCOLS: dict[str, tuple[int, ...]] = {"mbpp-v1": (), "mbpp-v1-three-shot": (2, 3, 4)}
"""Benchmark protocols, each with the `task_id`s that it shows solved, three of those that the authors set aside for it.

A name stands for the bytes of every prompt, which a test holds: other bytes are another version.
"""

_PROVENANCE = "google-research/mbpp, CC-BY-4.0"


@dataclasses.dataclass(frozen=True)
class MbppSource:
    """MBPP as a problem source.

    The prompt is the published sentence and the visible asserts, because the name of the function is known from
    nothing else. The last assert and the challenge asserts are hidden.

    Under a protocol sentence and asserts stand in a docstring (Fried et al. 2022, "InCoder"), all three published
    asserts are shown, and they are all the tests, as in published figures. Examples come before it, docstring, program
    and an empty line each.

    Attributes:
      path: a local file, a `gs://` path or a URL of `mbpp.jsonl` as published.
      splits: which of `"prompt"`, `"train"`, `"validation"`, `"test"` to load.
      protocol: one of `PROTOCOLS`; empty for none.
      first: how many problems of these splits to load, by `task_id`; 0 for all.
    """

    path: str = ""
    splits: tuple[str, ...] = ("train", "validation", "test")
    protocol: str = ""
    first: int = 0

    def __post_init__(self) -> None:
        """Makes the configuration hashable and refuses unknown splits and protocols."""
        object.__setattr__(self, "splits", tuple(self.splits))
        for split in self.splits:
            if split not in SPLIT_TASKS:
                raise UserError(f"MBPP split {split!r}: expected one of {', '.join(SPLIT_TASKS)}")
        if self.protocol and self.protocol not in PROTOCOLS:
            raise UserError(f"MBPP protocol {self.protocol!r}: expected one of {', '.join(PROTOCOLS)}, or none")
        if self.first < 0:
            raise UserError(f"MbppSource.first is {self.first}: give 0 (all) or more")

    def load(self) -> list[Problem]:
        """The problems of the chosen splits, by `task_id`.

        Raises:
          UserError: when the file cannot be read or is not MBPP as published.
        """
        rows: dict[int, tuple[int, dict[str, Any]]] = {}
        for number, line in enumerate(read_text(self.path).splitlines(), start=1):
            if line.strip():
                with self._naming(number):
                    row = json.loads(line)
                    task = row["task_id"]
                    if type(task) is not int:
                        raise ValueError(f"task_id {task!r} is no whole number")
                    if task in rows:
                        raise ValueError(f"task_id {task} stands twice")
                    rows[task] = number, row
        examples = ""
        for task in PROTOCOLS.get(self.protocol, ()):
            if task not in rows:
                raise UserError(f"{self.path} lacks task_id {task}, which {self.protocol} shows: take the whole file")
            with self._naming(rows[task][0]):
                examples += _example(rows[task][1])
        problems = []
        for _, (number, row) in sorted(rows.items()):
            with self._naming(number):
                problem = _under_protocol(row, examples) if self.protocol else _problem(row)
            if problem.split in self.splits:
                problems.append(problem)
        return problems[: self.first or None]

    @contextlib.contextmanager
    def _naming(self, number: int) -> Iterator[None]:
        """Turns what a row that is not as published raises into an error that names its line."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError) as error:
            raise UserError(
                f"{self.path}:{number}: not a row of MBPP as published ({error!r}); "
                "take mbpp.jsonl from google-research/mbpp"
            ) from error


def _problem(row: dict[str, Any]) -> Problem:
    """One problem from one published row.

    Raises:
      ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError: when the row is not as published;
        the last two come of Python's parser.
    """
    task = row["task_id"]
    split = next((split for split, tasks in SPLIT_TASKS.items() if task in tasks), None)
    if split is None:
        raise ValueError(f"task_id {task!r} is outside 1 to 974")
    asserts = _asserts(row)
    challenges = [statement.strip() for statement in row["challenge_test_list"]]
    shown, kept = (asserts[:-1], asserts[-1:]) if len(asserts) > 1 else (asserts, [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Invalid escapes in published patterns.
        reference = normalise_source(row["code"])
        defined = {node.name for node in ast.parse(reference).body if isinstance(node, ast.FunctionDef)}
        entry_point = called_name(asserts[0], defined)
        if entry_point is None:
            raise ValueError(f"{asserts[0]!r} calls no function of the program")
        setup = normalise_source(row["test_setup_code"]) if row["test_setup_code"].strip() else ""
        tests = [_test(statement, setup, visible=True) for statement in shown]
        tests += [_test(statement, setup, visible=False) for statement in kept + challenges]
        difficulty = count_statements(reference)
    return Problem(
        id=f"mbpp/{task}",
        source="mbpp",
        split=split,
        prompt="\n".join([row["text"].strip(), *shown]),
        entry_point=entry_point,
        reference=reference,
        tests=tuple(tests),
        difficulty=difficulty,
        provenance=_PROVENANCE,
    )


def _under_protocol(row: dict[str, Any], examples: str) -> Problem:
    """The problem as the protocols ask and judge it, behind `examples`."""
    published = _problem({**row, "challenge_test_list": []})
    tests = tuple(dataclasses.replace(test, visible=True) for test in published.tests)
    return dataclasses.replace(published, prompt=examples + _docstring(row), tests=tests)


def _docstring(row: dict[str, Any]) -> str:
    return "\n".join(['"""', row["text"].strip(), *_asserts(row), '"""'])


def _example(row: dict[str, Any]) -> str:
    return f"{_docstring(row)}\n{normalise_source(row['code'])}\n"


def _asserts(row: dict[str, Any]) -> list[str]:
    return [statement.expandtabs(1).strip() for statement in row["test_list"]]


def _test(statement: str, setup: str, visible: bool) -> Test:
    """One assert; behind set-up code, which uses the program's own classes, it has to run beside the program."""
    if setup:
        return Test(call=setup + statement, expected=None, visible=visible)
    return split_assert(statement, visible=visible)
