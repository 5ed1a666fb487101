"""A function without its module: the set-up has what the function needs, does not have the function, and runs."""

import ast
import textwrap

import pytest

from prm_jax.mining.isolate import Module, NotIsolatedError, isolate
from prm_jax.mining.walk import SourceFile


def take_out(tmp_path, source: str, name: str = "f", used=(), path: str = "pkg/mod.py") -> str:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(source))
    tree = ast.parse(file.read_text())
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return isolate(Module(SourceFile(str(tmp_path), str(file)), tree), function, used)


def space_of(setup: str) -> dict:
    space: dict = {"__name__": "__program__"}
    exec(compile(setup, "setup", "exec", dont_inherit=True), space)
    return space


def test_only_what_is_needed_stays_in_its_order(tmp_path):
    setup = take_out(
        tmp_path,
        '''
        """A module."""
        import os, re
        from math import floor, sqrt as root
        import numpy

        LIMIT = 3
        LIMIT += 1
        TABLE = {}
        TABLE["a"] = LIMIT
        TABLE.update(b=2)
        OTHER = numpy.zeros(3)

        def helper(x):
            """Says f(1) == 7."""
            return root(x) + TABLE["a"]

        def f(x):
            return helper(x) if x else f(1)

        def unused(x):
            return OTHER
        ''',
    )
    assert setup == textwrap.dedent("""\
        from math import sqrt as root
        LIMIT = 3
        LIMIT += 1
        TABLE = {}
        TABLE['a'] = LIMIT
        TABLE.update(b=2)

        def helper(x):
            return root(x) + TABLE['a']
        """)
    assert space_of(setup)["helper"](4) == 6.0


def test_the_module_calls_the_candidate_in_the_function_s_place(tmp_path):
    setup = take_out(
        tmp_path, "def even(n):\n    return n == 0 or f(n - 1)\ndef f(n):\n    return n != 0 and even(n - 1)\n"
    )
    space = space_of(setup)
    assert "f" not in space
    exec("def f(n):\n    return 'the candidate'\n", space)
    assert space["even"](1) == "the candidate"


def test_names_are_followed_through_the_package(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from .deep import one\n")
    (tmp_path / "pkg" / "deep.py").write_text("import math\nONE = 1\ndef one():\n    return math.floor(ONE)\n")
    source = "from pkg import one\nfrom .deep import ONE as UNIT\ndef f():\n    return one() + UNIT\n"
    space = space_of(take_out(tmp_path, source))
    assert (space["one"](), space["UNIT"]) == (1, 1)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import numpy as np\ndef f():\n    return np.zeros(1)\n", "needs another package"),
        ("from numpy import zeros\ndef f():\n    return zeros(1)\n", "needs another package"),
        ("from . import other\ndef f():\n    return other.g()\n", "needs its package as a whole"),
        ("from pkg import other\ndef f():\n    return other.g()\n", "needs its package as a whole"),
        ("import pkg as p\ndef f():\n    return p.other.g()\n", "needs its package as a whole"),
        ("from .nowhere import g\ndef f():\n    return g()\n", "needs its package as a whole"),
        ("from .other import g\ndef h(): pass\ndef f():\n    return g(), h()\n", "two modules use one name"),
        (f"X = {list(range(20000))}\ndef f():\n    return X\n", "needs too much of its module"),
    ],
)
def test_what_cannot_be_isolated(tmp_path, source, reason):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from pkg import other\n")
    (tmp_path / "pkg" / "other.py").write_text("def h():\n    return 1\ndef g():\n    return h()\n")
    with pytest.raises(NotIsolatedError, match=reason):
        take_out(tmp_path, source)


def test_what_the_examples_use_is_there_too(tmp_path):
    assert "shown" in space_of(take_out(tmp_path, "def shown(): pass\ndef f(): pass\n", used=["shown", "list"]))


def test_annotations_that_are_never_evaluated_are_not_needed(tmp_path):
    body = (
        "from numpy import ndarray\ndef g(x: ndarray) -> ndarray:\n    return x\ndef f(x: ndarray):\n    return g(x)\n"
    )
    with pytest.raises(NotIsolatedError):
        take_out(tmp_path, body)
    setup = take_out(tmp_path, "from __future__ import annotations\n" + body)
    assert space_of(setup)["g"](3) == 3


def test_overloads_are_for_type_checkers_only(tmp_path):
    source = """
        import other_package as t
        @t.overload
        def g(x: int) -> int: ...
        @t.overload
        def g(x: str) -> str: ...
        def g(x):
            return x
        def f(x):
            return g(x)
        """
    assert take_out(tmp_path, source) == "def g(x):\n    return x\n"


def test_the_parsed_module_is_left_as_it_was(tmp_path):
    source = 'def g():\n    """Words."""\n    return 1\ndef f():\n    return g()\n'
    file = tmp_path / "m.py"
    file.write_text(source)
    module = Module(SourceFile(str(tmp_path), str(file)), ast.parse(source))
    before = ast.dump(module.tree)
    isolate(module, module.tree.body[1])
    assert ast.dump(module.tree) == before


def test_a_module_stands_behind_those_that_it_takes_from(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "base.py").write_text("LEAST = 2\n")
    (tmp_path / "pkg" / "above.py").write_text("from .base import LEAST\ndef above(x=LEAST):\n    return x + 1\n")
    # Of the function's own names that of the lower module is the first.
    source = "from .above import above\nfrom .base import LEAST\ndef f():\n    return LEAST, above\n"
    assert space_of(take_out(tmp_path, source))["above"]() == 3


def test_names_that_examples_import_are_those_of_their_modules(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "other.py").write_text("def shown():\n    return 1\ndef mine():\n    return 2\n")
    path = tmp_path / "pkg" / "mod.py"
    path.write_text("def mine():\n    return 3\ndef f():\n    return mine()\n")
    module = Module(SourceFile(str(tmp_path), str(path)), ast.parse(path.read_text()))
    imports = ast.parse("from pkg.other import shown as told, mine\nimport pkg.other as whole\n").body
    space = space_of(isolate(module.importing(imports), module.tree.body[1], ["told", "mine"]))
    assert (space["told"](), space["mine"]()) == (1, 3)
    with pytest.raises(NotIsolatedError, match="as a whole"):
        isolate(module.importing(imports), module.tree.body[1], ["whole"])
