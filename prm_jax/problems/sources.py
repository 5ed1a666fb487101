"""What a source of problems is, and how several are joined.

A source is a frozen dataclass with a method `load`: `MbppSource`, `HumanEvalSource`, `JsonlSource`,
`SyntheticSource`, or a user's own. Stages bind sources from outside and call `load_all` once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem


class Source(Protocol):
    """Anything that loads problems. Make it a frozen dataclass, so that it is hashable and its fields are saved."""

    def load(self) -> list[Problem]:
        """The problems, in an order that is the same in every call.

        Raises:
          UserError: when the problems cannot be had, saying why and what to do.
        """
        ...


def load_all(sources: Sequence[Source]) -> list[Problem]:
    """The problems of all sources, in order.

    Raises:
      UserError: when two problems have the same id, or a source has trouble of its own.
    """
    origin: dict[str, Source] = {}
    problems = []
    for source in sources:
        for problem in source.load():
            if problem.id in origin:
                raise UserError(
                    f"problem id {problem.id!r} comes from {origin[problem.id]} and from {source}: ids must be unique; "
                    "drop one of the sources or rename the problem"
                )
            origin[problem.id] = source
            problems.append(problem)
    return problems
