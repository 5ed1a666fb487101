"""Execution decides which mined problems hold."""

import contextlib
import dataclasses

import pytest

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.mining.checks import check
from prm_jax.mining.config import MiningConfig
from prm_jax.problems.problem import Problem, Test

GOOD = Problem(
    id="mined/p/m.f",
    source="mined",
    split="train",
    prompt="",
    entry_point="f",
    reference="def f(x):\n    return helper(x)\n",
    tests=(Test("f(1)", "2"), Test("f(2)", "3")),
    setup="def helper(x):\n    return x + 1\n",
)
CLOCK = "import time\ndef f(x):\n    return time.time_ns() // 1000 % 2 == 0\n"


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        yield sandbox


def test_what_holds_is_kept_and_the_rest_is_counted(sandbox):
    wrong = (Test("f(1)", "2"), Test("f(2)", "4"), Test("f(3)", "4"))
    problems = [
        GOOD,
        dataclasses.replace(GOOD, id="one example is out of date", tests=wrong),
        dataclasses.replace(GOOD, id="too few hold", tests=wrong[:2]),
        dataclasses.replace(GOOD, id="nothing to run it with", setup=""),
        dataclasses.replace(GOOD, id="the set-up fails", setup=f"{GOOD.setup}TABLE = missing()\n"),
        dataclasses.replace(GOOD, id="says nothing", tests=(Test("f(1) is not 7", "True"), Test("f(2) != 0", "True"))),
    ]
    found = check(problems, [sandbox] * 3, MiningConfig())
    assert [problem.id for problem in found.problems] == [GOOD.id, "one example is out of date"]
    assert found.problems[1].tests == (wrong[0], wrong[2])
    assert found.executable == 3
    assert found.dropped == {
        "reference fails: wrong answer": 1,
        "raises NameError": 1,
        "its module raises NameError": 1,
        "an empty function passes": 1,
    }


def test_a_value_that_differs_between_runs_is_not_kept(sandbox):
    tests = tuple(Test(f"f({number})", "True") for number in range(3))
    clocks = [dataclasses.replace(GOOD, id=str(n), reference=CLOCK + f"# {n}\n", tests=tests) for n in range(8)]
    found = check(clocks, [sandbox] * 15, MiningConfig(min_tests=1))
    assert found.problems == ()
    assert found.executable == found.dropped["not the same in every run"] > 0


def test_the_order_of_a_set_is_no_value(sandbox):
    order = dataclasses.replace(GOOD, reference="def f(x):\n    return list({'a', 'b'})[0] == x\n")
    either = [dataclasses.replace(order, id=first, tests=(Test(f"f('{first}')", "True"),)) for first in "ab"]
    with contextlib.ExitStack() as stack:
        configs = [SandboxConfig(workers=1, hash_seed=seed) for seed in range(1, 8)]
        others = [stack.enter_context(Sandbox(config)) for config in configs]
        found = check(either, [sandbox, *others], MiningConfig(min_tests=1))
    assert found.executable == found.dropped["not the same in every run"] == 1
