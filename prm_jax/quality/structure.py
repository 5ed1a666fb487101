"""Structure: how a program's control flow is built.

`structure` takes the facts of a program and gives findings; `integrity.py` calls it. Let excess(x, m) be
max(0, x - m) / m. The weights:

| rule | weight | on the line of |
|---|---|---|
| `nesting` | 0.5 (level - max_nesting), for each compound statement whose level is greater | the statement |
| `cyclomatic` | excess(McCabe's number, max_cyclomatic), for each function | its header |
| `cognitive` | excess(cognitive complexity, max_cognitive), for each function | its header |
| `length` | excess(statements, max_statements), for each function | its header |
| `dead` | 1 for each local that is assigned and never read, and each assignment overwritten before it is read | it |
| `unreachable` | 1 for each block that cannot run: behind a jump, or under a condition that is a false constant | it |
| `idle` | 1 for each expression statement without effect (a name, a comparison, a sum) | it |

The level of a compound statement is 1 directly in a function's body. Names that begin with `_` may stay unread. The two
complexities are defined at `FunctionFacts`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from prm_jax.errors import UserError
from prm_jax.quality.facts import Facts
from prm_jax.quality.finding import Finding


@dataclasses.dataclass(frozen=True)
class StructureLimits:
    """What is still good.

    Attributes:
      max_nesting: level of a compound statement.
      max_cyclomatic: McCabe's number of a function; 10 is his own limit.
      max_cognitive: cognitive complexity of a function; 15 is SonarSource's limit.
      max_statements: statements of a function.
    """

    max_nesting: int = 3
    max_cyclomatic: int = 10
    max_cognitive: int = 15
    max_statements: int = 30

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise UserError(f"StructureLimits.{field.name} is {getattr(self, field.name)}; give at least 1")


_LIMITS = StructureLimits()


def structure(facts: Facts, limits: StructureLimits = _LIMITS) -> list[Finding]:
    """The findings of the table above."""
    return [*_complexity(facts, limits), *_useless(facts)]


def _finding(rule: str, line: int, weight: float, message: str) -> Finding:
    return Finding("structure", rule, line, weight, message)


def _complexity(facts: Facts, limits: StructureLimits) -> Iterator[Finding]:
    for line, level in facts.deep:
        if level > limits.max_nesting:
            message = f"nested {level} deep; at most {limits.max_nesting}"
            yield _finding("nesting", line, 0.5 * (level - limits.max_nesting), message)
    for function in facts.functions:
        for rule, value, most in (
            ("cyclomatic", function.cyclomatic, limits.max_cyclomatic),
            ("cognitive", function.cognitive, limits.max_cognitive),
            ("length", function.statements, limits.max_statements),
        ):
            if value > most:
                message = f"{rule} of {function.name} is {value}; at most {most}"
                yield _finding(rule, function.line, (value - most) / most, message)


def _useless(facts: Facts) -> Iterator[Finding]:
    for scope in facts.scopes:
        if scope.kind != "function":
            continue
        for name, (how, line) in scope.bound.items():
            if how == "assign" and name not in scope.used and not name.startswith("_"):
                yield _finding("dead", line, 1.0, f"{name} is assigned and never read")
    for scope, name, line in facts.overwritten:
        # What nothing reads at all has been named above.
        if name in scope.used and name not in scope.captured:
            yield _finding("dead", line, 1.0, f"this value of {name} is overwritten before it is read")
    for line in facts.unreachable:
        yield _finding("unreachable", line, 1.0, "cannot be reached")
    for line in facts.idle:
        yield _finding("idle", line, 1.0, "computes a value that nothing uses")
