"""Sums over samples, differences between policies, and the way through JSON."""

import dataclasses
import math

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.plain import load, save
from prm_jax.evaluation.results import PolicyResult, compare, policy_result
from prm_jax.evaluation.samples import GradedSample
from prm_jax.execution.verdict import Outcome

P, W, U = Outcome.PASSED, Outcome.WRONG_ANSWER, Outcome.UNKNOWN


def samples(problem, difficulty, outcomes, visible=False):
    return [GradedSample(problem, difficulty, "x", o, visible or o == P, 10, 3, 1) for o in outcomes]


def test_unknown_samples_count_only_as_unknown():
    result = policy_result("sft", samples("a", 4, [P, W, U, U]) + samples("b", 5, [P, P, P, W], visible=True))
    assert result.pass_at_1.value == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert math.isnan(result.pass_at_10.value)
    assert [(c.known, c.passed, c.unknown) for c in result.counts] == [(2, 1, 2), (4, 3, 0)]
    assert result.unknown_share == pytest.approx(2 / 8)
    assert result.visible_only_share == pytest.approx(1 / 6)
    assert result.outcomes == pytest.approx({"passed": 4 / 6, "wrong_answer": 2 / 6})
    assert (result.mean_tokens, result.mean_steps, result.neutral_share) == (10, 3, 0.25)


def test_no_program_passes_visible_tests_alone_where_all_tests_are_of_one_kind():
    one_kind = [dataclasses.replace(sample, has_both=False) for sample in samples("a", 4, [P, W])]
    assert math.isnan(policy_result("sft", one_kind).visible_only_share)
    both = samples("b", 4, [W, W, P, P], visible=True)
    assert policy_result("sft", [*one_kind, *both]).visible_only_share == 0.5


def test_groups_by_difficulty_are_not_too_small():
    """Three problems of 1 statement and eight of 2 stand together, twelve of 5 alone, the last one joins them."""
    drawn = [
        *(samples(f"a{i}", 1, [P] * 10) for i in range(3)),
        *(samples(f"b{i}", 2, [W] * 10) for i in range(8)),
        *(samples(f"c{i}", 5, [P] + [W] * 9) for i in range(12)),
        samples("d", 9, [W] * 10),
    ]
    result = policy_result("sft", sum(drawn[::-1], []), resamples=50)
    assert [(of.lowest, of.highest, of.problems) for of in result.by_difficulty] == [(1, 2, 11), (5, 9, 13)]
    assert [of.pass_at_1.value for of in result.by_difficulty] == pytest.approx([3 / 11, 1.2 / 13])
    assert [of.pass_at_10.value for of in result.by_difficulty] == pytest.approx([3 / 11, 12 / 13])


def test_a_few_problems_are_one_group():
    result = policy_result("sft", samples("a", 4, [P]) + samples("b", 6, [W]))
    assert [(of.lowest, of.highest, of.problems) for of in result.by_difficulty] == [(4, 6, 2)]
    assert policy_result("sft", []).by_difficulty == ()


def test_pass_at_10_needs_ten_known_samples():
    result = policy_result("sft", samples("a", 4, [P] + [W] * 19) + samples("b", 4, [P] * 9))
    assert result.pass_at_10.value == pytest.approx(0.5)


def test_pass_at_80_needs_eighty_known_samples():
    assert math.isnan(policy_result("sft", samples("a", 4, [P] * 79)).pass_at_80.value)
    assert policy_result("sft", samples("a", 4, [P] + [W] * 159)).pass_at_80.value == pytest.approx(0.5)


def test_differences_are_paired_by_problem_whatever_the_order():
    base = policy_result("sft", samples("a", 4, [P, W]) + samples("b", 4, [W, W]))
    better = policy_result("ppo", samples("b", 4, [P, W]) + samples("a", 4, [P, P]))
    (difference,) = compare([base, better])
    assert (difference.name, difference.baseline) == ("ppo", "sft")
    # Both problems gain the same, so no resample gives another difference.
    assert (difference.difference.value, difference.difference.low, difference.difference.high) == (0.5, 0.5, 0.5)


def test_a_missing_baseline_and_other_problems_are_named():
    one = policy_result("sft", samples("a", 4, [P]))
    other = policy_result("ppo", samples("b", 4, [P]))
    with pytest.raises(UserError, match="no result of the baseline 'orm' among: sft"):
        compare([one], "orm")
    with pytest.raises(UserError, match="different problems"):
        compare([one, other])


def test_a_result_comes_back_from_its_file(tmp_path):
    result = policy_result("sft", samples("a", 4, [P] * 12) + samples("b", 6, [W] * 12))
    save(result, tmp_path / "sft.json")
    assert load(PolicyResult, tmp_path / "sft.json") == result


def test_no_samples_are_no_crash():
    assert math.isnan(policy_result("sft", []).pass_at_1.value)
