"""The operations on a list of integers as a whole: reorder it, cut it, extend it, turn it into a number or a text.

Rows of `Operation`, read by `synthetic.py`, as in `list_operations.py`.
"""

from __future__ import annotations

from prm_jax.problems.operation import DIGITS, Operation, loop

_ORDERING = (
    Operation(
        "sort",
        "ints",
        "ints",
        lambda xs, _: sorted(xs, reverse=True)[::-1],
        ("sort the numbers", "put the numbers in increasing order"),
        ("sorted(xs)",),
    ),
    Operation(
        "sort_down",
        "ints",
        "ints",
        lambda xs, _: sorted(xs)[::-1],
        ("sort the numbers from the largest down", "put the numbers in decreasing order"),
        ("sorted(xs, reverse=True)",),
    ),
    Operation(
        "reverse",
        "ints",
        "ints",
        lambda xs, _: list(reversed(xs)),
        ("reverse the list", "turn the list around"),
        ("xs[::-1]", "list(reversed(xs))", loop("out = [x] + out")),
    ),
    Operation(
        "rotate",
        "ints",
        "ints",
        lambda xs, _: [*xs[1:], *xs[:1]],
        ("move the first number to the end", "rotate the list to the left"),
        ("xs[1:] + xs[:1]",),
    ),
    Operation(
        "first",
        "ints",
        "ints",
        lambda xs, k: [x for i, x in enumerate(xs) if i < k],
        ("keep the first {k} numbers", "drop all but the first {k} numbers"),
        ("xs[:{k}]",),
        (2, 3, 4, 5),
    ),
    Operation(
        "last",
        "ints",
        "ints",
        lambda xs, k: [x for i, x in enumerate(xs) if i >= len(xs) - k],
        ("keep the last {k} numbers", "drop all but the last {k} numbers"),
        ("xs[-{k}:]",),
        (2, 3, 4, 5),
    ),
    Operation(
        "every_second",
        "ints",
        "ints",
        lambda xs, _: [x for i, x in enumerate(xs) if not i & 1],
        ("keep every second number", "drop the numbers at odd positions"),
        ("xs[::2]", loop("if i % 2 == 0:\n    out.append(x)", over="i, x in enumerate(xs)")),
    ),
    Operation(
        "append", "ints", "ints", lambda xs, k: [*xs, k], ("append {k}", "put {k} at the end"), ("xs + [{k}]",), DIGITS
    ),
    Operation(
        "prepend",
        "ints",
        "ints",
        lambda xs, k: [k, *xs],
        ("prepend {k}", "put {k} at the front"),
        ("[{k}] + xs",),
        DIGITS,
    ),
    Operation(
        "mirror",
        "ints",
        "ints",
        lambda xs, _: xs + list(reversed(xs)),
        ("append the reversed list", "put the reversed list at the end"),
        ("xs + xs[::-1]",),
    ),
    Operation(
        "trim_if_long",
        "ints",
        "ints",
        lambda xs, k: xs[len(xs) > k :],
        ("if there are more than {k} numbers drop the first one", "drop the first number if there are more than {k}"),
        ("xs[1:] if len(xs) > {k} else xs", "if len(xs) > {k}:\n    xs = xs[1:]"),
        (3, 4, 5),
    ),
    Operation(
        "reverse_if_even",
        "ints",
        "ints",
        lambda xs, _: xs if sum(xs) & 1 else list(reversed(xs)),
        ("if the sum is even reverse the list", "reverse the list if the sum is even"),
        ("xs[::-1] if sum(xs) % 2 == 0 else xs", "if sum(xs) % 2 == 0:\n    xs = xs[::-1]"),
    ),
)

_CLOSING = (
    Operation(
        "sum",
        "ints",
        "number",
        lambda xs, _: sum(xs),
        ("add them up", "take their sum"),
        ("sum(xs)", "n = 0\nfor x in xs:\n    n += x"),
    ),
    Operation(
        "largest",
        "ints",
        "number",
        lambda xs, _: sorted(xs)[-1],
        ("take the largest number", "find the maximum"),
        ("max(xs)", "n = xs[0]\nfor x in xs:\n    if x > n:\n        n = x"),
    ),
    Operation(
        "smallest",
        "ints",
        "number",
        lambda xs, _: sorted(xs)[0],
        ("take the smallest number", "find the minimum"),
        ("min(xs)", "n = xs[0]\nfor x in xs:\n    if x < n:\n        n = x"),
    ),
    Operation(
        "spread",
        "ints",
        "number",
        lambda xs, _: sorted(xs)[-1] - sorted(xs)[0],
        ("subtract the minimum from the maximum", "find the distance from the minimum to the maximum"),
        ("max(xs) - min(xs)",),
    ),
    Operation(
        "count_greater",
        "ints",
        "number",
        lambda xs, k: sum(x > k for x in xs),
        ("count the numbers greater than {k}", "count the numbers above {k}"),
        ("len([x for x in xs if x > {k}])", "n = 0\nfor x in xs:\n    if x > {k}:\n        n += 1"),
        DIGITS,
    ),
    Operation(
        "count_even",
        "ints",
        "number",
        lambda xs, _: sum(not x & 1 for x in xs),
        ("count the even numbers", "find how many numbers are even"),
        ("len([x for x in xs if x % 2 == 0])", "n = 0\nfor x in xs:\n    if x % 2 == 0:\n        n += 1"),
    ),
    Operation(
        "head_minus_tail",
        "ints",
        "number",
        lambda xs, _: xs[0] - xs[len(xs) - 1],
        ("subtract the last number from the first one", "take the first number minus the last one"),
        ("xs[0] - xs[-1]",),
    ),
    Operation(
        "write",
        "ints",
        "text",
        lambda xs, _: " ".join(map(str, xs)),
        ("join the numbers with spaces", "write the numbers with spaces between"),
        ('" ".join(str(x) for x in xs)',),
    ),
)

WHOLE_LIST_OPERATIONS: tuple[Operation, ...] = _ORDERING + _CLOSING
