"""MBPP (Austin et al. 2021): 974 short problems with three asserts each, read from the published `mbpp.jsonl`."""

from __future__ import annotations

import ast
import dataclasses
import json
import warnings
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

_PROVENANCE = "google-research/mbpp, CC-BY-4.0"


@dataclasses.dataclass(frozen=True)
class MbppSource:
    """MBPP as a problem source.

    The prompt is the published sentence and the visible asserts, because the name of the function is known from
    nothing else. The last assert and the challenge asserts are hidden.

    Attributes:
      path: a local file, a `gs://` path or a URL of `mbpp.jsonl` as published.
      splits: which of `"prompt"`, `"train"`, `"validation"`, `"test"` to load.
    """

    path: str = ""
    splits: tuple[str, ...] = ("train", "validation", "test")

    def __post_init__(self) -> None:
        """Makes the configuration hashable and refuses unknown splits."""
        object.__setattr__(self, "splits", tuple(self.splits))
        for split in self.splits:
            if split not in SPLIT_TASKS:
                raise UserError(f"MBPP split {split!r}: expected one of {', '.join(SPLIT_TASKS)}")

    def load(self) -> list[Problem]:
        """The problems of the chosen splits, by `task_id`.

        Raises:
          UserError: when the file cannot be read or is not MBPP as published.
        """
        problems = []
        for number, line in enumerate(read_text(self.path).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                problem = _problem(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{self.path}:{number}: not a row of MBPP as published ({error!r}); "
                    "take mbpp.jsonl from google-research/mbpp"
                ) from error
            if problem.split in self.splits:
                problems.append(problem)
        return problems


def _problem(row: dict[str, Any]) -> Problem:
    """One problem from one published row.

    Raises:
      ValueError, KeyError, TypeError: when the row is not as published.
    """
    task = row["task_id"]
    split = next((split for split, tasks in SPLIT_TASKS.items() if task in tasks), None)
    if split is None:
        raise ValueError(f"task_id {task!r} is outside 1 to 974")
    asserts = [statement.expandtabs(1).strip() for statement in row["test_list"]]
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


def _test(statement: str, setup: str, visible: bool) -> Test:
    """One assert; behind set-up code, which uses the program's own classes, it has to run beside the program."""
    if setup:
        return Test(call=setup + statement, expected=None, visible=visible)
    return split_assert(statement, visible=visible)
