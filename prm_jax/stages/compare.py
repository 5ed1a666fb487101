"""Command `compare`: finished runs in, tables out: each pass@1, the mean, the differences; and the runs' PRMs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from prm_jax.errors import UserError
from prm_jax.evaluation import plain
from prm_jax.evaluation.across_runs import across_runs
from prm_jax.evaluation.prm_pairs import JUDGED, PrmSummary, across_prms, read_judged
from prm_jax.evaluation.results import PolicyResult
from prm_jax.labelling.jsonl import write_text
from prm_jax.report.table import prms_table, runs_table
from prm_jax.stages.run_directory import RunDirectory

_STAGE = "evaluate/prm"


def compare(runs: Sequence[str], out: str | None = None) -> None:
    """Prints how the policies compare and, where every run has judged a PRM, how the PRMs do.

    Args:
      runs: run directories, each with a finished `evaluate`.
      out: a file that gets the same figures as JSON; its folder is made.

    Raises:
      UserError: a run has no results, or damaged ones, they are of different problems, or `out` cannot be written.
    """
    summaries = across_runs([_results(run) for run in runs])
    prms = _prms(runs)
    if out:
        content = {"runs": list(runs), "policies": plain.to_plain(summaries), "prms": plain.to_plain(prms)}
        write_text(out, json.dumps(content, indent=2) + "\n")
    print(runs_table(summaries), end="")
    if prms:
        print(prms_table(prms), end="")


def _prms(runs: Sequence[str]) -> tuple[PrmSummary, ...]:
    """The runs' PRMs on the held-out variants; none where a run has not finished judging one."""
    folders = {run: RunDirectory(run).folder(_STAGE) for run in runs}
    if not all(RunDirectory(run).is_done(_STAGE) and (folder / JUDGED).exists() for run, folder in folders.items()):
        return ()
    return across_prms({run: read_judged(folder) for run, folder in folders.items()})


def _results(run_dir: str) -> list[PolicyResult]:
    folder = RunDirectory(run_dir).folder("evaluate")
    files = sorted(folder.glob("*/result.json")) if folder.exists() else []
    # The folder `prm` holds a result of another kind; SFT, what the arms start from, comes first.
    names = sorted((file.parent.name for file in files if file.parent.name != "prm"), key=lambda name: name != "sft")
    if not names:
        raise UserError(f"{run_dir} holds no results: run `prm_jax evaluate` there first")
    return [plain.load(PolicyResult, folder / name / "result.json") for name in names]
