"""From a file to problems, and to counts where there is none to be had."""

import os
import textwrap

import pytest

from prm_jax.mining.config import MiningConfig
from prm_jax.mining.functions import FileReport, read_file
from prm_jax.mining.walk import SourceFile
from prm_jax.problems.jsonl import JsonlSource, to_line
from prm_jax.problems.problem import Test

DOUBLED = '''
from functools import reduce

@staticmethod
def other():
    """No example."""

def doubled(values, start=0):
    """Doubles the sum of the values.

    Examples:

    >>> doubled([1, 2])
    6
    >>> doubled([], start=4)
    8

    Nothing is changed.
    """
    # Starts at start.
    total = reduce(lambda a, b: a + b, values, start)

    return 2 * total

class Box:
    def method(self):
        """A method."""
'''


def read(tmp_path, source: str) -> FileReport:
    path = tmp_path / "mod.py"
    path.write_text(source)
    return read_file(SourceFile(str(tmp_path), str(path)), MiningConfig())


def test_a_function_becomes_a_problem(tmp_path):
    report = read(tmp_path, DOUBLED)
    assert (report.lines, report.functions, report.documented, report.with_examples) == (DOUBLED.count("\n"), 3, 3, 1)
    (problem,) = report.problems
    assert problem.id == f"mined/{tmp_path.name}/mod.doubled"
    assert problem.prompt == textwrap.dedent("""\
        Doubles the sum of the values.
        Nothing is changed.
        def doubled(values, start=0):
        assert doubled([1, 2]) == 6
        assert doubled([], start=4) == 8""")
    assert problem.reference == textwrap.dedent("""\
        def doubled(values, start=0):
            # Starts at start.
            total = reduce(lambda a, b: a + b, values, start)

            return 2 * total
        """)
    assert problem.setup == "from functools import reduce\n"
    assert problem.tests == (Test("doubled([1, 2])", "6"), Test("doubled([], start=4)", "8"))
    assert problem.difficulty == 2
    assert problem.provenance == f"{tmp_path.name}, unknown licence, mod.py:8"


def test_a_problem_is_read_back_from_its_line(tmp_path):
    (problem,) = read(tmp_path, DOUBLED).problems
    (tmp_path / "problems.jsonl").write_text(to_line(problem) + "\n")
    (again,) = JsonlSource(str(tmp_path / "problems.jsonl"), strict=True).load()
    assert again == problem.__class__(**{**vars(problem), "source": "jsonl"})


def documented(body: str, head: str = "def f(x):", examples: str = ">>> f(1)\n    2\n    >>> f(2)\n    3") -> str:
    return f'{head}\n    """\n    {examples}\n    """\n{textwrap.indent(body, "    ")}\n'


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (documented("y = x\nreturn y + 1", examples=">>> f(1)\n    2"), "too few examples"),
        (documented("return x + 1"), "too short a function"),
        (documented("y = 1\n" * 70 + "return x"), "too long a function"),
        (documented(""), "no code but a docstring"),
        ('def f(x): "f(1) == 2, f(2) == 3"; y = 1; return y', None),
        (documented("y = g(x)\nreturn y", head="from numpy import g\ndef f(x):"), "needs another package"),
    ],
)
def test_functions_that_make_no_problem_are_counted(tmp_path, source, reason):
    report = read(tmp_path, source)
    assert report.problems == ()
    assert dict(report.dropped) == ({reason: 1} if reason else {})


def test_what_is_no_unicode_makes_no_problem_and_no_corpus(tmp_path):
    source = documented(
        "y = x\nreturn y + 1", examples="Adds one to x\\ud83d.\n    >>> f(1)\n    2\n    >>> f(2)\n    3"
    )
    report = read(tmp_path, source)
    assert (report.problems, report.corpus) == ((), ())
    assert report.dropped == report.not_in_corpus == (("no Unicode", 1),)
    path = tmp_path / os.fsdecode(b"mod\xff.py")
    path.write_text(source.replace("\\ud83d", ""))
    report = read_file(SourceFile(str(tmp_path), str(path)), MiningConfig())
    assert report.dropped == report.not_in_corpus == (("no Unicode", 1),)


def test_future_annotations_stay_with_the_function_that_needs_them(tmp_path):
    source = "from __future__ import annotations\n" + documented("y = x\nreturn y + 1", head="def f(x: Unknown):")
    (problem,) = read(tmp_path, source).problems
    assert problem.reference.startswith("from __future__ import annotations\n\ndef f(x: Unknown):\n    y = x\n")
    bare = source.replace(": Unknown", "")
    assert read(tmp_path, bare).problems[0].reference.startswith("def f(x):")


def test_of_two_functions_of_one_name_the_second_counts(tmp_path):
    source = documented("y = x\nreturn y") + documented("z = x\nreturn z + 1")
    (problem,) = read(tmp_path, source).problems
    assert "z = x" in problem.reference


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"print 'two'\n", "syntax of another Python"),
        (b"x = 1\n\0", "null bytes"),
        (b"(" * 5000, "syntax of another Python"),
        (b"x = " + b"-" * 50_000 + b"1\n", "nested too deeply"),
        (b"x = " + b"a." * 20_000 + b"b\n", "nested too deeply"),
    ],
)
def test_bad_files_are_a_reason(tmp_path, data, reason):
    (tmp_path / "bad.py").write_bytes(data)
    report = read_file(SourceFile(str(tmp_path), str(tmp_path / "bad.py")), MiningConfig())
    assert report.skipped == reason
    assert report.lines == report.functions == 0


@pytest.mark.parametrize(
    "deep",
    [
        f">>> f({' + '.join('1' * 600)})\n    2",
        f">>> assert f({'-' * 400}1) == 1",
        f">>> x = {' + '.join('1' * 600)}",
        f"f({'{1: ' * 190}1{'}' * 190}) == 1",
    ],
)
def test_an_example_that_is_nested_too_deeply_costs_nothing_but_itself(tmp_path, deep):
    examples = f"Adds one.\n\n    {deep}\n\n    >>> f(1)\n    2\n    >>> f(2)\n    3"
    report = read(tmp_path, documented("y = x\nreturn y + 1", examples=examples))
    (problem,) = report.problems
    assert [test.call for test in problem.tests] == ["f(1)", "f(2)"]


def test_examples_take_names_from_other_modules_of_the_package(tmp_path):
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "units.py").write_text("METRE = 100\n")
    source = '''
def doubled(value):
    """Doubles.

    >>> from pkg.{module} import METRE
    >>> doubled(METRE)
    200
    >>> doubled(1)
    2
    >>> doubled(2)
    4
    """
    twice = value + value
    return twice
'''
    path = package / "mod.py"
    for module, setup in (("units", "METRE = 100\n"), ("nowhere", "")):
        path.write_text(source.replace("{module}", module))
        (problem,) = read_file(SourceFile(str(tmp_path), str(path)), MiningConfig()).problems
        assert problem.setup == setup and len(problem.tests) == 3
