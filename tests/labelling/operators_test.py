"""Every operator does what its docstring shows, changes one place, and leaves the other bytes alone."""

import re
import textwrap

import pytest

from prm_jax.labelling.operators import COMPILE_LEVEL, MUTATIONS, REFACTORINGS
from prm_jax.labelling.splice import Operator, apply

OPERATORS = {**MUTATIONS, **REFACTORINGS}
INPUTS = [(3, 2, 2, [4, 1, 5], "x,Y"), (2, 5, 0, [], "ab"), (4, 4, 3, [7, 7, -2, 6], ""), (-1, 3, 1, [2], " 1,2")]


def body(text: str) -> str:
    return "def f(a, b, n, xs, s):\n    m = 9\n" + textwrap.indent(text, "    ") + "\n"


def example(operator: Operator) -> tuple[str, str]:
    """The before and after of an operator's docstring, as programs."""
    doc = operator.find.__doc__ or ""
    inline = re.search(r"``(.+?)`` becomes ``(.+?)``", doc, re.DOTALL)
    if inline:
        before, after = (re.sub(r"\s*\n\s*", " ", text) for text in inline.groups())
        if not before.startswith("return"):
            before, after = f"{before}\nreturn a, m", f"{after}\nreturn a, m"
    else:
        before, after = re.search(r"Before::\n\n(.+?)\n\n\s+After::\n\n(.+)", doc, re.DOTALL).groups()
        before, after = textwrap.dedent(before).rstrip(), textwrap.dedent(after).rstrip()
    return body(before), body(after)


def results(text: str) -> list[object]:
    """What a program returns, or raises, on each input."""
    found: list[object] = []
    for arguments in INPUTS:
        a, b, n, xs, s = arguments
        namespace: dict = {}
        try:
            exec(text, namespace)
            found.append(namespace["f"](a, b, n, list(xs), s))
        except Exception as error:
            found.append(type(error).__name__)
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_docstring_example_is_among_the_edits(name):
    before, after = example(OPERATORS[name])
    assert after in [apply(before, edit) for edit in OPERATORS[name].edits(before)]


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_changes_what_the_example_does(name):
    before, after = example(MUTATIONS[name])
    assert results(before) != results(after)


@pytest.mark.parametrize("name", sorted(COMPILE_LEVEL))
def test_compile_level_mutants_do_not_compile(name):
    with pytest.raises(SyntaxError):
        compile(example(MUTATIONS[name])[1], "example", "exec")


@pytest.mark.parametrize("name", REFACTORINGS)
def test_refactoring_keeps_what_the_example_does(name):
    before, after = example(REFACTORINGS[name])
    assert before != after
    assert results(before) == results(after)
    assert not all(isinstance(result, str) for result in results(before))


def test_edits_leave_other_lines_alone():
    text = "def f(a, b, n, xs, s):\n    # näive ✓\n    m = a<b   # odd   spacing\n    return m\n"
    edits = [edit for name in ("comparison_swap", "flip_comparison") for edit in OPERATORS[name].edits(text)]
    assert len(edits) == 3
    for edit in edits:
        lines = apply(text, edit).split("\n")
        assert [lines[i] for i in (0, 1, 3, 4)] == [text.split("\n")[i] for i in (0, 1, 3, 4)]
        assert lines[2].endswith("   # odd   spacing")


def test_columns_behind_wide_characters():
    text = 'def f(a, b, n, xs, s):\n    return "é✓" + s[n:]\n'
    assert 'def f(a, b, n, xs, s):\n    return "é✓" + s[n + 1:]\n' in [
        apply(text, edit) for edit in MUTATIONS["off_by_one"].edits(text)
    ]


def test_broken_text_has_no_edits():
    for operator in OPERATORS.values():
        assert list(operator.edits("def f(:\n  return (\n")) == []


def test_parts_of_format_strings_are_left_alone():
    text = 'def f(a, b, n, xs, s):\n    return f"{a + b}"\n'
    assert list(MUTATIONS["arithmetic_swap"].edits(text)) == []
    assert list(REFACTORINGS["rename_local"].edits(text)) == []


def test_enough_operators():
    assert len(MUTATIONS) >= 20
    assert len(REFACTORINGS) >= 15
