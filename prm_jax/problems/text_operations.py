"""The operations on texts, lists of words and single numbers.

Rows of `Operation`, read by `synthetic.py`, as in `list_operations.py`.
"""

from __future__ import annotations

from prm_jax.problems.operation import DIGITS, Operation, loop

_VOWELS = "aeiou"

_TEXT = (
    Operation(
        "split",
        "text",
        "words",
        lambda s, _: [w for w in s.split(" ") if w],
        ("split the text into words", "list the words of the text"),
        ("s.split()",),
    ),
    Operation(
        "reverse_text",
        "text",
        "text",
        lambda s, _: "".join(reversed(s)),
        ("reverse the text", "turn the text around"),
        ("s[::-1]", 'out = ""\nfor c in s:\n    out = c + out\ns = out'),
    ),
    Operation(
        "drop_vowels",
        "text",
        "text",
        lambda s, _: s.translate(dict.fromkeys(map(ord, _VOWELS))),
        ("drop the vowels", "remove the vowels"),
        (
            '"".join(c for c in s if c not in "aeiou")',
            'out = ""\nfor c in s:\n    if c not in "aeiou":\n        out += c\ns = out',
        ),
    ),
    Operation(
        "count_vowels",
        "text",
        "number",
        lambda s, _: sum(s.count(v) for v in _VOWELS),
        ("count the vowels", "find how many vowels it has"),
        ('len([c for c in s if c in "aeiou"])', 'n = 0\nfor c in s:\n    if c in "aeiou":\n        n += 1'),
    ),
)

_WORDS = (
    Operation(
        "word_lengths",
        "words",
        "ints",
        lambda ws, _: list(map(len, ws)),
        ("take the length of each word", "replace each word by its length"),
        ("[len(w) for w in ws]", loop("out.append(len(w))", result="xs", over="w in ws")),
    ),
    Operation(
        "long_words",
        "words",
        "words",
        lambda ws, k: [w for w in ws if not len(w) <= k],
        ("keep the words longer than {k} letters", "keep the words with more than {k} letters"),
        ("[w for w in ws if len(w) > {k}]", loop("if len(w) > {k}:\n    out.append(w)", result="ws", over="w in ws")),
        (2, 3, 4),
    ),
    Operation(
        "reverse_each",
        "words",
        "words",
        lambda ws, _: ["".join(reversed(w)) for w in ws],
        ("reverse each word", "turn each word around"),
        ("[w[::-1] for w in ws]", loop("out.append(w[::-1])", result="ws", over="w in ws")),
    ),
    Operation(
        "sort_words",
        "words",
        "words",
        lambda ws, _: sorted(ws, reverse=True)[::-1],
        ("sort the words", "put the words in alphabetical order"),
        ("sorted(ws)",),
    ),
    Operation(
        "join_words",
        "words",
        "text",
        lambda ws, _: " ".join(ws),
        ("join the words with spaces", "write the words with spaces between"),
        ('" ".join(ws)',),
    ),
)

_NUMBER = (
    Operation(
        "number_add",
        "number",
        "number",
        lambda n, k: k + n,
        ("add {k} to the number", "increase the number by {k}"),
        ("n + {k}",),
        DIGITS,
    ),
    Operation(
        "number_multiply",
        "number",
        "number",
        lambda n, k: k * n,
        ("multiply the number by {k}", "make the number {k} times as large"),
        ("n * {k}",),
        DIGITS,
    ),
    Operation(
        "number_remainder",
        "number",
        "number",
        lambda n, k: n - n // k * k,
        ("take the number modulo {k}", "replace the number by its remainder modulo {k}"),
        ("n % {k}",),
        DIGITS[3:],
    ),
    Operation(
        "number_square",
        "number",
        "number",
        lambda n, _: n**2,
        ("square the number", "multiply the number by itself"),
        ("n * n",),
    ),
    Operation(
        "halve_if_even",
        "number",
        "number",
        lambda n, _: n if n & 1 else n >> 1,
        ("if the number is even halve it", "halve the number if it is even"),
        ("n // 2 if n % 2 == 0 else n", "if n % 2 == 0:\n    n = n // 2"),
    ),
    Operation(
        "digits",
        "number",
        "ints",
        lambda n, _: [ord(c) - ord("0") for c in str(abs(n))],
        ("list the digits", "take the list of the digits"),
        ("[int(c) for c in str(abs(n))]", loop("out.append(int(c))", over="c in str(abs(n))")),
    ),
    Operation(
        "multiples",
        "number",
        "ints",
        lambda n, k: [n * (i + 1) for i in range(k)],
        ("list the first {k} multiples", "take the list of the first {k} multiples"),
        ("[n * i for i in range(1, {k} + 1)]", loop("out.append(n * i)", over="i in range(1, {k} + 1)")),
        DIGITS[1:5],
    ),
)

TEXT_OPERATIONS: tuple[Operation, ...] = _TEXT + _WORDS + _NUMBER
