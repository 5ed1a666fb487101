"""The operations that keep or replace single numbers of a list.

Rows of `Operation`, read by `synthetic.py`. Each meaning is written apart from the forms (and, where that is
possible, in another way), so that a test of forms against meanings can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise

from prm_jax.problems.operation import DIGITS, Operation, loop


def _without(xs: list[int], value: int) -> list[int]:
    return [x for x in xs if x != value]


def _less(xs: list[int], value: int) -> list[int]:
    return [x - value for x in xs]


def _keep(
    name: str,
    meaning: Callable[[int, int], object],
    condition: str,
    phrases: tuple[str, ...],
    operands: tuple[int, ...] = (),
    lambda_form: bool = False,
) -> Operation:
    """An operation that keeps the numbers for which `meaning(x, k)` holds; `condition` says the same in Python."""
    forms: tuple[str, ...] = (f"[x for x in xs if {condition}]", loop(f"if {condition}:\n    out.append(x)"))
    if lambda_form:
        forms += (f"list(filter(lambda x: {condition}, xs))",)
    return Operation(name, "ints", "ints", lambda xs, k: [x for x in xs if meaning(x, k)], phrases, forms, operands)


def _each(
    name: str,
    meaning: Callable[[int, int], int],
    value: str,
    phrases: tuple[str, ...],
    operands: tuple[int, ...] = (),
    helper: bool = False,
) -> Operation:
    """An operation that replaces each number x by `meaning(x, k)`; `value` says the same in Python."""
    forms: tuple[str, ...] = (f"[{value} for x in xs]", loop(f"out.append({value})"))
    if helper:
        forms += (f"def f(x):\n    return {value}\nxs = [f(x) for x in xs]",)
    return Operation(name, "ints", "ints", lambda xs, k: [meaning(x, k) for x in xs], phrases, forms, operands)


_KEEPING = (
    _keep(
        "keep_even",
        lambda x, _: not x & 1,
        "x % 2 == 0",
        ("keep the even numbers", "drop the odd numbers"),
        lambda_form=True,
    ),
    _keep(
        "keep_odd",
        lambda x, _: x & 1,
        "x % 2 == 1",
        ("keep the odd numbers", "drop the even numbers"),
        lambda_form=True,
    ),
    _keep("keep_positive", lambda x, _: x >= 1, "x > 0", ("keep the positive numbers", "keep the numbers above zero")),
    _keep(
        "keep_greater",
        lambda x, k: not x <= k,
        "x > {k}",
        ("keep the numbers greater than {k}", "keep the numbers above {k}"),
        DIGITS,
        lambda_form=True,
    ),
    _keep(
        "keep_less",
        lambda x, k: not x >= k,
        "x < {k}",
        ("keep the numbers less than {k}", "keep the numbers below {k}"),
        DIGITS,
    ),
    _keep(
        "drop_multiples",
        lambda x, k: x // k * k != x,
        "x % {k} != 0",
        ("drop the multiples of {k}", "drop the numbers divisible by {k}"),
        (3, 4, 5),
    ),
    Operation(
        "unique",
        "ints",
        "ints",
        lambda xs, _: [x for i, x in enumerate(xs) if x not in xs[:i]],
        ("drop the repeated numbers", "keep the first copy of each number"),
        ("list(dict.fromkeys(xs))", loop("if x not in out:\n    out.append(x)")),
    ),
    Operation(
        "drop_largest",
        "ints",
        "ints",
        lambda xs, _: _without(xs, sorted(xs)[-1]),
        ("drop the largest number", "drop every copy of the largest number"),
        ("[x for x in xs if x != max(xs)]", "m = max(xs)\nxs = [x for x in xs if x != m]"),
    ),
    Operation(
        "above_average",
        "ints",
        "ints",
        lambda xs, _: [x for x in xs if x > sum(xs) / len(xs)],
        ("keep the numbers above the average", "keep the numbers greater than the average"),
        ("[x for x in xs if x * len(xs) > sum(xs)]", "total = sum(xs)\nxs = [x for x in xs if x * len(xs) > total]"),
    ),
)

_MAPPING = (
    _each("add", lambda x, k: k + x, "x + {k}", ("add {k} to each number", "increase each number by {k}"), DIGITS),
    _each(
        "subtract",
        lambda x, k: -k + x,
        "x - {k}",
        ("subtract {k} from each number", "decrease each number by {k}"),
        DIGITS,
    ),
    _each(
        "multiply",
        lambda x, k: k * x,
        "x * {k}",
        ("multiply each number by {k}", "make each number {k} times as large"),
        DIGITS,
        helper=True,
    ),
    _each("square", lambda x, _: x**2, "x * x", ("square each number", "multiply each number by itself"), helper=True),
    _each("negate", lambda x, _: 0 - x, "-x", ("negate each number", "flip the sign of each number")),
    _each(
        "absolute",
        lambda x, _: max(x, -x),
        "abs(x)",
        ("take the absolute value of each number", "make each number positive"),
    ),
    _each(
        "remainder",
        lambda x, k: x - x // k * k,
        "x % {k}",
        ("take each number modulo {k}", "replace each number by its remainder modulo {k}"),
        DIGITS,
        helper=True,
    ),
    _each(
        "divide",
        lambda x, k: (x - x % k) // k,
        "x // {k}",
        ("divide each number by {k} and round down", "floor divide each number by {k}"),
        (2, 3, 4),
    ),
    _each(
        "cap",
        lambda x, k: k if x > k else x,
        "min(x, {k})",
        ("cap each number at {k}", "replace the numbers above {k} by {k}"),
        DIGITS,
    ),
    Operation(
        "double_odd",
        "ints",
        "ints",
        lambda xs, _: [x + x if x & 1 else x for x in xs],
        ("double the odd numbers", "multiply the odd numbers by two"),
        ("[x * 2 if x % 2 == 1 else x for x in xs]", loop("if x % 2 == 1:\n    x = x * 2\nout.append(x)")),
    ),
    Operation(
        "add_position",
        "ints",
        "ints",
        lambda xs, _: [xs[i] + i for i in range(len(xs))],
        ("add its position to each number", "increase each number by its position"),
        ("[x + i for i, x in enumerate(xs)]", loop("out.append(x + i)", over="i, x in enumerate(xs)")),
    ),
    Operation(
        "subtract_smallest",
        "ints",
        "ints",
        lambda xs, _: _less(xs, sorted(xs)[0]),
        ("subtract the smallest number from each number", "decrease each number by the smallest number"),
        ("[x - min(xs) for x in xs]", "m = min(xs)\nxs = [x - m for x in xs]"),
    ),
    Operation(
        "running_sum",
        "ints",
        "ints",
        lambda xs, _: list(accumulate(xs)),
        ("take the running sums", "replace each number by the running sum"),
        ("[sum(xs[:i + 1]) for i in range(len(xs))]", loop("total += x\nout.append(total)", before="total = 0")),
    ),
    Operation(
        "differences",
        "ints",
        "ints",
        lambda xs, _: [b - a for a, b in pairwise(xs)],
        ("take the differences of the neighbours", "subtract each number from the next one"),
        ("[b - a for a, b in zip(xs, xs[1:])]", loop("out.append(xs[i] - xs[i - 1])", over="i in range(1, len(xs))")),
    ),
    Operation(
        "neighbour_sums",
        "ints",
        "ints",
        lambda xs, _: [a + b for a, b in pairwise(xs)],
        ("take the sums of the neighbours", "add each number to the next one"),
        ("[a + b for a, b in zip(xs, xs[1:])]", loop("out.append(xs[i] + xs[i - 1])", over="i in range(1, len(xs))")),
    ),
)

LIST_OPERATIONS: tuple[Operation, ...] = _KEEPING + _MAPPING
