"""Labels of variants and of samples, on programs small enough to label by hand."""

import dataclasses
import random

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Verdict
from prm_jax.labelling import label
from prm_jax.labelling.donors import Donors
from prm_jax.labelling.label import LabelConfig, _confirmed, label_problems, label_samples, run_references
from prm_jax.labelling.labelled_program import Label
from prm_jax.labelling.operators import MUTATIONS, REFACTORINGS
from prm_jax.labelling.rows import Reference, variant_row
from prm_jax.labelling.splice import Edit, apply
from prm_jax.labelling.tally import Tally
from prm_jax.labelling.variants import _variant, executed_steps, failing_labels, map_executed, sample_variants
from prm_jax.problems.problem import Problem, Test
from prm_jax.text.steps import split_steps

N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT
REFERENCE = """\
def solve(xs):
    # Add the large ones.
    total = 0
    for x in xs:
        if x > 2:
            total += x
        else:
            total += 0
        if x > 100:
            total = -1
    return total
"""


def problem(reference: str = REFERENCE, id: str = "p", hidden: tuple[Test, ...] = ()) -> Problem:
    tests = (Test("solve([3, 1, 4])", "7"), Test("solve([])", "0"))
    return Problem(id, "hand", "train", "Add the large ones.", "solve", reference, tests + hidden)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as box:
        yield box


def edited(line: str, replacement: str) -> str:
    assert REFERENCE.count(line) == 1
    return REFERENCE.replace(line, replacement)


def variant_of(line: str, replacement: str):
    start = REFERENCE.index(line)
    return _variant(REFERENCE, split_steps(REFERENCE), "edit", Edit(start, start + len(line), replacement))


def test_reference_and_passing_variants_are_right_where_executed(sandbox):
    rows = label_problems([problem()], sandbox, LabelConfig())
    reference = next(row for row in rows if row.operator == "reference")
    # The comment and the branch that no test enters are neutral; the end of a passing program is right.
    assert reference.labels == (R, N, R, R, R, R, R, R, R, N, R, R)
    assert (reference.passed, reference.outcome, reference.failing_test) == (True, "passed", -1)
    assert len(rows) > 15
    for row in rows:
        assert W not in row.labels if row.passed else row.labels.count(W) == 1
        assert len(row.labels) == len(row.step_ends)
        assert row.step_ends[-1] == len(row.text.encode())
        assert row.labels[1] is N
        if not row.passed:
            assert row.first_wrong == row.edited_step
            assert set(row.labels[row.edited_step + 1 :]) <= {N}
            assert set(row.labels[: row.edited_step]) <= {R, N}


def test_a_wrong_step_changes_what_stands_before_it_in_no_way(sandbox):
    for row in label_problems([problem()], sandbox, LabelConfig(seed=3)):
        if not row.passed:
            before = row.text.encode()[: row.step_ends[row.edited_step - 1]]
            assert REFERENCE.encode().startswith(before)


def test_after_error_wrong():
    steps = split_steps(REFERENCE)
    labels = failing_labels(steps, 5, executed_steps(REFERENCE, steps, range(1, 20)), "wrong")
    assert labels == (R, N, R, R, R, W, W, W, W, W, W, W)
    with pytest.raises(UserError, match="after_error"):
        LabelConfig(after_error="right")


def test_deleted_line_marks_the_step_that_takes_its_place():
    variant = variant_of("            total += x\n", "            pass\n")
    assert (variant.edited, variant.spread) == (5, False)
    variant = variant_of("    return total\n", "")
    assert variant.steps[variant.edited].kind == "end"
    # A deleted line in front of a comment marks the code behind the comment.
    text = "def f(a):\n    a += 1\n    # remark\n    return a\n"
    edit = next(iter(MUTATIONS["deleted_statement"].edits(text)))
    variant = _variant(text, split_steps(text), "deleted_statement", edit)
    assert apply(text, edit) == "def f(a):\n    # remark\n    return a\n"
    assert variant.edited == 2


def test_executed_steps_follow_an_edit():
    steps = split_steps(REFERENCE)
    executed = frozenset(range(len(steps))) - {1, 9}
    variant = variant_of("    return total\n", "    result = total\n    return result\n")
    assert variant.spread
    assert map_executed(variant, len(steps), executed) == frozenset(range(13)) - {1, 9}
    variant = variant_of("            total = -1\n", "            total = -2\n            total = 3\n")
    assert map_executed(variant, len(steps), executed) == frozenset(range(13)) - {1, 9, 10}
    variant = variant_of("    total = 0\n", "")
    assert map_executed(variant, len(steps), executed) == frozenset(range(11)) - {1, 8}


def test_else_runs_when_its_block_does():
    steps = split_steps(REFERENCE)
    assert 6 in executed_steps(REFERENCE, steps, {3, 4, 5, 6, 8, 9, 11})
    assert 6 not in executed_steps(REFERENCE, steps, {3, 4, 5, 6, 9, 11})


def test_a_lone_surrogate_in_a_program_moves_no_step():
    text = "def f():\n    a = '\ud83d'\n    return a\n"
    assert executed_steps(text, split_steps(text), {3}) == {0, 2, 3}


def test_sampling_is_seeded_and_without_duplicates():
    variants = [sample_variants(REFERENCE, 3, 2, random.Random("0/p")) for _ in range(2)]
    assert variants[0] == variants[1] != sample_variants(REFERENCE, 3, 2, random.Random("1/p"))
    texts = [variant.text for variant in variants[0]]
    assert len(set(texts)) == len(texts)
    assert REFERENCE not in texts


def test_each_step_has_its_share_of_mutants():
    variants = sample_variants(REFERENCE, 2, 0, random.Random(0))
    by_step = [sum(variant.before == step for variant in variants) for step in range(11)]
    assert max(by_step) == 2
    assert all(by_step[step] == 2 for step in (2, 5, 10))


def test_a_demonstration_is_labelled_by_trace_and_takes_the_references_place(sandbox):
    flawed = dataclasses.replace(problem(id="flawed"), demonstration=edited("x > 2", "x > 3"))
    rows = label_problems(
        [flawed, problem(id="plain")], sandbox, LabelConfig(mutants_per_step=0, refactorings_per_step=0)
    )
    assert [(row.problem_id, row.operator, row.demonstration, row.passed) for row in rows] == [
        ("flawed", "reference", False, True),
        ("flawed", "demonstration", True, False),
        ("plain", "reference", True, True),
    ]
    assert rows[1].method == "trace" and rows[1].first_wrong >= 0


def test_without_labels_on_steps_programs_are_only_told_right_from_wrong(sandbox):
    flawed = edited("x > 2", "x > 3")
    shown = dataclasses.replace(problem(), demonstration=flawed)
    bare = LabelConfig(steps=False, mutants_per_step=0, refactorings_per_step=0)
    reference, demonstration = label_problems([shown], sandbox, bare)
    assert (reference.passed, demonstration.passed) == (True, False)
    assert {*reference.labels, *demonstration.labels} == {N}
    with pytest.raises(UserError, match="teach nothing"):
        LabelConfig(steps=False)


def test_bad_references_are_named(sandbox):
    tally = Tally()
    rows = label_problems([problem(REFERENCE.replace("> 2", "> 3"), "bad"), problem()], sandbox, LabelConfig(), tally)
    assert {row.problem_id for row in rows} == {"p"}
    assert list(tally.skipped) == ["bad"]
    assert "wrong_answer" in tally.skipped["bad"]


def test_hidden_tests_label_nothing(sandbox):
    hidden = problem(hidden=(Test("solve([101])", "'never'", visible=False),))
    rows = label_problems([hidden], sandbox, LabelConfig(mutants_per_step=0, refactorings_per_step=0))
    assert [row.passed for row in rows] == [True]


def test_flaky_and_unknown_give_no_rows():
    class Fixed:
        """A sandbox whose references pass and whose variants get one verdict after the other."""

        def __init__(self) -> None:
            self.calls = 0

        def run(self, programs):
            self.calls += 1
            if self.calls <= 2:  # The references, without a trace and with one.
                return [Verdict(Outcome.PASSED, (True, True), executed_lines=frozenset(range(1, 12)))]
            odd = [Verdict(Outcome.UNKNOWN), Verdict(Outcome.TIMEOUT, (False, False), flaky=True)]
            return odd + [Verdict(Outcome.WRONG_ANSWER, (True, False))] * (len(programs) - 2)

    tally = Tally()
    rows = label_problems([problem()], Fixed(), LabelConfig(refactorings_per_step=0), tally)
    assert tally.dropped == {"unknown": 1, "flaky": 1}
    assert {row.failing_test for row in rows if row.operator != "reference"} == {1}


def test_a_failing_refactoring_of_several_steps_is_dropped():
    row = Verdict(Outcome.WRONG_ANSWER, (False, True))
    steps = split_steps(REFERENCE)
    reference = Reference(problem(), row, steps, frozenset(range(12)))
    variant = variant_of("    return total\n", "    result = total\n    return result\n")
    tally = Tally()
    renamed = type(variant)(**{**variant.__dict__, "operator": next(iter(REFACTORINGS))})
    assert variant_row(reference, renamed, row, "neutral", tally) is None
    assert tally.dropped == {"broken refactoring": 1}


def test_generated_tests_tell_mutants_from_the_reference(sandbox):
    # The tests hold no number above 4, so that nothing is known of the branch for those above 100.
    config = LabelConfig(mutants_per_step=4, generated_inputs=40)
    weak, tally = [row for row in label_problems([problem()], sandbox, config) if row.passed], Tally()
    wide = dataclasses.replace(problem(), tests=(*problem().tests, Test("solve([1, 60, 4])", "64")))
    rows = label_problems([wide], sandbox, config, tally)
    found = [row for row in rows if row.by_generated]
    gained = tally.tests["p"]
    assert found and all(not row.passed and row.labels[row.edited_step] is W for row in found)
    assert {row.failing_test for row in found} == set(range(3, 3 + len(gained)))
    assert all(test.visible for test in gained)
    # The branch is executed now, and so it has a label.
    assert next(row for row in rows if row.operator == "reference").labels == (R, N) + (R,) * 10
    assert weak
    # With the tests that it gained the problem is told apart by its own.
    again = label_problems([wide.with_tests(gained)], sandbox, dataclasses.replace(config, generated_inputs=0))
    texts = {row.text for row in found}
    assert texts == {row.text for row in again if row.text in texts and not row.passed and row.failing_test >= 3}


def test_a_refactoring_that_only_passes_the_tests_is_not_believed():
    visible, passed = Test("solve([])", "0"), Verdict(Outcome.PASSED, (True,))
    reference = Reference(
        dataclasses.replace(problem(), tests=(visible,)), passed, split_steps(REFERENCE), frozenset(range(12)),
        (Test("solve([1])", "0"),),
    )  # fmt: skip

    class Second:
        def run(self, programs):
            assert [program.tests for program in programs] == [reference.generated]
            return [Verdict(Outcome.WRONG_ANSWER, (False,))]

    variant = dataclasses.replace(variant_of("x > 2", "x > 1"), operator="flip_comparison")
    other = dataclasses.replace(variant, text="")
    failed = Verdict(Outcome.SYNTAX_ERROR, (False,))
    pairs = [(reference, variant), (reference, other), (dataclasses.replace(reference, generated=()), variant)]
    verdicts = _confirmed(pairs, [passed, failed, passed], Second(), LabelConfig())
    assert [verdict.passed for verdict in verdicts] == [(True, False), (False,), (True,)]
    row = variant_row(reference, variant, verdicts[0], "neutral", Tally())
    assert (row.by_generated, row.failing_test, row.labels[row.edited_step]) == (True, 1, W)


def test_samples_are_labelled_by_trace(sandbox):
    wrong = edited("            total += x\n", "            total -= x\n")
    short = "def solve(xs):\n    return sum(x for x in xs if x > 2)\n"
    broken = "def solve(xs):\n    total = 0\n    return total +\n"
    samples = [(problem(), text) for text in (wrong, short, broken, "import nothing_at_all\n", "")]
    rows = label_samples(samples, sandbox, LabelConfig())
    assert rows[0].labels == (R, N, R, N, N, W, N, N, N, N, N, N)
    assert (rows[0].method, rows[0].operator, rows[0].failing_test) == ("trace", "sample", 0)
    assert rows[1].labels == (R, R, R)
    assert (rows[2].labels, rows[2].method, rows[2].outcome) == ((R, R, W, N), "diagnostics", "syntax_error")
    assert rows[3].labels[0] is W
    assert set(rows[4].labels) == {N}


def test_samples_of_a_problem_without_a_passing_reference(sandbox):
    assert label_samples([(problem("def solve(xs):\n    return 1\n"), REFERENCE)], sandbox, LabelConfig()) == [None]


def test_foreign_statements_read_only_what_is_bound():
    donors = Donors(
        ["def g(xs):\n    total = len(xs)\n    return total\n", "def h(ys):\n    total = ys[0]\n    return ys\n"]
    )
    texts = {apply(REFERENCE, edit) for edit in donors.edits(REFERENCE, random.Random(0))}
    assert edited("    total = 0\n", "    total = len(xs)\n") in texts
    assert edited("            total = -1\n", "            total = len(xs)\n") in texts
    assert not any("ys" in text for text in texts)


def test_foreign_statements_become_rows(sandbox):
    other = Problem(
        "q", "hand", "train", "Count.", "solve", "def solve(xs):\n    total = len(xs)\n    return total\n",
        (Test("solve([3, 1])", "2"),),
    )  # fmt: skip
    rows = label_problems([problem(), other], sandbox, LabelConfig(mutants_per_step=6))
    foreign = [row for row in rows if row.operator == "foreign_statement"]
    apart = label_problems(
        [problem(), dataclasses.replace(other, split="test")], sandbox, LabelConfig(mutants_per_step=6)
    )
    assert not any("len(xs)" in row.text for row in apart if row.split == "train")
    assert edited("    total = 0\n", "    total = len(xs)\n") in {row.text for row in foreign if not row.passed}


def test_limits_follow_from_a_reference_that_is_not_traced():
    class Traced:
        def run(self, programs):
            return [
                Verdict(Outcome.PASSED, (True, True), cpu_seconds=3.0, executed_lines=frozenset({3}))
                if each.trace
                else Verdict(Outcome.PASSED, (True, True), cpu_seconds=1.0)
                for each in programs
            ]

    (reference,) = run_references([problem()], Traced(), LabelConfig())
    assert (reference.verdict.cpu_seconds, reference.verdict.executed_lines) == (1.0, {3})


def test_a_slow_reference_has_few_variants(sandbox, monkeypatch):
    monkeypatch.setattr(label, "SLOW_SECONDS", 0.0)
    counts = {}
    for most, slow in ((0, 5), (3, 5), (5, 3), (0, 0)):
        tally = Tally()
        label_problems(
            [problem()], sandbox, LabelConfig(variants_per_program=most, variants_per_slow_program=slow), tally
        )
        counts[most, slow] = tally.runs["variants"]
    assert counts[0, 0] > 15
    assert (counts[0, 5], counts[3, 5], counts[5, 3]) == (5, 3, 3)
