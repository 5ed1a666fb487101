"""The shape of a program: its skeleton, the split that the skeleton belongs to, its number of statements.

`synthetic.py` puts a problem into the split of its reference's skeleton, so that no two splits share one; every
source of problems takes the number of statements as the difficulty.
"""

from __future__ import annotations

import ast
import hashlib
from typing import Any

SPLIT_BUCKETS = {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}
_NAMES = {"id", "arg", "attr", "name"}
_LATER_FIELDS = {"type_params"}  # Since Python 3.12.
_SPLITS = [split for split, buckets in SPLIT_BUCKETS.items() for _ in buckets]


def skeleton(source: str) -> str:
    """The syntax tree with names and literals erased, in the form of `ast.dump`.

    Args:
      source: a program that parses.

    Returns:
      A string that is equal for two programs exactly if they differ in names and literals only.
    """
    return _shape(ast.parse(source))


def _shape(node: Any) -> str:
    """What `ast.dump(node, annotate_fields=False)` gives in Python 3.11, which other versions spell otherwise."""
    if isinstance(node, ast.Constant):
        return "Constant(0)"
    if isinstance(node, list):
        return f"[{', '.join(map(_shape, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts, left_out = [], False
    for field in node._fields:
        value = getattr(node, field, None)
        if value is None or field in _LATER_FIELDS:
            left_out = True  # Behind it, fields are named.
            continue
        shape = "'_'" if field in _NAMES and isinstance(value, str) else _shape(value)
        parts.append(f"{field}={shape}" if left_out else shape)
    return f"{type(node).__name__}({', '.join(parts)})"


def count_statements(source: str) -> int:
    """Number of `ast.stmt` nodes of a program, function definitions at module level and docstrings not counted."""
    tree = ast.parse(source)
    skipped = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body)
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    skipped += sum(isinstance(node, documented) and ast.get_docstring(node) is not None for node in ast.walk(tree))
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) - skipped


def split_of(text: str) -> str:
    """The split that a text (a skeleton, a chain of operations) hashes to: 60 % train, 20 % validation, 20 % test."""
    return _SPLITS[int.from_bytes(hashlib.sha256(text.encode()).digest()) % 10]
