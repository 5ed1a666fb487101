"""Naming: whether names have the form of PEP 8 and say something.

`naming` takes the facts of a program and gives findings; `integrity.py` calls it. One finding for each name of a scope,
where it is first bound, however often it is used. The weights:

| rule | weight | when |
|---|---|---|
| `case` | 0.5 | a class not in CapWords, another name neither in lower_case nor, in a module or class, in UPPER_CASE |
| `ambiguous` | 0.5 | `l`, `O` or `I`, which fonts do not tell apart (PEP 8) |
| `one_letter` | 0.25 | one letter, but for short-lived names: of loops, comprehensions, lambdas and `except` |
| `empty` | 0.25 | says nothing: `foo`, `tmp`, `var1`, `thing`, a letter and a number (but for coordinates: `x1`) |
| `shadow` | 0.5 | hides a builtin |
| `shadow_outer` | 0.25 | in a function, hides a name of an enclosing function or of the module |

Names that the problem prescribes, such as its entry point, are not judged. A class's own names hide nothing.
"""

from __future__ import annotations

import builtins
import functools
import re
from collections.abc import Collection, Iterator

from prm_jax.quality.facts import Facts, Scope
from prm_jax.quality.finding import Finding

_LOWER = re.compile(r"_{0,2}[a-z][a-z0-9]*(_[a-z0-9]+)*_{0,2}|_+")
_UPPER = re.compile(r"_{0,2}[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_{0,2}")
_CAP_WORDS = re.compile(r"_{0,2}[A-Z][A-Za-z0-9]*")
_EMPTY = re.compile(
    r"(?:foo|bar|baz|qux|tmp|temp|var|val|thing|stuff|obj|dummy|func|fn|something|whatever|xxx?|aaa?|asdf|"
    r"my_?(?:var|list|dict|string|str|func|function|data|value|obj|object)|(?:the_)?(?:variable|param|arg))_?\d*"
    r"|(?![xyzt]\d)[a-z]\d+"
)
_SHORT_LIVED = frozenset({"target", "brief", "except"})
_BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_")) - {
    "copyright",
    "credits",
    "license",
}


def naming(facts: Facts, given: Collection[str] = ()) -> list[Finding]:
    """The findings of the table above; `given` are names that the problem prescribes."""
    found = []
    for scope in facts.scopes:
        for name, (how, line) in scope.bound.items():
            if how == "global" or name in given:
                continue
            if how != "import":
                for rule, weight, message in form_faults(name, how, scope.kind):
                    found.append(Finding("naming", rule, line, weight, message))
            for rule, weight, message in _shadows(name, how, scope):
                found.append(Finding("naming", rule, line, weight, message))
    return found


@functools.lru_cache(maxsize=1 << 14)
def form_faults(name: str, how: str, kind: str) -> tuple[tuple[str, float, str], ...]:
    """What is wrong with a name by itself: `(rule, weight, message)`; `how` and `kind` are those of `Scope`."""
    bare = name.strip("_")
    if not bare:
        return ()
    if bare in ("l", "O", "I"):
        return (("ambiguous", 0.5, f"{name} is easily misread"),)
    faults = []
    if not _has_form(name, how, kind):
        form = "CapWords" if how == "class" else "lower_case"
        faults.append(("case", 0.5, f"{name} is not in {form}"))
    if len(bare) == 1 and how not in _SHORT_LIVED:
        faults.append(("one_letter", 0.25, f"{name} is one letter"))
    elif _EMPTY.fullmatch(bare.lower()):
        faults.append(("empty", 0.25, f"{name} says nothing"))
    return tuple(faults)


def _has_form(name: str, how: str, kind: str) -> bool:
    if how == "class":
        return bool(_CAP_WORDS.fullmatch(name))
    if _LOWER.fullmatch(name):
        return True
    # Constants, and in a module type aliases too.
    return (
        kind in ("module", "class") and how == "assign" and bool(_UPPER.fullmatch(name) or _CAP_WORDS.fullmatch(name))
    )


def _shadows(name: str, how: str, scope: Scope) -> Iterator[tuple[str, float, str]]:
    if scope.kind == "class":
        return
    if name in _BUILTINS:
        yield "shadow", 0.5, f"{name} hides the builtin"
    elif scope.kind == "function" and how != "import":
        outer = scope.parent
        while outer is not None and outer.kind == "class":  # Methods do not see the names of their class.
            outer = outer.parent
        if outer is not None and outer.lookup(name) is not None:
            yield "shadow_outer", 0.25, f"{name} hides the {name} of an enclosing scope"
