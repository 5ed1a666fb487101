"""Programs as rows of steps."""

import dataclasses
import math

from prm_jax.evaluation.score import ScoredProgram
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.report.data import ShownProgram
from prm_jax.report.programs import program_view, score_colour
from prm_jax.text.steps import split_steps

TEXT = "def f(x):\n    # é\n    y = [\n        x]\n    return y\n"
N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT


def shown(text, labels, scores, passed=False):
    ends = tuple(step.end for step in split_steps(text))
    outcome = "passed" if passed else "wrong_answer"
    row = LabelledProgram("p/1", "s", "test", "Do it.", text, ends, labels, passed, "sample", "trace", outcome)
    return ShownProgram("sft", ScoredProgram(row, scores))


PROGRAM = shown(TEXT, (R, N, R, W, N), (0.9, math.nan, 0.3, 0.2, 0.1))


def test_steps_keep_their_lines_text_scores_and_marks():
    view = program_view(PROGRAM)
    assert [step.line for step in view.steps] == ["1", "2", "3", "5", ""]
    assert [step.text for step in view.steps[:-1]] == ["def f(x):", "    # é", "    y = [\n        x]", "    return y"]
    assert [step.score for step in view.steps] == ["0.90", "", "0.30", "0.20", "0.10"]
    assert [step.meaning for step in view.steps] == ["right", "not judged", "right", "wrong", "not judged"]
    assert (view.verdict, view.passed, view.cut) == ("wrong answer", False, False)


def test_only_a_failing_program_has_a_suspect():
    assert [step.suspected for step in program_view(PROGRAM).steps] == [False, False, True, False, False]
    scored = PROGRAM.scored
    passed = dataclasses.replace(scored, labelled=dataclasses.replace(scored.labelled, passed=True))
    assert not any(step.suspected for step in program_view(ShownProgram("sft", passed)).steps)


def test_colours_tell_low_from_high_and_nothing_from_both():
    assert score_colour(0.0) == "rgba(213,94,0,0.60)"
    assert score_colour(1.0) == "rgba(0,114,178,0.60)"
    assert score_colour(0.5).endswith("0.00)")
    assert score_colour(math.nan) == "transparent"


def test_endless_programs_are_cut():
    text = "x = 1\n" * 5000
    view = program_view(shown(text, (R,) * 5001, (0.5,) * 5001))
    assert view.cut
    assert sum(len(step.text) for step in view.steps) <= 3000
