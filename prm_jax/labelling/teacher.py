"""A teacher that is a language model: it rewrites single steps of references, as the built-in operators edit them.

In: problems, and a policy as a `Complete`; out: `Edit`s of each reference, which `variants.py` takes beside those of
the operators: executed like these, right where the program still passes and wrong where it does not. What a policy
writes by mistake looks like what policies write, as no operator's edit does (PRLCoder, arXiv 2502.01715, has one).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from prm_jax.labelling.complete import Complete
from prm_jax.labelling.splice import Edit
from prm_jax.problems.problem import Problem
from prm_jax.text.steps import Step, split_steps

_Role = tuple[bool, bool, frozenset[str]]


def rewrite_steps(
    problems: Sequence[Problem], complete: Complete, per_step: int, seed: int
) -> dict[str, tuple[Edit, ...]]:
    """Lets a policy write each step of each reference anew; all steps are one batch.

    A rewritten step is kept if it stands in for the old one: both are headers of blocks or both are not, both return or
    neither does, and they bind the same names. The rest of the program would not fit another one, and its failure would
    say nothing of the step.

    Args:
      problems: whose references are rewritten.
      complete: the policy.
      per_step: completions of the program in front of each step, of which the next step is taken; equal ones are one.
      seed: of the completions.

    Returns:
      The edits of each problem by its id, in the order of the steps; `()` where there are none.
    """
    places = [
        (problem, steps, i)
        for problem in problems
        for steps in [split_steps(problem.reference)]
        for i, step in enumerate(steps)
        if step.kind == "code" and step.closed and _role(_text(problem.reference, step)) is not None
    ]
    prefixes = [_before(problem.reference, steps[i]) for problem, steps, i in places]
    written = complete([(place[0], prefix) for place, prefix in zip(places, prefixes, strict=True)], per_step, seed)
    edits: dict[str, dict[Edit, None]] = {problem.id: {} for problem in problems}
    for (problem, steps, i), prefix, texts in zip(places, prefixes, written, strict=True):
        old = _text(problem.reference, steps[i])
        for text in texts:
            new = _step(text, i) if text.startswith(prefix) else ""
            if new.strip() != old.strip() and _role(new) == _role(old):
                edits[problem.id][Edit(len(prefix), len(prefix) + len(old), new)] = None
    return {name: tuple(own) for name, own in edits.items()}


def _before(text: str, step: Step) -> str:
    return text.encode()[: step.start].decode()


def _text(text: str, step: Step) -> str:
    return text.encode()[step.start : step.end].decode()


def _step(text: str, index: int) -> str:
    """The text of a step that is code and closed; empty where there is none."""
    steps = split_steps(text)
    if index >= len(steps) or steps[index].kind != "code" or not steps[index].closed:
        return ""
    return text.encode("utf-8", "replace")[steps[index].start : steps[index].end].decode()


def _role(line: str) -> _Role | None:
    """Whether a step opens a block, whether it returns, the names that it binds; None where it does not stand alone."""
    code = line.strip()
    is_header = code.endswith(":")
    try:
        body = ast.parse(f"{code} pass" if is_header else code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if len(body) != 1 or isinstance(body[0], ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return None
    bound = {node.id for node in ast.walk(body[0]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return is_header, isinstance(body[0], ast.Return), frozenset(bound)
