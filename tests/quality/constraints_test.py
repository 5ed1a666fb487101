"""Each rule of a domain on a program that keeps it and one that breaks it; bad files are refused."""

import math

import pytest

from prm_jax.errors import UserError
from prm_jax.quality.constraints import Constraints, check, load_constraints
from prm_jax.quality.finding import score, step_scores
from prm_jax.text.steps import split_steps

GOOD = """\
from decimal import Decimal

CENT = Decimal("0.01")


def net(price: str, percent: str) -> str:
    try:
        amount = Decimal(price) * (100 - Decimal(percent)) / 100
    except ValueError as error:
        raise KeyError(price) from error
    return str(amount.quantize(CENT))
"""

# Rules, what is replaced in GOOD, by what, the broken rule and its line.
CASES = [
    ('[imports]\nallowed = ["decimal"]', "CENT = ", "import math as maths\nCENT = ", "imports.allowed", 3),
    ('[imports]\nbanned = ["os"]', "CENT = ", "import os.path\nCENT = ", "imports.banned", 3),
    ('[imports]\nbanned = ["os.path"]', "CENT = ", "from os import path\nCENT = ", "imports.banned", 3),
    ('[imports]\nbanned = ["os.path"]', "CENT = ", "from os.path import join\nCENT = ", "imports.banned", 3),
    ('[imports]\nbanned = ["os"]', "CENT = ", "from os import *\nCENT = ", "imports.banned", 3),
    ('[imports]\nallowed = ["decimal"]', "CENT = ", "from os import *\nCENT = ", "imports.allowed", 3),
    ('[imports]\nbanned = ["os"]', "CENT = ", "os = 0\nimport os\nCENT = ", "imports.banned", 4),
    ('[calls]\nbanned = ["round"]', "str(amount", "str(round(amount)", "calls.banned", 11),
    ('[calls]\nbanned = ["math.floor"]', "CENT = ", "from math import floor\nCENT = floor(1)\n#", "calls.banned", 4),
    ('[calls]\nbanned = ["math.floor"]', "CENT = ", "import math as m\nCENT = m.floor(1)\n#", "calls.banned", 4),
    ('[calls]\nbanned_methods = ["sort"]', "    return", "    amount.sort()\n    return", "calls.banned_methods", 11),
    ('[calls]\nrequired = ["quantize"]', "amount.quantize(CENT)", "amount", "calls.required", 12),
    ('[calls]\nrequired = ["decimal.Decimal"]', "Decimal", "Fraction", "calls.required", 12),
    ('[types]\nreplace = { float = "Decimal" }', "/ 100\n", "/ 100.0\n", "types.replace", 8),
    ('[types]\nreplace = { float = "Decimal" }', "percent: str", "percent: float | None", "types.replace", 6),
    ('[types]\nreplace = { float = "Decimal" }', "Decimal(price)", "float(price)", "types.replace", 8),
    ('[naming]\nfunctions = "[a-z_]+"', "def net", "def netPrice", "naming.functions", 6),
    ('[naming]\narguments = "[a-z_]{2,}"', "price", "p", "naming.arguments", 6),
    ('[naming]\nvariables = "[a-z_]{2,}"', "amount", "a", "naming.variables", 8),
    ("[exceptions]\nbare = false", "except ValueError as error", "except", "exceptions.bare", 9),
    ('[exceptions]\nbroad = ["Exception"]', "ValueError as", "(KeyError, Exception) as", "exceptions.broad", 9),
    ("[exceptions]\nswallowed = false", "raise KeyError(price) from error", "pass", "exceptions.swallowed", 9),
    ("[complexity]\ncyclomatic = 3", "/ 100\n", "/ (100 if price and percent else 1)\n", "complexity.cyclomatic", 6),
    ("[complexity]\ncognitive = 1", "    return", "    if amount: pass\n    return", "complexity.cognitive", 6),
    ("[complexity]\nstatements = 4", "    return", "    amount += 1\n    return", "complexity.statements", 6),
    ("[complexity]\nnesting = 1", "        amount =", "        if 1: pass\n        amount =", "complexity.nesting", 8),
]  # fmt: skip


def load(tmp_path, text) -> Constraints:
    path = tmp_path / "constraints.toml"
    path.write_text(text)
    load_constraints.cache_clear()
    return load_constraints(str(path))


@pytest.mark.parametrize(("rules", "old", "new", "rule", "line"), CASES, ids=lambda value: str(value)[:24])
def test_a_rule_finds_its_breach_and_nothing_in_a_good_program(tmp_path, rules, old, new, rule, line):
    constraints = load(tmp_path, rules)
    assert check(GOOD, constraints) == ()
    worse = GOOD.replace(old, new)
    compile(worse, "worse", "exec")
    assert [(finding.rule, finding.line) for finding in check(worse, constraints)] == [(rule, line)]


def test_all_that_the_docstring_shows_can_be_read(tmp_path):
    from prm_jax.quality import constraints as module

    shown = module.__doc__.split("```toml\n")[1].split("```")[0]
    loaded = load(tmp_path, shown)
    default = Constraints()
    differing = [name for name in vars(default) if getattr(loaded, name) != getattr(default, name)]
    assert set(vars(default)) - set(differing) == {"weight"}
    hash(loaded)


def test_breaches_stand_on_their_steps_and_weigh(tmp_path):
    constraints = load(tmp_path, 'weight = 2\n[calls]\nbanned = ["round"]\nrequired = ["min"]')
    text = "first = round(1.5)\nsecond = 2\n"
    found = check(text, constraints)
    assert score(found) == 2**-4
    assert step_scores(split_steps(text), found) == (0.25, 1.0, 0.25)


def test_a_broken_text_keeps_no_rule():
    (finding,) = check("def f(:", Constraints())
    assert finding.weight == math.inf and score([finding]) == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[calls", "not TOML"),
        ("[calls]\nforbidden = []", "unknown key calls.forbidden"),
        ("[call]\nbanned = []", "unknown key call"),
        ("banned = 3", "unknown key banned"),
        ('[calls]\nbanned = "round"', "calls.banned is 'round'; expected a list of strings"),
        ("[types]\nreplace = { float = 3 }", "types.replace .* expected a table of strings"),
        ('[naming]\nfunctions = "["', "naming.functions .* expected a regular expression"),
        ("[exceptions]\nbare = 0", "exceptions.bare is 0; expected true or false"),
        ("[complexity]\nnesting = 0", "complexity.nesting is 0; expected a positive integer"),
        ("weight = -1.0", "weight is -1.0; expected a positive number"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_constraints(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    "text",
    [
        "import math, math\nmath.floor(1)\n",
        "math = 0\nimport math\nmath.floor(1)\n",
        "import math\nmath.floor(1)\nmath = 0\n",
        "try:\n    from math import floor\nexcept ImportError:\n    from maths import floor\nfloor(1)\n",
        "from math import *\nfloor(1)\n",
        "floor = 0\nfrom math import *\nfloor(1)\n",
        "def bring():\n    global math\n    import math\n\n\ndef whole():\n    return math.floor(1)\n",
    ],
)
def test_a_function_is_known_whatever_else_binds_its_name(text):
    assert [finding.message for finding in check(text, Constraints(calls_banned=("math.floor",)))] == [
        "call of math.floor"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from math import *\n\n\ndef whole(floor):\n    return floor(1)\n",
        "def math(): ...\n\n\nmath().floor(1)\n",
        "import cmath as math\n\nmath.floor(1)\n",
        "from .math import floor\n\nfloor(1)\n",
    ],
)
def test_another_function_of_the_name_is_no_breach(text):
    assert check(text, Constraints(calls_banned=("math.floor",))) == ()


def test_what_a_star_brings_is_a_call_that_a_rule_requires():
    text = "from decimal import *\n\nprice = Decimal(1)\n"
    assert check(text, Constraints(calls_required=("decimal.Decimal",))) == ()
