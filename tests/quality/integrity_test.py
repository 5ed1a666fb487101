"""Pairs of programs: a change that hurts one measure lowers that one, by its rule's weight, and no other."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_jax.quality.integrity import STATIC_MEASURES, given_names, integrity
from prm_jax.quality.walk import walk
from prm_jax.text.steps import split_steps

BASE = '''\
import math


def mean_distance(points, centre):
    """The mean distance of points from a centre."""
    total = 0.0
    for point in points:
        if point != centre:
            total += math.dist(point, centre)
    return total / len(points)


def main(points):
    return mean_distance(points, (0.0, 0.0))
'''
DIST = "            total += math.dist(point, centre)\n"
RETURN = "    return total / len(points)\n"

# Measure, rule, what is replaced, by what, the weights that the tables in the modules' docstrings give.
PAIRS = [
    ("naming", "case", "centre", "theCentre", 0.5),
    ("naming", "one_letter", "total", "t", 0.25),
    ("naming", "ambiguous", "total", "l", 0.5),
    ("naming", "empty", "total", "tmp", 0.25),
    ("naming", "empty", "centre", "my_list", 0.25),
    ("naming", "empty", "total", "a1", 0.25),
    ("naming", "shadow", "total", "sum", 0.5),
    ("naming", "shadow_outer", "total", "main", 0.25),
    ("structure", "dead", RETURN, "    count = len(points)\n" + RETURN, 1.0),
    ("structure", "dead", "    total = 0.0\n", "    total = 1.0\n    total = 0.0\n", 1.0),
    ("structure", "unreachable", RETURN, RETURN + "    return 0.0\n", 1.0),
    ("structure", "unreachable", RETURN, "    if False:\n        return 0.0\n" + RETURN, 1.0),
    ("structure", "idle", RETURN, "    total == 1\n" + RETURN, 1.0),
    (
        "structure",
        "nesting",
        DIST,
        f"            while total < 9:\n                while total < 5:\n        {DIST}",
        0.5,
    ),
    ("structure", "cyclomatic", "total / len(points)", f"total{' or total' * 11}", 0.4),  # 1 + 2 + 11 = 14 of 10.
    ("structure", "length", DIST, DIST + "    total += 1.0\n" * 28, 0.1),  # 5 + 28 = 33 of 30.
    ("calls", "unresolved", "total / len(points)", "total / count(points)", 1.0),
    ("calls", "unresolved", "math.dist", "math.distance", 1.0),
    ("calls", "unresolved", "import math", "from math import distance as math", 1.0),
    ("calls", "arity", "len(points)", "len(points, 2)", 1.0),
    ("calls", "arity", "(points, (0.0, 0.0))", "((0.0, 0.0))", 1.0),
    ("calls", "arity", "(points, (0.0, 0.0))", "(points, centre=(0.0, 0.0), weight=2)", 1.0),
    ("calls", "arity", "(points, (0.0, 0.0))", "(points, (0.0, 0.0), points=points)", 1.0),
    ("calls", "banned", "total / len(points)", "total / eval('len(points)')", 1.0),
    ("calls", "banned", "import math\n", "import math\nimport os, os\n\nos.abort()\n", 1.0),
    ("calls", "unused_import", "import math\n", "import math\nimport cmath\n", 0.5),
    ("calls", "deprecated", "import math\n", "import math\nfrom typing import List\n\nPoint = List[float]\n", 0.5),
]


def scores(text):
    found = integrity(text)
    return {measure: getattr(found, measure) for measure in STATIC_MEASURES}


def test_there_is_nothing_to_say_against_the_base():
    assert integrity(BASE).findings == ()
    assert scores(BASE) == dict.fromkeys(STATIC_MEASURES, 1.0)


@pytest.mark.parametrize(("measure", "rule", "old", "new", "weight"), PAIRS)
def test_a_change_hurts_its_measure_and_no_other(measure, rule, old, new, weight):
    worse = BASE.replace(old, new)
    compile(worse, "worse", "exec")
    assert [finding.rule for finding in integrity(worse).findings] == [rule]
    assert scores(worse) == pytest.approx({**dict.fromkeys(STATIC_MEASURES, 1.0), measure: 2**-weight})


@pytest.mark.parametrize(("measure", "rule", "old", "new", "weight"), PAIRS)
def test_the_step_with_the_finding_carries_it(measure, rule, old, new, weight):
    worse = BASE.replace(old, new)
    steps = split_steps(worse)
    found = integrity(worse)
    by_step = found.step_scores(measure, steps)
    assert len(by_step) == len(steps)
    assert math.prod(by_step) == pytest.approx(getattr(found, measure))
    (index,) = [i for i, value in enumerate(by_step) if value < 1]
    assert steps[index].line <= found.findings[0].line <= steps[index].last_line


SEARCH = """\
def search(items, depth):
    if items:
        for item in items:
            if item and depth:
                return item
            elif depth:
                return depth
            else:
                depth += 1
        while depth:
            try:
                depth -= 1 if items else 2
            except ValueError:
                return search(items, depth)
    return None
"""


def test_cognitive_complexity_by_hand():
    # if 1; for 2, if 3, and 1, elif 1, else 1; while 2, conditional 3, except 3; recursion 1: 18 of 15.
    (finding,) = integrity(SEARCH).findings
    assert (finding.rule, finding.message) == ("cognitive", "cognitive of search is 18; at most 15")
    assert finding.weight == pytest.approx(3 / 15)


def test_cognitive_complexity_agrees_with_complexipy():
    complexipy = pytest.importorskip("complexipy")
    for text in (BASE, SEARCH.replace(" if items else 2", "")):
        theirs = {function.name: function.complexity for function in complexipy.code_complexity(text).functions}
        assert theirs == {function.name: function.cognitive for function in walk(text).functions[1:]}


def test_padding_does_not_dilute():
    worse = BASE.replace("total", "tmp")
    assert integrity(worse + "\n\ndef good_name(first, second):\n    return first + second\n").naming == 2**-0.25


@pytest.mark.parametrize("text", ["def f(:\n", "x = 1\n  y = 2\n", "a\0b", "(" * 5000 + ")" * 5000])
def test_a_broken_text_scores_nothing(text):
    assert scores(text) == dict.fromkeys(STATIC_MEASURES, 0.0)
    assert min(integrity(text).step_scores("calls", split_steps(text))) == 0.0


def test_the_line_of_a_syntax_error_carries_it():
    text = "first = 1\nsecond = = 2\nthird = 3\n"
    assert integrity(text).step_scores("naming", split_steps(text)) == (1.0, 0.0, 1.0, 1.0)


def test_names_that_the_problem_gives_are_not_judged():
    text = "def is_Even(value):\n    return helper(value) % 2 == 0\n"
    assert (integrity(text).naming, integrity(text).calls) == (2**-0.5, 0.5)
    given = given_names("is_Even", "def helper(value):\n    return value\n")
    assert given == {"is_Even", "helper"}
    assert integrity(text, given).findings == ()


FINE = """\
def outer():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step
# ---
counter = 0


def bump():
    global counter
    counter += 1
# ---
def longest(words):
    return max((size, word) for word in words if (size := len(word)) > 2)
# ---
def kind(shape):
    match shape:
        case {'side': side, **rest} if rest:
            return side
        case [first, *others]:
            return first, others
        case _:
            return None
# ---
def parse(text):
    value = None
    try:
        value = int(text)
    except ValueError as error:
        raise KeyError(text) from error
    return value
# ---
def read(stream):
    while True:
        line = stream.readline()
        if not line:
            break
    return line
# ---
class Queue:
    SIZE = 3
    items: list[int] = []

    def put(self, items, *rest, wait=False, **options):
        return [self.SIZE, items, rest, wait, options]
# ---
from functools import reduce
import os.path


def join(parts):
    return reduce(os.path.join, parts)
# ---
def apply(action, *args, **options):
    return action(*args, **options), len(*args), print(*args, sep='')
# ---
def memo(function):
    known = {}

    def inner(key):
        if key not in known:
            known[key] = function(key)
        return known[key]

    return inner


@memo
def square(value):
    return value * value


square()
# ---
def pair(left, /, right=2, *, swap=False):
    return (right, left) if swap else (left, right)


pair(1)
pair(1, right=3, swap=True)
# ---
def total(rows):
    (first, _), *rest = rows
    del first
    return [x for x in rest], {i: j for i, j in rest}
# ---
from contextlib import suppress


def first_number(texts):
    number = None
    with suppress(ValueError):
        number = 0
        number = int(texts[0])
    return number
# ---
from __future__ import annotations


async def gather(source, width):
    'Gathers.'
    "A note."
    ...
    source and print(width)
    print(f"{width!r:>{width}}")
    async with source as rows:
        return [row async for row in rows]
# ---
def walk(tree):
    yield tree
    for branch in tree:
        yield from walk(branch)
"""


@pytest.mark.parametrize("text", FINE.split("# ---\n"))
def test_nothing_is_said_against_good_programs(text):
    compile(text, "fine", "exec")
    assert integrity(text).findings == ()


@given(st.sampled_from([BASE, SEARCH, *FINE.split("# ---\n")]), st.data())
def test_any_text_has_scores_that_its_steps_multiply_to(text, data):
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    text = text[:start] + data.draw(st.sampled_from(["", "x", "\n", "    ", "(", "'", "\0", "é"])) + text[end:]
    found = integrity(text)
    for measure in STATIC_MEASURES:
        by_step = found.step_scores(measure, split_steps(text))
        assert all(0 <= value <= 1 for value in by_step)
        assert math.prod(by_step) == pytest.approx(getattr(found, measure))


FAULTS = [
    ("def f(xs):\n    return [y for x in xs]\n", "unresolved", 2),
    ("class Box:\n    size = 3\n\n    def area(self):\n        return size * size\n", "unresolved", 5),
    ("def loop():\n    while True:\n        for each in 'ab':\n            break\n    return 1\n", "unreachable", 5),
    ("import os\nimport datetime\n\nos.system('ls')\nprint(datetime.datetime.now())\n", "banned", 4),
    ("import datetime\n\nprint(datetime.datetime.utcnow())\n", "deprecated", 3),
    ("def f(one, two):\n    return one, two\n\n\nf(1, two=2)\nf(1)\n", "arity", 6),
    ("print(sorted([1], reverse=True), sorted([1], lambda x: x))\n", "arity", 1),
    ("print(round(2.5, ndigits=1), sum([1], 2, 3))\n", "arity", 1),
    (
        "def first(items):\n    found = None\n    for item in items:\n        found = item\n    return items\n",
        "dead",
        2,
    ),
    ("def f(items):\n    items = items[1:]\n    items[0]\n    return items\n\n\n3\n", "idle", 7),
]


@pytest.mark.parametrize(("text", "rule", "line"), FAULTS)
def test_faults_are_found_on_their_lines(text, rule, line):
    compile(text, "fault", "exec")
    assert [(f.rule, f.line) for f in integrity(text).findings if f.measure != "naming"] == [(rule, line)]
