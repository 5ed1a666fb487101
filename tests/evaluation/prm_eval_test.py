"""A PRM's figures on programs with made-up scores."""

import math

import numpy as np
import pytest

from prm_jax.evaluation.plain import load, save
from prm_jax.evaluation.prm_eval import PrmResult, auc_by_operator, evaluate_prm, labelled_steps
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.labelling.labelled_program import Label, LabelledProgram

N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT
NAN = math.nan


def program(operator, labels, scores, problem="p", outcome=None):
    passed = W not in labels
    outcome = outcome or ("passed" if passed else "wrong_answer")
    ends = tuple(range(1, len(labels) + 1))
    row = LabelledProgram(
        problem, "s", "test", "", "x" * len(labels), ends, labels, passed, operator, "mutation", outcome
    )
    return ScoredProgram(row, scores)


REFERENCE = program("reference", (R, R, R), (0.9, 0.8, 0.6))
GOOD = program("swap", (R, W, N), (0.9, 0.1, 0.2))
BAD = program("drop", (R, W, N), (0.7, 0.75, 0.2))
BROKEN = program("unparsable", (W, N, N), (0.0, 0.0, 0.0), outcome="syntax_error")
SURVIVOR = program("lucky", (R, R, R), (0.9, 0.9, 0.9))


def test_operators_are_measured_apart_and_what_does_not_compile_is_left_out():
    found = {of.operator: of for of in auc_by_operator([REFERENCE, GOOD, BAD, BROKEN, SURVIVOR])}
    assert found.keys() == {"swap", "drop"}
    assert found["swap"].auc == 1.0
    # 0.75 against 0.7, the reference's 0.9, 0.8, 0.6 and the survivor's three 0.9.
    assert found["drop"].auc == pytest.approx(5 / 7)
    result = evaluate_prm("prm", [REFERENCE, GOOD, BAD, BROKEN], [GOOD], [REFERENCE, BAD], resamples=50)
    assert result.mutant_auc == pytest.approx((1.0 + 2 / 4) / 2)
    assert result.blind_auc == pytest.approx(2 / 4)
    assert (result.mutants.programs, result.mutants.right_steps, result.mutants.wrong_steps) == (3, 5, 2)
    assert result.mutants.localisation.accuracy == 0.5
    assert result.own.auc.value == 1.0


def test_an_operator_without_a_right_step_to_compare_with_is_left_out():
    assert auc_by_operator([program("first", (W, N, N), (0.1, 0.5, 0.5))]) == ()


def test_neutral_and_unscored_steps_say_nothing():
    assert labelled_steps(program("swap", (R, N, W, R), (0.9, 0.1, 0.2, NAN))) == [(0.9, True), (0.2, False)]


def test_scores_without_meaning_sit_at_one_half():
    rng = np.random.default_rng(0)
    rows = [program("swap", (R, W, N), tuple(rng.random(3)), problem=f"p{i % 100}") for i in range(1000)]
    result = evaluate_prm("prm", rows, rows, resamples=500)
    assert result.mutants.auc.low < 0.5 < result.mutants.auc.high
    assert result.mutants.auc.high - result.mutants.auc.low < 0.08
    assert math.isnan(result.blind_auc)


def test_nothing_to_measure_is_nan_and_survives_json(tmp_path):
    result = evaluate_prm("prm", [], [], resamples=10)
    assert math.isnan(result.mutant_auc)
    save(result, tmp_path / "prm.json")
    assert repr(load(PrmResult, tmp_path / "prm.json")) == repr(result)
