"""Plain values as Python source, the same text for equal values in every process.

Comes in: values of the built-in types. Goes out: text that `ast.literal_eval` reads. Called where tests are made:
`execution/grading.py` (what a call gave) and `labelling/inputs.py` (calls with inputs of our own).
"""

from __future__ import annotations

import math
from typing import Any


def literal(value: Any) -> str:
    """The text of a plain value; sets are sorted by their items' texts, since their own order is a process's.

    Raises:
      ValueError: where `ast.literal_eval` would not give the value back: infinities, frozen sets, objects, integers of
        thousands of digits.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes) or (kind is float and math.isfinite(value)):
        return repr(value)
    if kind is list:
        return f"[{', '.join(map(literal, value))}]"
    if kind is tuple:
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if kind is set:
        return f"{{{', '.join(sorted(map(literal, value)))}}}" if value else "set()"
    if kind is dict:
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    raise ValueError(f"{kind.__name__} {value!r:.40} has no literal")
