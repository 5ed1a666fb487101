"""Verification in a real sandbox: verdicts, exact labels, and what counts as unknown."""

import dataclasses

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.label import LabelConfig
from prm_jax.labelling.labelled_program import Label
from prm_jax.ppo.quality import MEASURES, Quality
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


SHABBY = "def f(x):\n    l = 0\n    for _ in range(2):\n        l += x + 1\n    return l\n"


def test_passing_programs_are_measured_for_quality(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "constraints.toml").write_text('[calls]\nbanned = ["range"]\n')
    quality = Quality(cost=1.0, constraints=1.0, domains=(str(folder),))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        got = verify(
            [PROBLEM] * 3, [REFERENCE, SHABBY, TEXTS[1]], False, sandbox=sandbox, config=LabelConfig(), quality=quality
        )
    assert got[2].integrity is None and not got[2].passed
    first, second = (dict(zip(MEASURES, entry.integrity, strict=True)) for entry in got[:2])
    # One-letter names: x and y; x and l, which is easily misread.
    assert first == {"structure": 1.0, "naming": 0.5**0.5, "calls": 1.0, "cost": 1.0, "constraints": 1.0}
    assert second.pop("cost") < 0.5
    assert second == {"structure": 1.0, "naming": 0.5**0.75, "calls": 1.0, "constraints": 0.5}


def test_a_problem_of_no_domain_breaks_no_rules(tmp_path):
    (tmp_path / "constraints.toml").write_text('[calls]\nbanned = ["range"]\n')
    quality = Quality(constraints=1.0, domains=(str(tmp_path),))
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        (got,) = verify([PROBLEM], [SHABBY], True, sandbox=sandbox, config=LabelConfig(), quality=quality)
    assert got.integrity[MEASURES.index("constraints")] == 1.0 and got.labels is not None


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
