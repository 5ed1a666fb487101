"""`prm_jax bench sandbox` measures what passes, and says what it leaves out."""

import json
import subprocess
import sys

import pytest

from prm_jax import cli
from prm_jax.bench import sandbox as bench
from prm_jax.bench.executors import EXECUTORS, installed
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.execution.verdict import Program
from prm_jax.problems.problem import Test

ROW = {
    "task_id": 601,
    "text": "Write a function to add.",
    "code": "import math\ndef add(a, b):\n    return a + b\n",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(2.5, 0) == 2.5"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def test_all_executors_pass_all_programs(capsys, tmp_path):
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    found = bench.run(str(path), 20)
    told = capsys.readouterr().out
    assert "did not pass" not in told and "tier" in told
    assert all(each.passed == each.programs > 0 and each.rate > 0 for each in found)
    assert {each.kind for each in found} == {"tiny programs", "MBPP references"}
    assert {each.workers for each in found} >= {1}


def test_wrong_programs_are_not_counted_as_passed():
    made = bench.tiny_programs(4)
    wrong = [type(each)(each.text.replace("+", "-"), each.tests) for each in made[1:]]
    assert bench._in_sandbox([made[0], *wrong], 1)[0] == 1


@pytest.mark.parametrize("name", EXECUTORS)
def test_the_executors_of_others_tell_right_from_wrong(name):
    executor = EXECUTORS[name]
    if not installed(executor):
        pytest.skip(f"{name} is not installed")
    made = bench.tiny_programs(3)
    failing = Program(made[1].text.replace("+", "-"), made[1].tests)
    raising = Program("def f(x):\n    return x + unknown\n", made[2].tests)
    assert executor.passed([made[0], failing, raising], 1) == 1
    needy = Program("def f(x):\n    return math.floor(x)\n", (Test("f(1.5)", "1"),), setup="import math")
    assert executor.passed([needy], 1) == 1


def test_evalplus_gets_programs_whose_tests_are_calls_with_literals():
    takes = EXECUTORS["evalplus"].takes
    for call, taken in {
        "f(1, [2, (3,)])": True, "f()": True, "f(x=1)": False, "str(f(1))": False, "f(g(1))": False, "f(1)[0]": False,
    }.items():  # fmt: skip
        assert takes(Program("", (Test(call, "1"),))) is taken, call
    assert not takes(Program("", (Test("f(1)", "1"), Test("g(1)", "1"))))


def test_the_command_line(capsys):
    assert cli.main(["bench", "sandbox", "--programs=0"]) == 2
    assert "--programs=0" in capsys.readouterr().err
    assert cli.main(["bench", "sandbox", "--programs=10"]) == 0
    told = capsys.readouterr().out
    assert "tiny programs" in told and "no --mbpp FILE was given" in told


def test_the_process_that_others_fork_holds_no_jax():
    code = "import sys, prm_jax.bench.sandbox; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_tiny_programs_differ():
    made = bench.tiny_programs(8)
    assert len(set(made)) == 8
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        assert all(all(verdict.passed) and len(verdict.passed) == 3 for verdict in sandbox.run(made))
