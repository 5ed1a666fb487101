"""From `ReportData` to what the templates print: finished strings, tables and drawings, section by section.

`write.py` calls `page`; the templates hold no arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from prm_jax.evaluation.bootstrap import NOTHING, Interval
from prm_jax.evaluation.prm_eval import PrmResult, ProgramsResult
from prm_jax.evaluation.results import DifficultyResult, PolicyResult, differences
from prm_jax.report.data import ReportData
from prm_jax.report.numbers import DASH, number, percent, percent_range, points, points_range, seconds
from prm_jax.report.plots import (
    Bar,
    Line,
    bar_chart,
    line_chart,
    reliability_diagram,
    series_class,
    span_chart,
    stacked_bars,
)
from prm_jax.report.programs import program_view

MOST_PROGRAMS = 40
_MOST_CONFIGURATION = 2000


@dataclasses.dataclass(frozen=True)
class CurveKind:
    """A metric that has a place in the report: its name, the chart's title, what is on the y axis, and its unit."""

    metric: str
    title: str
    y_title: str
    percent: bool = False


CURVES = (
    CurveKind("pass_rate", "Pass rate on training prompts", "rollouts that pass", percent=True),
    CurveKind("validation_pass_at_1", "Validation problems", "pass@1", percent=True),
    CurveKind("reward", "Reward", "mean reward of a rollout"),
    CurveKind("kl", "Distance to the SFT policy", "KL, nats per token"),
)
DETECTORS = (
    CurveKind("steps", "Steps per program", "steps"),
    CurveKind("tokens", "Tokens per program", "tokens"),
    CurveKind("tokens_per_step", "Tokens per step", "tokens"),
    CurveKind("comment_share", "Comments", "share of steps", percent=True),
    CurveKind("prm_score", "PRM score", "mean score of a step"),
    CurveKind("one_outcome_share", "Groups with one outcome", "share of groups", percent=True),
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawing, its caption and, in the order of the colours, its legend as (name, CSS class)."""

    caption: str
    drawing: Markup
    legend: tuple[tuple[str, str], ...] = ()


def page(data: ReportData) -> dict[str, Any]:
    """Everything that the template `report.html` names."""
    slots = _slots(data)
    return {
        "name": data.name,
        "created": data.created,
        "versions": data.versions,
        "configuration": {key: value[:_MOST_CONFIGURATION] for key, value in data.configuration.items()},
        "baselines": list(differences(data.results, data.baselines)),
        "headline": headline_rows(data, slots),
        "many_samples": any(math.isfinite(result.pass_at_80.value) for result in data.results),
        "headline_figures": _headline_figures(data, slots),
        "difficulties": _difficulties(data.results),
        "curves": _curve_figures(data, CURVES, slots),
        "detectors": _curve_figures(data, DETECTORS, slots),
        "detector_rows": [_detector_row(result) for result in data.results],
        "curve_legend": [(arm, series_class(slots[arm])) for arm in slots if any(c.arm == arm for c in data.curves)],
        "prms": [_prm_view(prm) for prm in data.prms],
        "times": _time_figure(data),
        "update_time": _update_figure(data),
        "time_total": seconds(sum(sum(time.seconds.values()) for time in data.times)),
        "programs": [program_view(shown) for shown in data.programs[:MOST_PROGRAMS]],
        "left_out": max(0, len(data.programs) - MOST_PROGRAMS),
    }


def _slots(data: ReportData) -> dict[str, int]:
    """One colour per arm, the same in all charts."""
    names = [result.name for result in data.results] + [curve.arm for curve in data.curves]
    return {name: slot for slot, name in enumerate(dict.fromkeys(names))}


def headline_rows(data: ReportData, slots: dict[str, int]) -> list[dict[str, Any]]:
    """The result table: one dictionary of finished strings per policy."""
    compared = differences(data.results, data.baselines)
    best = max((result.pass_at_1.value for result in data.results), default=math.nan)
    rows = []
    for result in data.results:
        by_difficulty = {_statements(of): of for of in result.by_difficulty}
        rows.append(
            {
                "name": result.name,
                "series": series_class(slots[result.name]),
                "best": result.pass_at_1.value == best,
                "pass_at_1": percent(result.pass_at_1.value),
                "pass_at_1_range": percent_range(result.pass_at_1),
                "pass_at_10": percent(result.pass_at_10.value),
                "pass_at_10_range": percent_range(result.pass_at_10),
                "pass_at_80": percent(result.pass_at_80.value),
                "pass_at_80_range": percent_range(result.pass_at_80),
                "differences": [_difference(of.get(result.name, NOTHING)) for of in compared.values()],
                "by_difficulty": [
                    _of_group(by_difficulty.get(statements)) for statements in _difficulties(data.results)
                ],
            }
        )
    return rows


def _difference(difference: Interval) -> dict[str, str]:
    return {
        "value": points(difference.value),
        "range": points_range(difference),
        "direction": _direction(difference),
    }


def _direction(difference: Interval) -> str:
    """Whether a difference is clear of zero: "better", "worse" or ""."""
    if not difference.excludes(0.0):
        return ""
    return "better" if difference.value > 0 else "worse"


def _difficulties(results: Sequence[PolicyResult]) -> list[str]:
    """The groups by difficulty, ascending: the same for all policies, which are asked the same problems."""
    groups = sorted((of for result in results for of in result.by_difficulty), key=lambda of: of.lowest)
    return list(dict.fromkeys(map(_statements, groups)))


def _statements(group: DifficultyResult) -> str:
    """`"5"`, or `"5–7"` for a group of several difficulties."""
    return str(group.lowest) if group.lowest == group.highest else f"{group.lowest}–{group.highest}"


def _of_group(group: DifficultyResult | None) -> tuple[str, str, str]:
    """pass@1, its interval, and pass@10."""
    once, ten = (NOTHING, NOTHING) if group is None else (group.pass_at_1, group.pass_at_10)
    return percent(once.value), percent_range(once), percent(ten.value)


def _headline_figures(data: ReportData, slots: dict[str, int]) -> list[Figure]:
    bars = [Bar(result.name, slots[result.name], result.pass_at_1) for result in data.results]
    base = next((result.pass_at_1.value for result in data.results if result.name in data.baselines[:1]), None)
    figures = [
        Figure(
            "pass@1 with its 95 % interval over problems",
            bar_chart(bars, title="pass@1 of each policy", x_title="pass@1", percent=True, reference=base),
        )
    ]
    difficulties = _difficulties(data.results)
    if len(difficulties) > 1:
        lines = [
            Line(
                result.name,
                slots[result.name],
                tuple((of.lowest + of.highest) / 2 for of in result.by_difficulty),
                tuple(of.pass_at_1.value for of in result.by_difficulty),
                tuple((of.pass_at_1.low, of.pass_at_1.high) for of in result.by_difficulty),
            )
            for result in data.results
        ]
        drawing = line_chart(
            lines, title="pass@1 by difficulty", x_title="statements of the reference", y_title="pass@1", percent=True
        )
        legend = tuple((result.name, series_class(slots[result.name])) for result in data.results)
        figures.append(Figure("pass@1 by difficulty", drawing, legend))
    return [figure for figure in figures if figure.drawing]


def _curve_figures(data: ReportData, kinds: Sequence[CurveKind], slots: dict[str, int]) -> list[Figure]:
    figures = []
    for kind in kinds:
        lines = [
            Line(curve.arm, slots[curve.arm], tuple(map(float, curve.updates)), curve.values)
            for curve in data.curves
            if curve.metric == kind.metric
        ]
        drawing = line_chart(lines, title=kind.title, x_title="update", y_title=kind.y_title, percent=kind.percent)
        figures.append(Figure(kind.title, drawing))
    return [figure for figure in figures if figure.drawing]


def _detector_row(result: PolicyResult) -> dict[str, Any]:
    failures = sorted(result.outcomes.items(), key=lambda item: -item[1])
    return {
        "name": result.name,
        "steps": number(result.mean_steps, 1),
        "tokens": number(result.mean_tokens, 1),
        "neutral": percent(result.neutral_share),
        "visible_only": percent(result.visible_only_share),
        "unknown": percent(result.unknown_share),
        "failures": ", ".join(f"{kind.replace('_', ' ')} {percent(share)}" for kind, share in failures),
    }


def _prm_view(prm: PrmResult) -> dict[str, Any]:
    bars = [Bar(of.operator, 0, Interval(of.auc, math.nan, math.nan)) for of in prm.operators]
    operators = bar_chart(bars, title="AUC by mutation operator", x_title="area under the ROC curve", reference=0.5)
    sets = (("held-out mutants", 0, prm.mutants.calibration), ("the policy's own programs", 1, prm.own.calibration))
    figures = [
        Figure("Area under the curve by mutation operator; 0.5 is chance", operators),
        Figure(
            "Calibration: a mark's size is its share of the steps",
            reliability_diagram(sets, title="Calibration of the PRM"),
            tuple((name, series_class(slot)) for name, slot, _ in sets),
        ),
    ]
    return {
        "name": prm.name,
        "facts": [
            ("AUC on held-out mutants, mean over operators", number(prm.mutant_auc, 3), ""),
            ("the same without seeing the prompt", number(prm.blind_auc, 3), ""),
            *_facts("held-out mutants", prm.mutants),
            *_facts("the policy's own programs", prm.own),
        ],
        "figures": [figure for figure in figures if figure.drawing],
    }


def _facts(of: str, result: ProgramsResult) -> list[tuple[str, str, str]]:
    auc, found = result.auc, result.localisation
    counted = f"{result.right_steps:,} right and {result.wrong_steps:,} wrong steps of {result.programs:,} programs"
    spread = f"{number(auc.low, 3)} to {number(auc.high, 3)}; " if math.isfinite(auc.low) else ""
    chance = f"{found.programs:,} failing programs; chance {percent(found.chance)} %" if found.programs else DASH
    return [
        (f"AUC over all steps of {of}", number(auc.value, 3), spread + counted),
        (f"first wrong step found, {of} (%)", percent(found.accuracy), chance),
        (f"calibration error, {of}", number(result.calibration.error, 3), ""),
    ]


def _time_figure(data: ReportData) -> Figure:
    parts = list(dict.fromkeys(part for time in data.times for part in time.seconds))
    slots = {part: slot for slot, part in enumerate(parts)}
    rows = [(time.stage, [(part, slots[part], amount) for part, amount in time.seconds.items()]) for time in data.times]
    legend = tuple((part, series_class(slot)) for part, slot in slots.items())
    return Figure("Wall time", stacked_bars(rows, title="Wall time by stage", x_title="seconds"), legend)


def _update_figure(data: ReportData) -> Figure:
    shown = data.update_time
    if shown is None:
        return Figure("", Markup(""))
    lanes = [(name, slot, spans) for slot, (name, spans) in enumerate(shown.lanes.items())]
    drawing = span_chart(lanes, title="Where an update's time goes", x_title="seconds since the update began")
    return Figure(f"Where an update's time goes: update {shown.update} of {shown.arm}, the median one", drawing)
