"""PRMs of several runs on the same programs, with made-up scores."""

import math

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.prm_pairs import JudgedProgram, across_prms, read_judged, write_judged
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.labelling.labelled_program import Label, LabelledProgram

N, W, R = (int(each) for each in (Label.NEUTRAL, Label.WRONG, Label.RIGHT))
NAN = math.nan
# The second PRM finds both wrong steps, the first one of them.
FIRST = [JudgedProgram("p", (0.9, 0.2, NAN), (R, W, N)), JudgedProgram("q", (0.4, 0.6), (R, W))]
SECOND = [JudgedProgram("p", (0.9, 0.1, NAN), (R, W, N)), JudgedProgram("q", (0.8, 0.3), (R, W))]


def test_gains_are_over_the_first_run():
    first, second = across_prms({"a": FIRST, "b": SECOND}, resamples=200)
    assert (first.programs, second.programs) == (2, 2)
    # Pairs of right and wrong: 0.9 and 0.4 against 0.2 and 0.6.
    assert (first.auc.value, first.first_wrong.value) == (0.75, 0.5)
    assert (first.auc_gain, first.first_wrong_gain) == (None, None)
    assert (second.auc.value, second.first_wrong.value) == (1.0, 1.0)
    assert (second.auc_gain.value, second.first_wrong_gain.value) == (0.25, 0.5)
    # A draw of the problem p alone has no gain, one of q alone a whole one.
    assert (second.first_wrong_gain.low, second.first_wrong_gain.high) == (0.0, 1.0)


def test_a_first_wrong_step_that_is_not_scored_is_not_looked_for():
    programs = [JudgedProgram("p", (0.9, NAN), (R, W)), JudgedProgram("p", (0.8, 0.9), (R, R))]
    (found,) = across_prms({"a": programs})
    assert found.programs == 0 and math.isnan(found.first_wrong.value) and math.isnan(found.auc.value)


@pytest.mark.parametrize(
    "other",
    [
        FIRST[:1],
        [JudgedProgram("o", (0.9, 0.2, NAN), (R, W, N)), FIRST[1]],
        [JudgedProgram("p", (0.9, 0.2, NAN), (R, R, N)), FIRST[1]],
        [JudgedProgram("p", (0.9, NAN, NAN), (R, W, N)), FIRST[1]],
    ],
)
def test_other_programs_are_refused(other):
    with pytest.raises(UserError, match="different programs"):
        across_prms({"a": FIRST, "b": other})


def test_what_was_kept_is_read_again(tmp_path):
    row = LabelledProgram("p", "s", "test", "", "xx", (1, 2), (Label.RIGHT, Label.WRONG), False, "o", "m", "")
    broken = LabelledProgram("p", "s", "test", "", "xx", (1, 2), (W, N), False, "o", "m", "syntax_error")
    write_judged([ScoredProgram(row, (0.5, NAN)), ScoredProgram(broken, (0.1, 0.1))], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["judged.jsonl"]
    (kept,) = read_judged(tmp_path)
    assert (kept.problem_id, kept.labels, kept.scores[0], math.isnan(kept.scores[1])) == ("p", (R, W), 0.5, True)


def test_the_file_is_replaced_and_never_half_written(tmp_path):
    (tmp_path / "judged.jsonl").write_text("before")
    with (tmp_path / "judged.jsonl").open() as reader:
        write_judged([], tmp_path)
        assert reader.read() == "before" and read_judged(tmp_path) == []


@pytest.mark.parametrize(
    "line", ['{"problem_id": "p", "sco', "[]", '{"scores": []}', '{"problem_id": "p", "other": 1}']
)
def test_a_damaged_line_is_named(tmp_path, line):
    row = LabelledProgram("p", "s", "test", "", "x", (1,), (N,), True, "o", "m", "")
    write_judged([ScoredProgram(row, (NAN,))], tmp_path)
    with (tmp_path / "judged.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=r"judged\.jsonl:2: .*`prm_jax evaluate`"):
        read_judged(tmp_path)
