"""Steps rewritten by a teacher that is written down here."""

import pytest

from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.card import kind_of
from prm_jax.labelling.label import LabelConfig, label_problems
from prm_jax.labelling.labelled_program import Label
from prm_jax.labelling.operators import REWRITE
from prm_jax.labelling.splice import apply
from prm_jax.labelling.teacher import rewrite_steps
from prm_jax.problems.problem import Problem, Test

REFERENCE = """\
def f(xs):
    # Größe
    total = 0
    for x in xs:
        total += x
    return total
"""
PROBLEM = Problem("p", "hand", "train", "", "f", REFERENCE, (Test("f([1, 2])", "3"),))


def teacher(**lines):
    """Goes on with fixed lines, chosen by the name that the last line of the prefix holds."""

    def complete(pairs, count, seed):
        def after(prefix):
            last = prefix.splitlines()[-1] if prefix else ""
            return next((text for name, text in lines.items() if name in last), "")

        return [[prefix + after(prefix)] * count for _, prefix in pairs]

    return complete


def rewritten(**lines):
    return [apply(REFERENCE, edit) for edit in rewrite_steps([PROBLEM], teacher(**lines), 2, 0)["p"]]


def test_one_step_is_replaced_and_the_rest_stays():
    assert rewritten(Größe="    total = 1\n    return 5\n") == [REFERENCE.replace("total = 0", "total = 1")]
    header = "    for x in xs[1:]:\n"
    assert rewritten(**{"total = 0": header}) == [REFERENCE.replace("    for x in xs:\n", header)]


@pytest.mark.parametrize(
    "line",
    [
        "    total = 0\n",  # The same.
        "    total = 1",  # Not closed.
        "    sum = 0\n",  # Another name: the rest would not fit.
        "    return 0\n",
        "    for total in xs:\n",
        "    # total = 1\n",
        "    total = (\n",
        "",
    ],
)
def test_what_cannot_stand_in_is_left_out(line):
    assert rewritten(Größe=line) == []


def test_a_teacher_that_does_not_keep_the_prefix_teaches_nothing():
    assert rewrite_steps([PROBLEM], lambda pairs, count, seed: [["total = 1\n"]] * len(pairs), 1, 0) == {"p": ()}


def test_rewrites_are_executed_and_labelled():
    edits = rewrite_steps([PROBLEM], teacher(Größe="    total = 1\n", x="        total = total + x\n"), 1, 0)
    config = LabelConfig(mutants_per_step=0, refactorings_per_step=0, rewrites_per_step=1, teacher="there")
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        rows = label_problems([PROBLEM], sandbox, config, rewrites=edits)
    found = {row.text: row for row in rows if row.operator == REWRITE}
    wrong = found[REFERENCE.replace("total = 0", "total = 1")]
    right = found[REFERENCE.replace("total += x", "total = total + x")]
    assert len(found) == 2 and right.passed and Label.WRONG not in right.labels
    assert (wrong.first_wrong, wrong.edited_step) == (2, 2)
    assert kind_of(REWRITE) == REWRITE


def test_rewriting_needs_a_teacher():
    with pytest.raises(UserError, match="teacher"):
        LabelConfig(rewrites_per_step=1)
