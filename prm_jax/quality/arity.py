"""Whether a call's arguments fit a signature; `calls.py` asks for functions of the file and for builtins.

A call with `*args` or `**kwargs` always fits, as far as one can see.
"""

from __future__ import annotations

import ast

_ANY = None
# Fewest and most positional arguments, and keywords; `_ANY` where there is no limit.
_BUILTINS: dict[str, tuple[int, int | None, tuple[str, ...] | None]] = {
    **dict.fromkeys(("abs", "all", "any", "ascii", "bin", "callable", "chr", "hash", "hex", "id"), (1, 1, ())),
    **dict.fromkeys(("len", "oct", "ord", "repr", "reversed"), (1, 1, ())),
    **dict.fromkeys(("divmod", "hasattr", "isinstance", "issubclass", "delattr", "filter"), (2, 2, ())),
    **dict.fromkeys(("bool", "frozenset", "list", "set", "tuple", "float"), (0, 1, ())),
    "bytes": (0, 3, ("source", "encoding", "errors")),
    "complex": (0, 2, ("real", "imag")),
    "dict": (0, 1, _ANY),
    "enumerate": (1, 2, ("iterable", "start")),
    "format": (1, 2, ()),
    "getattr": (2, 3, ()),
    "int": (0, 2, ("base",)),
    "iter": (1, 2, ()),
    "map": (2, _ANY, ()),
    "max": (1, _ANY, ("key", "default")),
    "min": (1, _ANY, ("key", "default")),
    "next": (1, 2, ()),
    "pow": (2, 3, ("base", "exp", "mod")),
    "print": (0, _ANY, ("sep", "end", "file", "flush")),
    "range": (1, 3, ()),
    "round": (1, 2, ("number", "ndigits")),
    "setattr": (3, 3, ()),
    "slice": (1, 3, ()),
    "sorted": (1, 1, ("key", "reverse")),
    "str": (0, 3, ("object", "encoding", "errors")),
    "sum": (1, 2, ("start",)),
    "zip": (0, _ANY, ("strict",)),
}
# Keywords that may stand in for positional arguments.
_BY_KEYWORD = frozenset({"bytes", "complex", "enumerate", "pow", "round", "str", "sum"})


def _is_open(call: ast.Call) -> bool:
    return any(isinstance(arg, ast.Starred) for arg in call.args) or any(word.arg is None for word in call.keywords)


def builtin_arity_fault(name: str, call: ast.Call) -> str:
    """What is wrong with a call of a builtin; empty where nothing is, or where the builtin is not in the table."""
    if name not in _BUILTINS or _is_open(call):
        return ""
    fewest, most, allowed = _BUILTINS[name]
    words = [word.arg for word in call.keywords if word.arg is not None]
    given = len(call.args) + (len(words) if name in _BY_KEYWORD else 0)
    if given < fewest:
        return f"takes at least {fewest} arguments, got {given}"
    if most is not None and given > most:
        return f"takes at most {most} arguments, got {given}"
    if allowed is not None and (unknown := [word for word in words if word not in allowed]):
        return f"takes no argument {unknown[0]}"
    return ""


def arity_fault(args: ast.arguments, call: ast.Call) -> str:
    """What is wrong with a call of a function with these parameters; empty where nothing is."""
    if _is_open(call):
        return ""
    positional = [arg.arg for arg in (*args.posonlyargs, *args.args)]
    by_name = {arg.arg for arg in (*args.args, *args.kwonlyargs)}
    words = {word.arg for word in call.keywords if word.arg is not None}
    if len(call.args) > len(positional) and args.vararg is None:
        return f"takes at most {len(positional)} arguments, got {len(call.args)}"
    if args.kwarg is None and (unknown := sorted(words - by_name)):
        return f"takes no argument {unknown[0]}"
    filled = set(positional[: len(call.args)])
    if twice := sorted(filled & words & by_name):
        return f"argument {twice[0]} is given twice"
    needed = positional[: len(positional) - len(args.defaults)]
    optional = {arg.arg for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value is not None}
    needed += [arg.arg for arg in args.kwonlyargs if arg.arg not in optional]
    if missing := [name for name in needed if name not in filled | words]:
        return f"lacks argument {missing[0]}"
    return ""
