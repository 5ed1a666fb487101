"""The result tables for the terminal: results in, text out. `evaluate`, `report` and `compare` print them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prm_jax.evaluation.across_runs import Summary
from prm_jax.evaluation.bootstrap import Interval
from prm_jax.evaluation.prm_pairs import PrmSummary
from prm_jax.evaluation.results import BASELINES, PolicyResult, differences
from prm_jax.report.numbers import DASH, number, percent, percent_range, points, points_range

_WIDEST = 1000


def results_table(results: Sequence[PolicyResult], baselines: Sequence[str] = BASELINES) -> str:
    """A table of all policies, in percent and percentage points, with 95 % intervals over problems.

    Args:
      results: the policies, evaluated on the same problems.
      baselines: the policies that the others are compared with; one without a result has no column.
    """
    compared = differences(results, baselines)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("policy", no_wrap=True)
    against = [f"vs {baseline}" for baseline in compared]
    many = any(math.isfinite(result.pass_at_80.value) for result in results)
    for heading in ("pass@1 %", "pass@10 %", *["pass@80 %"] * many, *against, "tokens", "steps", "visible only %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            Text(result.name),
            _interval(result.pass_at_1),
            _interval(result.pass_at_10),
            *[_interval(result.pass_at_80)] * many,
            *(_difference(of.get(result.name)) for of in compared.values()),
            number(result.mean_tokens, 1),
            number(result.mean_steps, 1),
            percent(result.visible_only_share),
        )
    return _text(table)


def runs_table(summaries: Sequence[Summary]) -> str:
    """A table of all policies over several runs: pass@1 in each, the mean, the differences to the baselines."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("policy", no_wrap=True)
    baselines = list(dict.fromkeys(baseline for summary in summaries for baseline in summary.differences))
    runs = [f"run {index + 1}" for index in range(len(summaries[0].runs))]
    for heading in (*runs, "mean pass@1 %", *(f"vs {baseline}" for baseline in baselines)):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in summaries:
        table.add_row(
            Text(summary.name),
            *map(percent, summary.runs),
            _interval(summary.pass_at_1),
            *(_difference(summary.differences.get(baseline)) for baseline in baselines),
        )
    return _text(table)


def prms_table(summaries: Sequence[PrmSummary]) -> str:
    """A table of PRMs on the same held-out variants, in percent; differences are to the first run's."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("PRM of", no_wrap=True)
    for heading in ("AUC %", "vs run 1", "first wrong step %", "vs run 1", "failing programs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, summary in enumerate(summaries, start=1):
        table.add_row(
            f"run {index}",
            _interval(summary.auc),
            _difference(summary.auc_gain),
            _interval(summary.first_wrong),
            _difference(summary.first_wrong_gain),
            str(summary.programs),
        )
    return _text(table)


def _text(table: Table) -> str:
    """As wide as its figures are: none of them is cut."""
    out = io.StringIO()
    width = Console(width=_WIDEST).measure(table).maximum
    Console(file=out, width=width, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().strip("\n").split("\n")) + "\n"


def _interval(share: Interval) -> str:
    return DASH if math.isnan(share.value) else f"{percent(share.value)} ({percent_range(share)})"


def _difference(difference: Interval | None) -> str:
    return DASH if difference is None else f"{points(difference.value)} ({points_range(difference)})"
