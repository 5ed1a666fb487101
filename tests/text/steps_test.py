"""What a step is, and that it stays one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_jax.text.steps import check_step_ends, split_steps, step_of_line

PIECES = [
    *["def f(x):", "class A:", "else:", "x = 1", "return", "    ", " ", "\t", "\f", "@d", "x; y"],
    *["\n", "\n", "\n", "\r\n", "\r", "\\", "#", "# c", "(", ")", "[", "]", "{", "}"],
    *['"', "'", '"""', "'''", 'f"', "r'", "é", "漢", "🙂", "\ud800", "\0", "\x0b", "\u2028"],
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=25).map("".join)


def parts(text: str) -> list[tuple[str, str]]:
    """Each step but the end as `(kind, text)`."""
    data = text.encode("utf-8", "surrogatepass")
    return [
        (step.kind, data[step.start : step.end].decode("utf-8", "surrogatepass")) for step in split_steps(text)[:-1]
    ]


@given(texts)
@settings(max_examples=400, deadline=None)
def test_steps_tile_every_text(text):
    steps = split_steps(text)
    size = len(text.encode("utf-8", "surrogatepass"))
    assert [step.start for step in steps] == [0, *(step.end for step in steps[:-1])]
    assert all(step.start < step.end and step.line <= step.last_line for step in steps[:-1])
    assert [step.line for step in steps] == [1, *(step.last_line + 1 for step in steps[:-1])]
    assert (steps[-1].kind, steps[-1].start, steps[-1].end) == ("end", size, size)
    assert [step.kind for step in steps].count("end") == 1
    assert all(step.closed for step in steps[:-2])


@given(texts, texts)
@settings(max_examples=600, deadline=None)
def test_closed_steps_of_a_prefix_never_change(prefix, added):
    closed = [step for step in split_steps(prefix) if step.closed]
    assert list(split_steps(prefix + added))[: len(closed)] == closed


@given(texts)
@settings(max_examples=200, deadline=None)
def test_every_line_belongs_to_the_step_that_says_so(text):
    steps = split_steps(text)
    for index, step in enumerate(steps):
        for line in range(step.line, step.last_line + 1):
            assert step_of_line(steps, line) == index
    assert step_of_line(steps, steps[-1].line + 7) == len(steps) - 1


def test_a_whole_program():
    text = (
        '"""Module."""\n'
        "import math\n"
        "\n"
        "@cache\n"
        "def f(x):  # header: yes\n"
        '    """Doc\n'
        "    string.\n"
        '    """\n'
        "    # why\n"
        "    y = [1,\n"
        "      # inside\n"
        "      2]\n"
        "    if x: return y; pass\n"
        "    else:\n"
        "        z = 1 + \\\n"
        "            2\n"
        '    return "a#(" + z'
    )
    assert parts(text) == [
        ("docstring", '"""Module."""\n'),
        ("code", "import math\n"),
        ("blank", "\n"),
        ("code", "@cache\n"),
        ("code", "def f(x):  # header: yes\n"),
        ("docstring", '    """Doc\n    string.\n    """\n'),
        ("comment", "    # why\n"),
        ("code", "    y = [1,\n      # inside\n      2]\n"),
        ("code", "    if x: return y; pass\n"),
        ("code", "    else:\n"),
        ("code", "        z = 1 + \\\n            2\n"),
        ("code", '    return "a#(" + z'),
    ]
    steps = split_steps(text)
    assert (steps[5].line, steps[5].last_line) == (6, 8)
    assert [step.neutral for step in steps[:3]] == [True, False, True]
    assert not steps[-2].closed
    assert steps[-1].line == 18


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 'open (\ny\n", ["x = 'open (\n", "y\n"]),
        ("x = (1\ny\n", ["x = (1\ny\n"]),
        ("x = 1)\ny\n", ["x = 1)\n", "y\n"]),
        ('x = """a\n\\"""b\n', ['x = """a\n\\"""b\n']),
        ("'a\\\nb'\nc\n", ["'a\\\nb'\n", "c\n"]),
        ("a\rb\r\nc", ["a\r", "b\r\n", "c"]),
        ("x = '''a''' '\nb\n", ["x = '''a''' '\n", "b\n"]),
        ("f(\\)\n# (\nx\n", ["f(\\)\n", "# (\n", "x\n"]),
    ],
)
def test_broken_and_odd_texts(text, expected):
    assert [part for _, part in parts(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        'x = 1\n"""late"""\n',
        'def f():\n"""not indented"""\n',
        'def f(): pass\n    """after a one-line body"""\n',
        'if x:\n    """not a definition"""\n',
        'def f():\n    f"""formatted"""\n',
        'def f():\n    """a""" + """b"""\n',
        '    """indented module"""\n',
    ],
)
def test_no_docstrings(text):
    assert "docstring" not in [kind for kind, _ in parts(text)]


@pytest.mark.parametrize(
    "text", ['async def f():\n\n    # c\n    r"a"  # b\n', "class A:\n  'x'\n", "# c\n\n''''q'''\n"]
)
def test_docstrings(text):
    assert parts(text)[-1][0] == "docstring"


def test_labels_of_other_steps_are_refused():
    assert len(check_step_ends("a\nb\n", [2, 4, 4])) == 3
    with pytest.raises(ValueError, match="not those of the text"):
        check_step_ends("a\nb\n", [4, 4])
