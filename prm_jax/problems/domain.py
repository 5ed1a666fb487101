"""A user's own domain: one folder with `problems.jsonl` and, where it has rules, `constraints.toml`.

In: a `DomainSource`; out: `Problem`s whose source is the folder's name. The rows of `problems.jsonl` are those of
`jsonl.py`; their `split` decides what they serve. What the rules mean stands in `quality/constraints.py`; the reward
`Quality` applies them. `gin/data/domains/` has two whole examples.
"""

from __future__ import annotations

import dataclasses

from etils import epath

from prm_jax.errors import UserError
from prm_jax.problems.jsonl import SPLITS, JsonlSource
from prm_jax.problems.problem import Problem

PROBLEMS_FILE = "problems.jsonl"
CONSTRAINTS_FILE = "constraints.toml"


def domain_name(folder: str) -> str:
    """The name of a domain: that of its folder."""
    return epath.Path(folder).name


@dataclasses.dataclass(frozen=True)
class DomainSource:
    """A folder of problems as a source.

    Attributes:
      folder: a local folder or a `gs://` path.
      splits: which of `"train"`, `"validation"` and `"test"` to take.
      strict: whether one bad row is a `UserError` instead of a warning.
    """

    folder: str = ""
    splits: tuple[str, ...] = ("train",)
    strict: bool = True

    def __post_init__(self) -> None:
        """Refuse splits that no row can have."""
        object.__setattr__(self, "splits", tuple(self.splits))
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise UserError(f"DomainSource.splits is {self.splits}; give some of {', '.join(SPLITS)}")

    def load(self) -> list[Problem]:
        """The problems of these splits, in the order of the file.

        Raises:
          UserError: when there is no such folder or file, no problem of these splits, or, with `strict`, a bad row.
        """
        if not self.folder:
            raise UserError("no domain was named: set DomainSource.folder to a folder with problems.jsonl")
        source = JsonlSource(f"{self.folder}/{PROBLEMS_FILE}", self.strict)
        name = domain_name(self.folder)
        problems = [
            dataclasses.replace(problem, source=name) for problem in source.load() if problem.split in self.splits
        ]
        if not problems:
            raise UserError(f"{source.path}: no problem with split {' or '.join(self.splits)}; give other splits")
        return problems
