"""Stage `mine`: source trees in, problems out: `problems.jsonl`, and `funnel.json`, which says what became of the rest.

Read, executed, told apart: the files are read by a pool of processes, the functions executed in the sandbox, their
duplicates dropped. The folder is a domain (`problems/domain.py`): `gin/data/mined.gin` serves its problems. The corpus,
all functions with docstrings, stands beside them. An interrupted run goes on at the files that it had not read.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox
from prm_jax.mining import duplicates
from prm_jax.mining.checks import check
from prm_jax.mining.config import MiningConfig
from prm_jax.mining.corpus import write_corpus
from prm_jax.mining.functions import FileReport
from prm_jax.mining.funnel import Funnel
from prm_jax.mining.journal import ReportJournal
from prm_jax.mining.pool import read_files
from prm_jax.mining.walk import default_roots, find_files
from prm_jax.problems.domain import PROBLEMS_FILE
from prm_jax.problems.jsonl import to_line
from prm_jax.problems.problem import Problem
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.training.progress import Progress

FUNNEL = "funnel.json"
JOURNAL = "read.jsonl"
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
    avoided = _avoided(config)
    found, documented, lines_per_minute = _read(roots, config, funnel, folder / JOURNAL)
    kept = _select(found, avoided, experiment, funnel)
    if config.corpus:
        write_corpus(folder, _corpus(documented, avoided, config, funnel))
    funnel.packages.update(problem.id.split("/")[1] for problem in kept)
    (folder / PROBLEMS_FILE).write_text("".join(to_line(problem) + "\n" for problem in kept))
    write_json(folder / FUNNEL, {**funnel.plain(), "lines_per_minute": lines_per_minute})
    (folder / JOURNAL).unlink()
    for line in funnel.lines():
        print(f"mine: {line}")
    return {
        "problems": len(kept),
        "packages": len(funnel.packages),
        "corpus": funnel.corpus["functions"],
        **({} if lines_per_minute is None else {"lines_per_minute": round(lines_per_minute)}),
    }


def _avoided(config: MiningConfig) -> list[Problem]:
    """The test problems that none may be close to.

    Raises:
      UserError: some cannot be had; without them a problem that judges a policy could come to teach it.
    """
    problems: list[Problem] = []
    for source in config.avoid:
        try:
            problems += [problem for problem in source.load() if problem.split == "test"]
        except UserError as error:
            left = "".join(f"@{type(each).__name__}()," for each in config.avoid if each != source)
            raise UserError(
                f"MiningConfig.avoid names {type(source).__name__}, which cannot be loaded ({error}), so that mined "
                "problems could be its test problems: get it (MBPP: --gin.MBPP='\"/data/mbpp.jsonl\"'; HumanEval: "
                f"pip install \"prm_jax[benchmarks]\"), or leave it out knowingly: --gin.MiningConfig.avoid='({left})'"
            ) from error
    return problems


def _read(
    roots: tuple[str, ...], config: MiningConfig, funnel: Funnel, journal_path: epath.Path
) -> tuple[list[Problem], list[Problem], float | None]:
    """What may become problems, what may become corpus, each in the order of the ids, and lines read per minute.

    The last is None where an earlier run had read all of it.
    """
    files = find_files(roots, funnel.skipped)
    if not files:
        raise UserError(f"no .py file below {', '.join(roots)}: give folders of Python source to --roots")
    problems: dict[str, Problem] = {}
    documented: dict[str, Problem] = {}

    def add(report: FileReport) -> None:
        funnel.add(report)
        problems.update((problem.id, problem) for problem in report.problems)
        documented.update((problem.id, problem) for problem in report.corpus)

    with ReportJournal(journal_path, files) as journal, Progress("mine: read", len(files)) as progress:
        for report in journal.known.values():
            add(report)
        known, start = funnel.counts["lines"], time.monotonic()
        left = [file for file in files if file not in journal.known]
        for done, (file, report) in enumerate(read_files(left, config), start=1 + len(journal.known)):
            add(report)
            journal.note(file, report)
            progress.update(done, {"candidates": len(problems)})
        rate = 60 * (funnel.counts["lines"] - known) / (time.monotonic() - start) if left else None
    return [problems[key] for key in sorted(problems)], [documented[key] for key in sorted(documented)], rate


def _select(
    found: list[Problem], avoided: list[Problem], experiment: Experiment, funnel: Funnel
) -> tuple[Problem, ...]:
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
    unique, kept = _apart(held, avoided, config, funnel.dropped)
    funnel.counts |= {"deterministic": len(held), "unique": unique, "kept": len(kept)}
    return kept


def _corpus(
    documented: list[Problem], avoided: list[Problem], config: MiningConfig, funnel: Funnel
) -> tuple[Problem, ...]:
    """Those of the functions with docstrings that are no near-duplicates, and that are not to be avoided."""
    with Progress("mine: corpus", len(documented)) as progress:
        _, kept = _apart(documented, avoided, config, funnel.corpus, progress.update)
    funnel.corpus |= {"functions": len(kept), "lines": sum(each.reference.count("\n") for each in kept)}
    return kept


def _apart(
    problems: list[Problem],
    avoided: list[Problem],
    config: MiningConfig,
    dropped: collections.Counter[str],
    progress: Callable[[int], None] | None = None,
) -> tuple[int, tuple[Problem, ...]]:
    """How many problems are alone of their kind, and those of them that are close to no benchmark."""
    found = duplicates.select(problems, config.similarity, avoided, config.avoid_similarity, progress)
    dropped["nested too deeply"] += found.too_deep
    dropped["near-duplicate"] += len(problems) - found.unique - found.too_deep
    dropped["close to a benchmark"] += found.unique - len(found.kept)
    return found.unique, found.kept
