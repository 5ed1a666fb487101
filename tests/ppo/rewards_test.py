"""Each reward rule on examples computed by hand: neutral, truncated and unknown rows included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ppo import rewards
from prm_jax.ppo.quality import Plus, Quality
from prm_jax.ppo.rewards import Grade, RewardInputs, StepScores

T = 8
# Row 0 passes, row 1 fails, row 2 is cut by length. Steps end on tokens 1, 3, 5 and 7; row 0's second step is neutral
# and row 2's last one is open.
SCORES = np.array([[0.5, 0.9, 0.2, 0.8], [0.5, 0.25, -0.5, -1.0], [0.4, -0.2, 0.6, 0.0]], np.float32)
ENDS = np.array([[1, 3, 5, 7], [1, 3, 5, 7], [1, 3, 5, -1]])
MASK = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]], bool)


def make_inputs(**changes) -> RewardInputs:
    fields = {
        "step_scores": StepScores(jnp.asarray(SCORES), jnp.asarray(ENDS), jnp.asarray(MASK)),
        "first_wrong": jnp.array([-1, 2, 1]),
        "outcome": jnp.array([1, 0, 0]),
        "graded": jnp.array([Grade.RIGHT, Grade.RUNTIME, Grade.SYNTAX]),
        "final_score": jnp.array([0.5, -0.25, 0.75]),
        "last": jnp.array([7, 7, 6]),
        "truncated": jnp.array([False, False, True]),
        "integrity": jnp.array([[1.0, 0.5, 0.25, 0.5, 0.0], [1.0] * 5, [1.0] * 5]),
        "problem": jnp.array([4, 4, 9]),
        "update": jnp.array(3),
        "length": T,
    }
    return RewardInputs(**(fields | changes))


def rows(*tokens: dict[int, float]) -> np.ndarray:
    out = np.zeros((len(tokens), T), np.float32)
    for row, values in enumerate(tokens):
        for column, value in values.items():
            out[row, column] = value
    return out


HAND = {
    "outcome": (rewards.Outcome(), rows({7: 1.0}, {}, {})),
    "outcome_half": (rewards.Outcome(0.5), rows({7: 0.5}, {}, {})),
    "outcome_graded": (rewards.OutcomeGraded(), rows({7: 1.0}, {7: -0.6}, {6: -1.0})),
    "orm": (rewards.Orm(), rows({7: 0.5}, {7: -0.25}, {6: -1.0})),
    "prm_sum": (
        rewards.PrmSum(),
        rows({1: 0.5, 5: 0.2, 7: 0.8}, {1: 0.5, 3: 0.25, 5: -0.5, 7: -1.0}, {1: 0.4, 3: -0.2, 5: 0.6}),
    ),
    "prm_mean": (
        rewards.PrmMean(weight=0.5, outcome_weight=2.0),
        rows(
            {1: 0.25 / 3, 5: 0.1 / 3, 7: 2 + 0.4 / 3},
            {1: 0.0625, 3: 0.03125, 5: -0.0625, 7: -0.125},
            {1: 0.2 / 3, 3: -0.1 / 3, 5: 0.3 / 3},
        ),
    ),
    "prm_gated": (rewards.PrmGated(), rows({1: 0.5 / 3, 5: 0.2 / 3, 7: 1 + 0.8 / 3}, {}, {})),
    "prm_delta": (
        rewards.PrmDelta(weight=1.0),
        rows({1: 0.5, 5: -0.3, 7: 1 + 0.6}, {1: 0.5, 3: -0.25, 5: -0.75, 7: -0.5}, {1: 0.4, 3: -0.6, 5: 0.8}),
    ),
    # (1 + 0.5 + 0.25) / 3 and (2 * 0.5 + 0.5 + 3 * 0) / 6, of passing programs only.
    "quality": (Quality(weight=0.3), rows({7: 0.3 * 1.75 / 3}, {}, {})),
    "quality_shares": (
        Quality(0.5, structure=0, naming=2, calls=0, cost=1, constraints=3, domains=("d",)),
        rows({7: 0.5 * 1.5 / 6}, {}, {}),
    ),
    "plus": (
        Plus((rewards.PrmGated(), Quality(weight=0.3))),
        rows({1: 0.5 / 3, 5: 0.2 / 3, 7: 1 + 0.8 / 3 + 0.3 * 1.75 / 3}, {}, {}),
    ),
    "first_error": (
        rewards.FirstError(threshold=0.0),
        rows({1: 1 / 3, 5: 1 / 3, 7: 1 + 1 / 3}, {1: 0.25, 3: 0.25, 5: -0.25}, {1: 1 / 3, 3: -1 / 3}),
    ),
    "first_error_exact": (
        rewards.FirstErrorExact(good=0.5, bad=2.0),
        rows({1: 0.5 / 3, 5: 0.5 / 3, 7: 1 + 0.5 / 3}, {1: 0.125, 3: 0.125, 5: -0.5}, {1: 0.5 / 3, 3: -2 / 3}),
    ),
    "outcome_located": (rewards.OutcomeLocated(weight=2.0, blame=0.5), rows({7: 2.0}, {5: -0.5}, {3: -0.5})),
}


@pytest.mark.parametrize("name", HAND)
def test_rule_equals_hand_computation(name):
    rule, expected = HAND[name]
    got = rule(make_inputs())
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_prm_min_gives_the_worst_step_the_credit():
    got = np.asarray(rewards.PrmMin(weight=1.0, temperature=0.1)(make_inputs()))
    weights = np.exp(-SCORES[0, [0, 2, 3]] / 0.1)
    weights /= weights.sum()
    expected = weights * SCORES[0, [0, 2, 3]]
    np.testing.assert_allclose(got[0, [1, 5, 7]], expected + [0, 0, 1], atol=1e-6)
    assert got[1].argmin() == 7 and got[1, 7] < -0.9
    assert got[2].argmin() == 3


@pytest.mark.parametrize("name", HAND)
def test_outcome_that_arrives_as_an_integer_keeps_half_rewards(name):
    rule, _ = HAND[name]
    whole = rule(make_inputs(outcome=jnp.array([1, 0, 0], jnp.int32)))
    real = rule(make_inputs(outcome=jnp.array([1.0, 0.0, 0.0])))
    assert whole.dtype == jnp.float32
    np.testing.assert_array_equal(whole, real)


ALL_RULES = [rule for rule, _ in HAND.values()] + [rewards.PrmMin(), rewards.Random()]


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: type(rule).__name__)
def test_unscored_steps_earn_nothing_and_leave_the_count(rule):
    """Masked = subset: what stands where the mask is False changes nothing."""
    loud = StepScores(jnp.where(MASK, SCORES, -0.999), jnp.where(MASK, ENDS, 2), jnp.asarray(MASK))
    np.testing.assert_array_equal(rule(make_inputs()), rule(make_inputs(step_scores=loud)))


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: type(rule).__name__)
def test_unknown_rows_earn_nothing_and_others_keep_theirs(rule):
    known = jnp.array([True, False, True])
    got, judged = rewards.token_rewards(rule, make_inputs(), known)
    whole = jnp.where(judged, rule(make_inputs()), 0.0)
    assert not got[1].any()
    np.testing.assert_array_equal(got[jnp.array([0, 2])], whole[jnp.array([0, 2])])


def test_what_stands_behind_the_first_wrong_step_is_not_judged():
    inputs = make_inputs()
    for rule in (rewards.FirstErrorExact(), rewards.FirstError(threshold=-0.1), rewards.OutcomeLocated()):
        judged = np.asarray(rule.judged(inputs))
        assert judged[0].all()  # It passed.
        assert judged[1].tolist() == [token <= 5 for token in range(T)]
    assert np.asarray(rewards.FirstErrorExact().judged(inputs))[2].tolist() == [token <= 3 for token in range(T)]
    assert np.asarray(rewards.Outcome().judged(inputs)).all()


def test_a_wrong_step_that_is_not_closed_ends_nothing():
    inputs = make_inputs(first_wrong=jnp.array([-1, 2, 3]))
    assert ENDS[2, 3] < 0
    for rule in (rewards.FirstErrorExact(), rewards.OutcomeLocated()):
        assert np.asarray(rule.judged(inputs))[2].all()


@pytest.mark.parametrize("first_wrong", [[-1, -1, -1], [-1, 0, 0], [-1, 2, 1], [-1, 3, 3], [2, 2, 2]])
def test_a_located_outcome_moves_the_blame_and_leaves_the_sum(first_wrong):
    """Wherever the error is found, or nowhere: every failure loses the same, so that no lines can earn."""
    known = jnp.array([True, True, True])
    inputs = make_inputs(first_wrong=jnp.array(first_wrong))
    got, judged = rewards.token_rewards(rewards.OutcomeLocated(weight=0.75, blame=0.25), inputs, known)
    np.testing.assert_allclose(got.sum(axis=1), [0.75, -0.25, -0.25])
    assert judged[0].all()  # It passed: what a trace says of it is no error.


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: type(rule).__name__)
def test_rules_are_hashable_jit_and_survive_a_program_without_steps(rule):
    hash(rule)
    none = StepScores(jnp.asarray(SCORES), jnp.asarray(ENDS), jnp.zeros_like(MASK))
    got = jax.jit(rule)(make_inputs(step_scores=none))
    assert np.isfinite(got).all()


def test_a_cut_completion_fails_whatever_its_verdict_says():
    inputs = make_inputs(outcome=jnp.array([1, 1, 1]), graded=jnp.array([3, 3, 3]))
    assert rewards.Outcome()(inputs)[2].sum() == 0
    assert float(rewards.OutcomeGraded()(inputs)[2, 6]) == pytest.approx(-0.3)
    assert rewards.PrmGated()(inputs)[2].sum() == 0


def test_a_sum_judges_what_all_of_its_rules_judge():
    inputs = make_inputs()
    alone, summed = rewards.FirstErrorExact(), Plus((rewards.FirstErrorExact(), Quality()))
    assert not alone.judged(inputs).all() and Quality().judged(inputs).all()
    np.testing.assert_array_equal(summed.judged(inputs), alone.judged(inputs))


def test_two_steps_on_one_token_add_up():
    ends = jnp.asarray(ENDS).at[0, 2].set(7)
    steps = StepScores(jnp.asarray(SCORES), ends, jnp.asarray(MASK))
    got = rewards.PrmSum()(make_inputs(step_scores=steps))
    assert float(got[0, 7]) == pytest.approx(1.0)


def test_failure_without_a_found_error_earns_no_process_reward():
    got = rewards.FirstErrorExact()(make_inputs(first_wrong=jnp.array([-1, -1, -1])))
    assert not got[1:].any()
    got = rewards.FirstError(threshold=-1.0)(make_inputs())
    assert not got[1:].any()


BOUNDED = {"PrmMean": 0.5, "PrmMin": 0.5, "PrmDelta": 0.5, "PrmGated": 1.0}
"""The largest weight for an outcome of weight 1 with which the outcome cannot be outvoted."""


@pytest.mark.parametrize("name", BOUNDED)
def test_process_reward_cannot_outvote_the_outcome(name):
    """The best failing program earns no more than the worst passing one, and would with a larger weight."""

    def margin(weight):
        rule = getattr(rewards, name)(weight=weight)
        best, worst = (
            StepScores(jnp.full((3, 4), sign * 0.999), jnp.asarray(ENDS), jnp.asarray(MASK)) for sign in (1, -1)
        )
        return rule(make_inputs(step_scores=worst))[0].sum() - rule(make_inputs(step_scores=best))[1].sum()

    assert margin(BOUNDED[name]) > 0 > margin(1.1 * BOUNDED[name])
    assert getattr(rewards, name)().weight <= BOUNDED[name]


def test_random_depends_on_seed_update_and_row_only():
    wide = {
        "step_scores": StepScores(jnp.zeros((64, 1)), jnp.zeros((64, 1), int), jnp.zeros((64, 1), bool)),
        "last": jnp.zeros(64, int),
        "problem": jnp.zeros(64, int),
        "outcome": jnp.zeros(64),
        "integrity": jnp.zeros((64, 5)),
        "truncated": jnp.zeros(64, bool),
        "length": 1,
    }
    first = rewards.Random(seed=1)(make_inputs(**wide))
    np.testing.assert_array_equal(first, rewards.Random(seed=1)(make_inputs(**wide | {"outcome": jnp.ones(64)})))
    assert (first != rewards.Random(seed=2)(make_inputs(**wide))).any()
    assert (first != rewards.Random(seed=1)(make_inputs(**wide, update=jnp.array(4)))).any()
    assert 16 < float(first.sum()) < 48
