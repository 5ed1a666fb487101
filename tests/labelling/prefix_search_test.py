"""Prefix search with policies that are written down here."""

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.label import LabelConfig
from prm_jax.labelling.labelled_program import Label
from prm_jax.labelling.prefix_search import PrefixSearchConfig, search_prefixes
from prm_jax.labelling.tally import Tally
from prm_jax.problems.problem import Problem, Test

N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT
GOOD = """\
def f(xs):
    a = len(xs)
    # A remark.
    b = a + 1
    if a > 100:
        b = 0
    c = b * 2
    return c
"""
PROBLEM = Problem("p", "hand", "train", "", "f", GOOD, (Test("f([1])", "4"), Test("f([])", "2")))
BAD = GOOD.replace("b = a + 1", "b = a + 3")
REVISED = PrefixSearchConfig(completions=2)
PLAIN = LabelConfig()


class Imitator:
    """Goes on as the reference does, so that it saves exactly the beginnings that are the reference's."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, pairs, count, seed):
        self.asked.append([prefix for _, prefix in pairs])
        lines = GOOD.splitlines(keepends=True)
        return [["nothing", prefix + "".join(lines[prefix.count("\n") :])][:count] for _, prefix in pairs]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as box:
        yield box


def search(sandbox, texts, config=REVISED, policy=None, labels=PLAIN):
    return search_prefixes([(PROBLEM, text) for text in texts], policy or Imitator(), sandbox, config, labels)


def test_the_first_step_that_cannot_be_saved_is_wrong(sandbox):
    policy = Imitator()
    (row,) = search(sandbox, [BAD], policy=policy)
    assert row.labels == (R, R, N, W, N, N, N, N, N)
    assert (row.method, row.operator, row.outcome, row.failing_test) == ("prefix_search", "sample", "wrong_answer", 0)
    # Seven steps have a say, so that three rounds find the place; prefixes end with a line.
    assert len(policy.asked) == 3 and all(prefix.endswith("\n") for (prefix,) in policy.asked)
    (row,) = search(sandbox, [BAD], labels=LabelConfig(after_error="wrong"))
    assert row.labels == (R, R, N) + (W,) * 6


def test_the_tally_says_where_the_trace_puts_the_wrong_step(sandbox):
    tally = Tally()
    unknown_name = GOOD.replace("c = b * 2", "c = d * 2")
    # The two agree that `b = a + 3` is wrong. A policy that cannot go on behind `a` saves less than the trace.
    samples = [(PROBLEM, BAD), (PROBLEM, unknown_name), (PROBLEM, GOOD)]
    search_prefixes(samples, Imitator(), sandbox, REVISED, PLAIN, tally)
    assert tally.runs == {"samples": 3} and not tally.dropped

    def weak(pairs, count, seed):
        return [
            ["no"] if "b =" in prefix else Imitator()([(problem, prefix)], count, seed)[0] for problem, prefix in pairs
        ]

    late = GOOD.replace("return c", "return b")
    search_prefixes([(PROBLEM, late)], weak, sandbox, REVISED, PLAIN, tally)
    assert tally.agreement == {
        "trace against prefix_search: same step": 1,
        "diagnostics against prefix_search: same step": 1,
        "trace against prefix_search: later": 1,
    }


def test_all_programs_are_one_batch_in_each_round(sandbox):
    policy = Imitator()
    late = GOOD.replace("return c", "return b")
    rows = search(sandbox, [BAD, late, GOOD], policy=policy)
    assert [len(asked) for asked in policy.asked] == [2, 2, 2]
    # What no test executes stays neutral: the branch for long lists.
    assert rows[1].labels == (R, R, N, R, R, N, R, W, N)
    assert rows[2] is None


def test_stopping_too_early_is_wrong_at_the_end(sandbox):
    (row,) = search(sandbox, [GOOD.removesuffix("    return c\n")])
    assert row.labels == (R, R, N, R, R, N, R, W)
    (row,) = search(sandbox, [GOOD.removesuffix(" c\n")])
    assert row.labels == (R, R, N, R, R, N, R, W, N)


def test_only_what_could_be_revised_is_kept_unless_told_otherwise(sandbox):
    hopeless = "def g(xs):\n    return 1\n"
    assert search(sandbox, [hopeless, GOOD]) == [None, None]
    everything = PrefixSearchConfig(completions=2, revised_only=False)
    rows = search(sandbox, [hopeless, GOOD], everything)
    assert rows[0].labels == (W, N, N)
    assert rows[1].passed and rows[1].labels == (R, R, N, R, R, N, R, R, R)
    # Where no program passes, nobody knows whether the policy can solve the problem at all.
    assert search(sandbox, [hopeless], everything) == [None]


def test_problems_that_are_too_hard_or_too_easy_are_left_out(sandbox):
    texts = [BAD, GOOD, GOOD, GOOD]
    assert search(sandbox, texts, PrefixSearchConfig(completions=2, max_pass_rate=0.5))[0] is None
    assert search(sandbox, texts, PrefixSearchConfig(completions=2, min_pass_rate=0.8))[0] is None
    assert search(sandbox, texts, PrefixSearchConfig(completions=2, min_pass_rate=0.5))[0] is not None
    with pytest.raises(UserError, match="min_pass_rate"):
        PrefixSearchConfig(min_pass_rate=0.5, max_pass_rate=0.4)


def test_a_completion_that_changes_the_prefix_saves_nothing(sandbox):
    assert search(sandbox, [BAD], policy=lambda pairs, count, seed: [[GOOD] * count for _ in pairs])[0].first_wrong == 3
    bad_first = BAD.replace("len(xs)", "len( xs)")
    rows = search(sandbox, [bad_first], policy=lambda pairs, count, seed: [[GOOD] * count for _ in pairs])
    assert rows[0].labels[:2] == (R, W)


def test_a_reference_that_fails_labels_nothing(sandbox):
    broken = Problem("q", "hand", "train", "", "f", BAD, PROBLEM.tests)
    assert search_prefixes([(broken, BAD)], Imitator(), sandbox, REVISED, LabelConfig()) == [None]
