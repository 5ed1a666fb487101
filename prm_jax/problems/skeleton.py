"""The shape of a program: its skeleton, the split that the skeleton belongs to, its number of statements.

`synthetic.py` puts a problem into the split of its reference's skeleton, so that no two splits share one; every
source of problems takes the number of statements as the difficulty.
"""

from __future__ import annotations

import ast
import hashlib

SPLIT_BUCKETS = {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}
_SPLITS = [split for split, buckets in SPLIT_BUCKETS.items() for _ in buckets]


class _Eraser(ast.NodeTransformer):
    """Replaces every name and every literal by a placeholder; operators and structure stay."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("id", "arg", "attr", "name"):
            if isinstance(getattr(node, field, None), str):
                setattr(node, field, "_")
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(value=0)


def skeleton(source: str) -> str:
    """The dump of the syntax tree with names and literals erased.

    Args:
      source: a program that parses.

    Returns:
      A string that is equal for two programs exactly if they differ in names and literals only.
    """
    return ast.dump(_Eraser().visit(ast.parse(source)), annotate_fields=False)


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
