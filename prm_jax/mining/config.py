"""`MiningConfig`: what is mined and what is kept; `gin/data/mined.gin` binds it."""

from __future__ import annotations

import dataclasses

from prm_jax.errors import UserError
from prm_jax.problems.sources import Source


@dataclasses.dataclass(frozen=True)
class MiningConfig:
    """How problems are mined.

    Attributes:
      roots: folders of source; none for the standard library and every installed package.
      workers: processes that read; 0 for one per core.
      min_tests: fewest examples that hold of a function.
      min_statements: fewest statements of a function.
      max_lines: most lines of a function, its docstring not counted.
      prose_characters: most characters of a docstring that a prompt takes over, whole paragraphs where it can.
      runs: how often a reference has to pass, each time with another hash seed.
      cpu_seconds: CPU limit of a call.
      similarity: two functions are near-duplicates from this Jaccard similarity on.
      avoid: problems that none may be close to, such as the test sets of benchmarks.
      avoid_similarity: how similar in code or in words is too close.
      corpus: whether functions with docstrings become a corpus for SFT, too, with or without examples.
    """

    roots: tuple[str, ...] = ()
    workers: int = 0
    min_tests: int = 2
    min_statements: int = 2
    max_lines: int = 60
    prose_characters: int = 400
    runs: int = 3
    cpu_seconds: float = 1.0
    similarity: float = 0.8
    avoid: tuple[Source, ...] = ()
    avoid_similarity: float = 0.6
    corpus: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "roots", tuple(self.roots))
        object.__setattr__(self, "avoid", tuple(self.avoid))
        for field, least in (("min_tests", 1), ("min_statements", 1), ("runs", 1)):
            if getattr(self, field) < least:
                raise UserError(f"MiningConfig.{field}={getattr(self, field)}; expected at least {least}")
        for field in ("similarity", "avoid_similarity"):
            if not 0.0 < getattr(self, field) <= 1.0:
                raise UserError(f"MiningConfig.{field}={getattr(self, field)}; expected more than 0, at most 1")
