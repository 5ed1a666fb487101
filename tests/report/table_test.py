"""The table for the terminal."""

import dataclasses

from prm_jax.evaluation.across_runs import across_runs
from prm_jax.evaluation.bootstrap import Interval
from prm_jax.evaluation.prm_pairs import PrmSummary
from prm_jax.report.table import prms_table, results_table, runs_table
from prm_jax.report.write import render_report


def test_each_policy_has_a_line_with_its_figures(data):
    results = data.results
    lines = results_table(results).splitlines()
    (outcome,) = [line for line in lines if line.strip().startswith("outcome")]
    # 5 of 12 against 2 of 12 on every problem.
    assert "41.7 (41.7 to 41.7)" in outcome
    assert "+25.0 (+25.0 to +25.0)" in outcome
    (arm,) = [line for line in lines if "<i>arm</i>" in line]
    assert "+50.0 (+50.0 to +50.0)" in arm and "+25.0 (+25.0 to +25.0)" in arm
    (sft,) = [line for line in lines if line.strip().startswith("sft")]
    assert "16.7" in sft and "+" not in sft
    assert "<i>arm</i>" in "".join(lines)


def test_no_figure_is_cut_however_many_columns_there_are(data):
    (first, *_) = data.results
    many = dataclasses.replace(first, pass_at_80=Interval(1.0, 1.0, 1.0))
    names = ("base", "base_few_shot", "sft", "outcome", "first_error_exact")
    table = results_table([dataclasses.replace(many, name=name) for name in names])
    assert "…" not in table and "vs base" in table and "pass@80 %" in table and "visible only %" in table
    assert len(table.strip().splitlines()) == 2 + len(names)


def test_pass_at_80_has_a_column_where_it_was_measured(data):
    assert "pass@80" not in results_table(data.results) and "pass@80" not in render_report(data)
    many = dataclasses.replace(data.results[0], pass_at_80=Interval(0.875, 0.75, 1.0))
    table = results_table([many, *data.results[1:]])
    assert "pass@80 %" in table and "87.5" in table
    page = render_report(dataclasses.replace(data, results=(many, *data.results[1:])))
    assert "pass@80" in page and "87.5" in page


def test_without_the_baselines_there_are_no_differences(data):
    table = results_table(data.results[2:])
    assert "66.7" in table and "+" not in table


def test_runs_stand_beside_their_mean(data):
    lines = runs_table(across_runs([data.results, data.results[:2]])).splitlines()
    (arm,) = [line for line in lines if "<i>arm</i>" in line]
    assert arm.split()[1:5] == ["66.7", "–", "66.7", "(66.7"] and "+25.0 (+25.0 to +25.0)" in arm
    assert "run 2" in lines[0] or "run 2" in lines[1]


def test_prms_stand_beside_the_first():
    share, gain = Interval(0.5, 0.4, 0.6), Interval(-0.01, -0.02, 0.005)
    lines = prms_table([PrmSummary("a", 9, share, share), PrmSummary("b", 9, share, share, gain, gain)]).splitlines()
    first, second = (line for line in lines if line.strip().startswith("run "))
    assert first.count("50.0 (40.0 to 60.0)") == 2 and "−" not in first
    assert second.count("−1.0 (−2.0 to +0.5)") == 2 and second.split()[-1] == "9"
