"""Where the trace puts the wrong step of mutants that were made by hand."""

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.agreement import chosen_mutants, compare
from prm_jax.labelling.label import LabelConfig, label_problems, run_references
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.tally import Tally
from prm_jax.problems.problem import Problem, Test

REFERENCE = "def f(xs):\n    total = sum(xs)\n    twice = total * 2\n    return twice\n"
PROBLEM = Problem("p", "hand", "train", "", "f", REFERENCE, (Test("f([1, 2])", "6"),))


def mutant(text, edited, **options):
    labels = (Label.NEUTRAL,) * (edited + 1)
    return LabelledProgram(
        "p", "hand", "train", "", text, (), labels, False, "off_by_one", "mutation", "", edited, **options
    )


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as box:
        yield box


def test_places(sandbox):
    (reference,) = run_references([PROBLEM], sandbox, LabelConfig())
    wrong = mutant(REFERENCE.replace("total * 2", "total * 3"), 2)
    # As if the edit had been elsewhere.
    earlier, later = (mutant(wrong.text, edited) for edited in (3, 1))
    unknown = mutant(REFERENCE.replace("total * 2", "totl * 2"), 2)
    told = compare([(reference, row) for row in (wrong, earlier, later, unknown)], [0.5] * 4, sandbox)
    assert told == {
        "trace against mutation: same step": 1,
        "trace against mutation: earlier": 1,
        "trace against mutation: later": 1,
        "diagnostics against mutation: same step": 1,
    }


def test_only_mutants_that_fail_the_problems_own_tests_are_compared():
    failing = [mutant(str(i), 1) for i in range(5)]
    others = [
        mutant("late", 1, by_generated=True),
        LabelledProgram("p", "", "", "", "", (), (), True, "reference", "", ""),
    ]
    assert chosen_mutants([*failing, *others], 9, 0) == failing
    some = chosen_mutants([*failing, *others], 2, 0)
    assert len(some) == 2 and some == chosen_mutants([*failing, *others], 2, 0)


def test_labelling_fills_the_tally(sandbox):
    tally = Tally()
    label_problems([PROBLEM], sandbox, LabelConfig(compared_mutants=3), tally)
    assert tally.agreement.total() == 3
