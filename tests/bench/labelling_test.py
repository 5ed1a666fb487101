"""`prm_jax bench labelling` times every phase on the same variants."""

import json

from prm_jax import cli
from prm_jax.bench import labelling as bench

ROW = {
    "task_id": 601,
    "text": "Write a function to add.",
    "code": "import math\ndef add(a, b):\n    return a + b\n",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(2.5, 0) == 2.5"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def test_every_phase_is_measured(capsys, tmp_path):
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    found = bench.run(str(path), 12)
    told = capsys.readouterr().out
    assert [each.phase for each in found] == 2 * [*bench.PHASES, *bench.PIPELINES]
    assert {each.kind for each in found} == {"synthetic", "MBPP"}
    assert all(each.rate > 0 for each in found)
    phases = [each for each in found if each.kind == "synthetic" and each.phase in bench.PHASES]
    assert {each.variants for each in phases} == {12}
    for kind in ("synthetic", "MBPP"):
        one, two = (each.variants for each in found if each.kind == kind and each.phase in bench.PIPELINES)
        assert one == two > 0
    assert told.count("70,000 variants in") == told.count("two workers need") == 2


def test_the_command_line(capsys):
    assert cli.main(["bench", "labelling", "--programs=0"]) == 2
    assert "--programs=0" in capsys.readouterr().err
    assert cli.main(["bench", "labelling", "--programs=3"]) == 0
    assert "no --mbpp FILE was given" in capsys.readouterr().out
