"""Stage `mine`: source trees in, problems out: `problems.jsonl`, and `funnel.json`, which says what became of the rest.

Read, executed, told apart: the files are read by a pool of processes, the functions executed in the sandbox, their
duplicates dropped. The folder is a domain (`problems/domain.py`): `gin/data/mined.gin` serves its problems.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox
from prm_jax.mining import duplicates
from prm_jax.mining.checks import check
from prm_jax.mining.config import MiningConfig
from prm_jax.mining.funnel import Funnel
from prm_jax.mining.pool import read_files
from prm_jax.mining.walk import default_roots, find_files
from prm_jax.problems.domain import PROBLEMS_FILE
from prm_jax.problems.jsonl import to_line
from prm_jax.problems.problem import Problem
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.training.progress import Progress

FUNNEL = "funnel.json"
BATCH = 256
"""Problems that go through the sandbox between two steps of the progress bar."""


def mine(experiment: Experiment, run_dir: str, roots: Sequence[str] = ()) -> None:
    """Mines the roots given, else those of the configuration, into `<run_dir>/mine`."""
    chosen = tuple(roots) or experiment.mining.roots or default_roots()
    configuration = {"mining": experiment.mining, "roots": chosen}
    RunDirectory(run_dir).stage("mine", configuration, functools.partial(_mine, experiment, chosen), alone=True)


def _mine(experiment: Experiment, roots: tuple[str, ...], folder: epath.Path) -> dict[str, Any]:
    config, funnel = experiment.mining, Funnel()
    duplicates.Neighbours(config.similarity)  # A library that is missing is told before an hour's work, not after.
    avoided, missing = _avoided(config)
    found, lines_per_minute = _read(roots, config, funnel)
    kept = _select(found, avoided, experiment, funnel)
    funnel.packages.update(problem.id.split("/")[1] for problem in kept)
    (folder / PROBLEMS_FILE).write_text("".join(to_line(problem) + "\n" for problem in kept))
    write_json(folder / FUNNEL, {**funnel.plain(), "lines_per_minute": lines_per_minute, "not_compared_with": missing})
    for line in funnel.lines():
        print(f"mine: {line}")
    return {"problems": len(kept), "packages": len(funnel.packages), "lines_per_minute": round(lines_per_minute)}


def _avoided(config: MiningConfig) -> tuple[list[Problem], list[str]]:
    """The problems that none may be close to, and why some of them cannot be had."""
    problems, missing = [], []
    for source in config.avoid:
        try:
            problems += [problem for problem in source.load() if problem.split == "test"]
        except UserError as error:
            missing.append(str(error))
            print(f"mine: nothing is compared with {type(source).__name__}: {error}")
    return problems, missing


def _read(roots: tuple[str, ...], config: MiningConfig, funnel: Funnel) -> tuple[list[Problem], float]:
    """The problems that the files may give, in the order of their ids, and lines read per minute."""
    files = find_files(roots, funnel.skipped)
    if not files:
        raise UserError(f"no .py file below {', '.join(roots)}: give folders of Python source to --roots")
    problems: dict[str, Problem] = {}
    start = time.monotonic()
    with Progress("mine: read", len(files)) as progress:
        for done, (_, report) in enumerate(read_files(files, config), start=1):
            funnel.add(report)
            problems |= {problem.id: problem for problem in report.problems}
            progress.update(done, {"candidates": len(problems)})
    rate = 60 * funnel.counts["lines"] / (time.monotonic() - start)
    return [problems[key] for key in sorted(problems)], rate


def _select(found: list[Problem], avoided: list[Problem], experiment: Experiment, funnel: Funnel) -> list[Problem]:
    """Those of the problems that hold, that are no near-duplicates, and that are not to be avoided."""
    config = experiment.mining
    held: list[Problem] = []
    seeds = [dataclasses.replace(experiment.sandbox, hash_seed=seed) for seed in range(config.runs)]
    with contextlib.ExitStack() as stack, Progress("mine: execute", len(found)) as progress:
        sandboxes = [stack.enter_context(Sandbox(each)) for each in seeds]
        for start in range(0, len(found), BATCH):
            checked = check(found[start : start + BATCH], sandboxes, config)
            held += checked.problems
            funnel.counts["executable"] += checked.executable
            funnel.dropped.update(checked.dropped)
            progress.update(min(start + BATCH, len(found)))
    single = duplicates.unique(held, config.similarity)
    kept = duplicates.away_from(single, avoided, config.avoid_similarity)
    funnel.counts |= {"deterministic": len(held), "unique": len(single), "kept": len(kept)}
    funnel.dropped |= {"near-duplicate": len(held) - len(single), "close to a benchmark": len(single) - len(kept)}
    return kept
