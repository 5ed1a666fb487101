"""`prm_jax bench quality` measures the same programs in each way."""

import json

from prm_jax import cli
from prm_jax.bench import quality as bench
from prm_jax.quality.constraints import Constraints

ROW = {
    "task_id": 601,
    "text": "Write a function to add.",
    "code": "import math\ndef add(a, b):\n    return a + b\n",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(2.5, 0) == 2.5"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def test_every_way_is_measured_on_the_same_programs(capsys, tmp_path):
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    found = bench.run(str(path), 30)
    told = capsys.readouterr().out
    assert [(each.kind, each.what) for each in found] == [
        (kind, what) for kind in ("synthetic", "MBPP references") for what in bench.WORK
    ]
    assert [each.programs for each in found] == [30] * 3 + [1] * 3
    assert all(each.rate > 0 and str(each) in told for each in found)


def test_each_section_of_a_domains_rules_takes_part():
    default = Constraints()
    asked = {name.split("_")[0] for name in vars(default) if getattr(bench.RULES, name) != getattr(default, name)}
    assert asked == {name.split("_")[0] for name in vars(default)} - {"weight"}


def test_the_command_line(capsys):
    assert cli.main(["bench", "quality", "--programs=0"]) == 2
    assert "--programs=0" in capsys.readouterr().err
    assert cli.main(["bench", "quality", "--programs=3"]) == 0
    assert "no --mbpp FILE was given" in capsys.readouterr().out
