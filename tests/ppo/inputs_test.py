"""Verdicts and labels of single programs become the arrays that reward rules read."""

import dataclasses

import numpy as np

from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.labelled_program import Label
from prm_jax.ppo import inputs, monitor, rewards
from prm_jax.ppo.rewards import Grade
from prm_jax.ppo.rollout import Rollout, StepTable
from prm_jax.ppo.verify import Verified
from prm_jax.text.steps import split_steps

N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT
TEXT = "a = 1\nb = 2\nc = 3\n"


def make(verified, finished=True):
    count, length = len(verified), 12
    zeros = np.zeros((count, length), np.float32)
    completion = np.zeros((count, length), bool)
    completion[:, 3:10] = True
    tokens = completion.astype(np.int32)
    rollout = Rollout(
        tokens,
        tokens,
        tokens,
        completion,
        zeros,
        zeros,
        zeros,
        zeros,
        np.arange(count),
        np.ones(count, bool),
        completion,
    )
    ends = np.tile(np.array([4, 6, 8, 9, -1], np.int32), (count, 1))
    table = StepTable((TEXT,) * count, (split_steps(TEXT),) * count, ends, ends >= 0)
    scores = np.tile(np.linspace(-1, 1, length, dtype=np.float32), (count, 1))
    finished = np.full(count, finished)
    return rollout, table, inputs.gather(rollout, table, verified, finished, scores, update=0)


def test_grades_follow_the_verdicts():
    expected = {
        Outcome.SYNTAX_ERROR: Grade.SYNTAX,
        Outcome.RUNTIME_ERROR: Grade.RUNTIME,
        Outcome.TIMEOUT: Grade.RUNTIME,
        Outcome.MEMORY: Grade.RUNTIME,
        Outcome.KILLED: Grade.RUNTIME,
        Outcome.WRONG_ANSWER: Grade.WRONG,
        Outcome.PASSED: Grade.RIGHT,
    }
    assert {outcome: Verified(outcome).grade for outcome in expected} == expected
    assert not Verified(Outcome.UNKNOWN).known and Verified(Outcome.KILLED).known


def test_scores_and_last_token_are_read_from_the_row():
    _, table, seen = make([Verified(Outcome.PASSED)])
    line = np.linspace(-1, 1, 12, dtype=np.float32)
    np.testing.assert_array_equal(seen.step_scores.scores[0, :4], line[[4, 6, 8, 9]])
    assert int(seen.last[0]) == 9
    assert float(seen.final_score[0]) == line[9]
    np.testing.assert_array_equal(seen.step_scores.mask, table.scored)


def test_a_step_that_never_runs_is_not_scored():
    verified = [
        Verified(Outcome.PASSED, (R, N, R, R)),
        Verified(Outcome.WRONG_ANSWER, (R, N, W, N)),
        Verified(Outcome.WRONG_ANSWER, (N, N, N, N)),
        Verified(Outcome.WRONG_ANSWER),
    ]
    _, _, seen = make(verified)
    np.testing.assert_array_equal(
        seen.step_scores.mask[:, :4], [[1, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(seen.first_wrong, [-1, 2, -1, -1])
    got = rewards.FirstErrorExact()(seen)
    np.testing.assert_allclose(got[1, [4, 6, 8, 9]], [1 / 3, 0, -1 / 3, 0], atol=1e-6)
    assert not got[2:].any()


def first_token(values):
    return np.pad(np.array(values, np.float32)[:, None], ((0, 0), (0, 11)))


def test_monitor_counts_by_hand():
    verified = [Verified(Outcome.PASSED, (R,) * 4), Verified(Outcome.WRONG_ANSWER, (R, W, N, N))]
    rollout, table, seen = make(verified)
    rollout = rollout.replace(rewards=first_token([1.0, 0.5]))
    got = monitor.rollout_metrics(rollout, table, verified, seen, group=2)
    assert got["pass_rate"] == 0.5 and got["mean_reward"] == 0.75
    assert got["steps_per_program"] == 3 and got["tokens_per_program"] == 7
    assert got["unknown_share"] == 0 and got["truncated_share"] == 0 and got["comment_share"] == 0
    assert got["one_outcome_share"] == 0 and got["located_error_share"] == 1


def test_rows_without_a_verdict_count_only_as_unknown():
    """What is known passes and has a comment, what is not is longer, cut, and all of it comments."""
    verified = [Verified(Outcome.PASSED), *[Verified(Outcome.UNKNOWN)] * 3]
    rollout, table, seen = make(verified, finished=np.array([True, False, False, False]))
    texts = ("# one\na = 1\n", *("# one\n# two\n# three\n",) * 3)
    table = dataclasses.replace(table, texts=texts, steps=tuple(map(split_steps, texts)))
    rollout = rollout.replace(
        rewards=first_token([1.0, 9.0, 9.0, 9.0]), known=np.array([entry.known for entry in verified])
    )
    alone = make(verified[:1])
    one = dataclasses.replace(alone[1], texts=texts[:1], steps=table.steps[:1])
    expected = monitor.rollout_metrics(alone[0].replace(rewards=first_token([1.0])), one, verified[:1], alone[2], 1)
    got = monitor.rollout_metrics(rollout, table, verified, seen, group=2)
    assert expected["comment_share"] == 0.5 and expected["one_outcome_share"] == 1
    assert got.pop("unknown_share") == 0.75 and expected.pop("unknown_share") == 0
    assert got == expected


def test_groups_of_one_outcome_ignore_unknown_rows():
    passed = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    known = np.array([1, 1, 0, 1, 1, 1, 0, 0, 0], bool)
    assert monitor.one_outcome_share(passed, known, 3) == 0.5
    assert monitor.one_outcome_share(passed[6:], known[6:], 3) == 0


def test_scorer_gap_is_probability_minus_pass_rate():
    verified = [Verified(Outcome.PASSED), Verified(Outcome.WRONG_ANSWER)]
    _, _, seen = make(verified)
    got = monitor.scorer_metrics("orm", seen, np.array([True, False]), np.array([True, True]))
    score = np.linspace(-1, 1, 12)[9]
    np.testing.assert_allclose([got["score"], got["score_minus_pass_rate"]], [score, (score + 1) / 2 - 0.5], atol=1e-6)
