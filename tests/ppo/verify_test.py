"""Verification in a real sandbox: verdicts, exact labels, and what counts as unknown."""

import dataclasses

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.label import LabelConfig
from prm_jax.labelling.labelled_program import Label
from prm_jax.ppo.rewards import Grade
from prm_jax.ppo.verify import verify
from prm_jax.problems.problem import Problem, Test

REFERENCE = "def f(x):\n    y = x + 1\n    return y * 2\n"
TESTS = (Test("f(1)", "4"), Test("f(5)", "12"), Test("f(-3)", "-4", visible=False))
PROBLEM = Problem("toy/0", "toy", "train", "Add one and double.", "f", REFERENCE, TESTS)
TEXTS = [
    REFERENCE,
    "def f(x):\n    y = x + 1\n    return y * 3\n",
    "def f(x):\n    return x.y\n",
    "def f(x)\n",
]


@pytest.mark.parametrize("exact", [False, True])
def test_programs_get_grades_and_exact_ones_labels(exact):
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        got = verify([PROBLEM] * 4, TEXTS, exact, sandbox=sandbox, config=LabelConfig())
    assert [entry.grade for entry in got] == [Grade.RIGHT, Grade.WRONG, Grade.RUNTIME, Grade.SYNTAX]
    assert all(entry.known for entry in got)
    assert got[0].outcome == Outcome.PASSED and got[0].passed and not got[1].passed
    if not exact:
        assert all(entry.labels is None for entry in got)
        return
    assert got[0].first_wrong == -1 and Label.WRONG not in got[0].labels
    assert got[1].first_wrong == 2
    assert got[2].first_wrong == 1
    assert got[3].first_wrong == 0


def test_tests_that_can_be_cheated_do_not_count_unless_asked_for():
    liar = "class Liar:\n    def __eq__(self, other): return True\ndef f(x):\n    return Liar()\n"
    cheatable = Test("assert f(1) == 4", None)
    both = dataclasses.replace(PROBLEM, tests=(*TESTS[:2], cheatable))
    only = dataclasses.replace(PROBLEM, id="toy/1", tests=(cheatable,))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        for exact in (False, True):
            got = verify([both, only], [REFERENCE, liar], exact, sandbox=sandbox, config=LabelConfig())
            assert got[0].passed and not got[1].known
        (fooled,) = verify([only], [liar], False, sandbox=sandbox, config=LabelConfig(), in_child=True)
    assert fooled.passed
