"""Drawing and grading with a made-up policy and a made-up sandbox."""

import json

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.samples import EvaluationConfig, draw_samples, read_samples, write_samples
from prm_jax.execution.verdict import Outcome, Verdict
from prm_jax.problems.problem import Problem, Test

TESTS = (Test("f(1)", "1"), Test("f(2)", "2"), Test("f(3)", "3", visible=False))
PROBLEMS = [Problem(f"p/{i}", "made-up", "test", "Do it.", "f", "", TESTS, difficulty=i) for i in range(2)]
PROGRAM = "def f(x):\n    # one\n    return x\n"
VERDICTS = {
    "right": Verdict(Outcome.PASSED, (True, True, True)),
    "hard-coded": Verdict(Outcome.WRONG_ANSWER, (True, True, False)),
    "wrong": Verdict(Outcome.WRONG_ANSWER, (True, False, True)),
    "broken": Verdict(Outcome.SYNTAX_ERROR, ()),
    "lost": Verdict(Outcome.UNKNOWN, ()),
    PROGRAM: Verdict(Outcome.PASSED, (True, True, True)),
}


def draw(texts, **config):
    seen = []

    def complete(problems, n, seed):
        seen.append((list(problems), n, seed))
        return [texts for _ in problems]

    options = EvaluationConfig(samples_per_problem=len(texts), seed=5, **config)
    samples = draw_samples(PROBLEMS, complete, lambda pairs: [VERDICTS[text] for _, text in pairs], len, options)
    assert seen == [(PROBLEMS, len(texts), 5)]
    return samples


def test_samples_keep_order_and_say_what_came_of_them():
    samples = draw(["right", "hard-coded", "wrong", "broken", "lost"], max_unknown_share=0.5)
    assert [sample.problem_id for sample in samples] == ["p/0"] * 5 + ["p/1"] * 5
    assert [sample.passed for sample in samples[:5]] == [True, False, False, False, False]
    assert [sample.visible_only for sample in samples[:5]] == [False, True, False, False, False]
    assert [sample.known for sample in samples[:5]] == [True, True, True, True, False]


def test_steps_leave_out_comments_and_the_end():
    sample = draw([PROGRAM])[0]
    assert (sample.steps, sample.neutral_steps, sample.tokens) == (2, 1, len(PROGRAM))


def test_too_many_unknown_verdicts_stop_the_evaluation():
    with pytest.raises(UserError, match="could not judge 2 of 4"):
        draw(["right", "lost"])


def test_files_are_in_human_evals_form_and_come_back(tmp_path):
    samples = draw(["right", "wrong"])
    write_samples(tmp_path, samples)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert rows[1] == {"task_id": "p/0", "completion": "wrong"}
    assert len(rows) == 4
    assert read_samples(tmp_path) == samples
    with pytest.raises(UserError, match=r"graded\.jsonl"):
        read_samples(tmp_path / "none")


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match="samples_per_problem"):
        EvaluationConfig(samples_per_problem=0)
    with pytest.raises(UserError, match="temperature"):
        EvaluationConfig(temperature=-1)
