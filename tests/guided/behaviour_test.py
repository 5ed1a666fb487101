from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome, Verdict
from prm_jax.guided.behaviour import agreement, by_majority, inputs
from prm_jax.problems.problem import Problem, Test

TESTS = (Test("f([3, 1], 2)", "[5, 3]"), Test("f([4], -1)", "[3]"), Test("f([9], 9)", "[18]", visible=False))
ADD = Problem("add", "hand", "test", "Add y to each.", "f", "", TESTS)

LOOP = "def f(xs, y):\n    out = []\n    for x in xs:\n        out.append(x + y)\n    return out\n"
SHORT = "def f(xs, y):\n    return [x + y for x in xs]\n"
OTHER = "def f(xs, y):\n    return [x + abs(y) for x in xs]\n"  # Differs on negative y alone.
RAISES = "def f(xs, y):\n    raise ValueError\n"
BROKEN = "def f(xs, y:\n"


def test_inputs_are_the_visible_calls_and_others():
    calls = inputs(ADD, 6, 0)
    assert calls[:2] == ("f([3, 1], 2)", "f([4], -1)") and len(calls) == len(set(calls)) == 8
    assert inputs(ADD, 0, 0) == calls[:2]
    assert calls == inputs(ADD, 6, 0) != inputs(ADD, 6, 1)


def test_where_nothing_can_be_called_the_first_program_is_taken(caplog):
    hidden = Problem("h", "hand", "test", "", "f", "", (Test("f(1)", "1", visible=False), Test("assert f(1)", None)))
    assert inputs(hidden, 2, 0) == ()

    def run(programs):
        assert [program.text for program in programs] == [LOOP, SHORT, OTHER]
        return [Verdict(Outcome.PASSED, values=(value,)) for value in ("1", "1", "2")]

    scores = by_majority(run, 0)([hidden, ADD], [[SHORT, LOOP], [LOOP, SHORT, OTHER]])
    assert scores == [[0, 0], [2, 2, 1]]
    assert "1 problems" in caplog.text and ": h" in caplog.text


def test_agreement_counts_and_silence_is_none():
    assert agreement([("1", "2"), ("1", None), ("1", "2"), (None, None), (), ("None",)]) == [2, 1, 2, 0, 0, 1]


def test_programs_that_do_the_same_stand_together_however_they_are_written():
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        judge = by_majority(sandbox.run, 4)
        (scores,) = judge([ADD], [[RAISES, LOOP, OTHER, BROKEN, SHORT, RAISES, RAISES]])
        assert scores == [0, 2, 1, 0, 2, 0, 0]
        # The verdict is not asked for: wrong programs in the majority win.
        assert judge([ADD, ADD], [[OTHER, OTHER, LOOP], [BROKEN]]) == [[2, 2, 1], [0]]
