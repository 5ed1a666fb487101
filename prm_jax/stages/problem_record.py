"""The problems that a stage's folder was made from: `problems.json`, their ids with a digest of each.

A configuration names files of problems, not what stands in them: a row may be mended between two stages. `label` and
`tasks` leave the record of the practice problems. What is read from them later, tests and prompts, goes with problems
that are loaded again: they are looked up here, so that no program is judged by the tests of another problem.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from etils import epath

from prm_jax.errors import UserError
from prm_jax.problems.problem import Problem
from prm_jax.stages.run_directory import fingerprint, resolved, write_json

RECORD = "problems.json"

_DIGESTED = ("prompt", "entry_point", "reference", "tests", "setup", "head")
"""The fields that say what is asked and how an answer is judged."""


def write_record(folder: epath.Path, problems: Sequence[Problem]) -> None:
    """Records the problems in a folder, in their order."""
    write_json(folder / RECORD, _digests(problems))


def as_recorded(folder: epath.Path, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems in the order in which the folder records them.

    Raises:
      UserError: they are not those of the record, or there is none.
    """
    path = folder / RECORD
    if not path.exists():
        raise UserError(f"{folder} has no {RECORD}: copy the whole folder, or delete it and make it again")
    held, given = json.loads(path.read_text()), _digests(problems)
    if changed := [name for name in held | given if held.get(name) != given.get(name)]:
        first = changed[0]
        how = "has joined them" if first not in held else "is gone" if first not in given else "was rewritten"
        raise UserError(
            f"{folder} was made from other problems than the configuration gives now ({len(changed)} differ: {first} "
            f"{how}): give the problems that it was made from, or another --run_dir"
        )
    found = {problem.id: problem for problem in problems}
    return tuple(found[name] for name in held)


def _digests(problems: Sequence[Problem]) -> dict[str, str]:
    return {problem.id: fingerprint(resolved([getattr(problem, name) for name in _DIGESTED])) for problem in problems}
