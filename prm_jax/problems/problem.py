"""`Problem`: what every source of problems gives and every later room takes.

A problem is text only: nothing here executes anything. Sources (`mbpp.py`, `humaneval.py`, `jsonl.py`,
`synthetic.py`) build problems; labelling, PPO and evaluation read them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Test:
    """One check of a program.

    Attributes:
      call: an expression evaluated in the program's namespace, e.g. `"f([1, 2], 3)"`. It is evaluated afresh
        for every run, so arguments that a program mutates are rebuilt. For an `in_child` test it is the whole
        `assert` statement.
      expected: the expected value as a Python literal, e.g. `"[3]"`; it is parsed and compared in the parent
        and never enters the sandbox. None where the check cannot be split into a call and a value.
      visible: whether the policy, the labels and the rewards may use this test. Evaluation uses all.
      check: where the comparison is another one than equality: its source, in which `_0`, `_1`, … stand for the parts
        of the tuple that `call` then gives, e.g. `"abs(_0 - 2.5) < 1e-6"`. It is evaluated in the parent, see
        `comparisons.py`.
    """

    __test__ = False  # The name is the field's own; pytest must not collect it.

    call: str
    expected: str | None
    visible: bool = True
    check: str | None = None

    @property
    def in_child(self) -> bool:
        """Whether the comparison itself has to run beside the untrusted program, which can then cheat it."""
        return self.expected is None and self.check is None


@dataclasses.dataclass(frozen=True)
class Problem:
    r"""One programming problem.

    Attributes:
      id: unique within the run, e.g. `"mbpp/601"`.
      source: the name of the source, e.g. `"mbpp"`.
      split: `"train"`, `"validation"`, `"test"` or `"prompt"`; the source's official one where it has one.
      prompt: what the policy reads, without a trailing newline.
      entry_point: the function that the tests call.
      reference: a program that passes all tests; `"\n"` line ends, four-space indentation, final newline.
      tests: visible ones first.
      setup: code executed before the program, e.g. imports that the tests need.
      head: what a program is put behind, to the byte, before it is graded: the prompt, where a completion may go on in
        the middle of the function that it begins. A whole program redefines that function.
      difficulty: number of statements of the reference, the `def` and docstrings not counted.
      provenance: where the problem comes from and under which licence.
      demonstration: the program that SFT imitates where that is not the reference. It need not pass: a policy that
        was taught by flawed programs is what RL is for.
    """

    id: str
    source: str
    split: str
    prompt: str
    entry_point: str
    reference: str
    tests: tuple[Test, ...]
    setup: str = ""
    head: str = ""
    difficulty: int = 0
    provenance: str = ""
    demonstration: str = ""

    def with_tests(self, tests: Sequence[Test]) -> Problem:
        """The problem with further visible tests, behind its own ones."""
        return dataclasses.replace(self, tests=(*self.visible_tests, *tests, *self.hidden_tests))

    def without_in_child_tests(self) -> Problem:
        """The problem with only those tests that no program can cheat; there may be none."""
        return dataclasses.replace(self, tests=tuple(test for test in self.tests if not test.in_child))

    @property
    def visible_tests(self) -> tuple[Test, ...]:
        """The tests that labels and rewards may use."""
        return tuple(test for test in self.tests if test.visible)

    @property
    def hidden_tests(self) -> tuple[Test, ...]:
        """The tests kept for evaluation."""
        return tuple(test for test in self.tests if not test.visible)
