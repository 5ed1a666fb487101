"""`Operation`: one phrase of a synthetic problem: what it means, how it is said and how it is written in Python.

`list_operations.py`, `whole_list_operations.py` and `text_operations.py` fill the table of `operations.py`;
`synthetic.py` chains operations into problems.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from prm_jax.problems.skeleton import count_statements

VARIABLES = {"ints": "xs", "text": "s", "words": "ws", "number": "n"}
"""The kinds of values that flow through a chain, each with the one variable that holds it."""

DIGITS = (2, 3, 4, 5, 6, 7, 8, 9)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One row of the table.

    Attributes:
      name: unique in the table.
      takes: the kind of its input, a key of `VARIABLES`.
      gives: the kind of its output.
      meaning: `meaning(value, operand)` computes the result without running any of the forms.
      phrases: wordings in plain English, `{k}` for the operand.
      forms: Python surface forms over the variables of `VARIABLES`. A form of one line is an expression of the
        result; a form of several lines is a block of statements that binds the result's variable. The first
        one is always an expression.
      operands: the values that `{k}` may take; empty for an operation without operand.
    """

    name: str
    takes: str
    gives: str
    meaning: Callable[[Any, int], Any]
    phrases: tuple[str, ...]
    forms: tuple[str, ...]
    operands: tuple[int, ...] = ()

    @functools.cached_property
    def expressions(self) -> tuple[str, ...]:
        """The forms that are one expression."""
        return tuple(form for form in self.forms if "\n" not in form)

    @functools.cached_property
    def blocks(self) -> tuple[str, ...]:
        """The forms that are several statements."""
        return tuple(form for form in self.forms if "\n" in form)


def loop(body: str, result: str = "xs", over: str = "x in xs", before: str = "") -> str:
    """A form that fills `out` in a `for` loop.

    Args:
      body: the loop's body, unindented, e.g. `"out.append(x)"`.
      result: the variable that takes `out` in the end.
      over: what stands between `for` and the colon.
      before: one statement to put before the loop, without newline.
    """
    indented = "".join(f"    {line}\n" for line in body.split("\n"))
    return f"out = []\n{before}{before and chr(10)}for {over}:\n{indented}{result} = out"


@functools.cache
def form_statements(form: str) -> int:
    """Number of statements that a form of several lines adds; 1 for an expression."""
    if "\n" not in form:
        return 1
    body = "".join(f"    {line}\n" for line in form.replace("{k}", "2").split("\n"))
    return count_statements(f"def solve():\n{body}")
