"""`prm_jax bench sampling` counts useful tokens alike for all engines, and says what it leaves out."""

import dataclasses

import numpy as np
import pytest

from prm_jax import cli
from prm_jax.bench import rivals, sampling
from prm_jax.bench.workload import make_workload, prompt_text
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.text.tokenizer import ByteTokenizer


@pytest.fixture(scope="module")
def workload():
    return make_workload(None, None, prompts=3, samples=2, new_tokens=8)


def test_tokens_behind_a_stop_sequence_or_eos_are_useless(workload):
    workload = dataclasses.replace(workload, tokenizer=ByteTokenizer())
    ids = workload.tokenizer.encode
    eos = workload.tokenizer.eos_id
    assert workload.useful([ids("    return x\n"), ids("ab\nprint(1)"), [*ids("ab"), eos, eos]]) == 13 + 2 + 2
    assert workload.useful([[eos], ids("\ndef f")]) == 0


def test_a_token_in_which_a_stop_begins_is_useful():
    class Pairs(ByteTokenizer):
        """Ids of two bytes each."""

        def token_bytes(self, token_id):
            return {5: b"ab", 6: b"x\n", 7: b"pr", 8: b"int"}[token_id]

    workload = dataclasses.replace(make_workload(None, None, 1, 1, 1), tokenizer=Pairs())
    assert workload.useful([[5, 6, 7, 8, 5]]) == 2


def test_a_prompt_ends_with_the_head_of_its_function():
    problem = SyntheticSource(count=1).load()[0]
    text = prompt_text(dataclasses.replace(problem, prompt="Add one.", entry_point="f", reference="def f(x):\n  x\n"))
    assert text == '"""\nAdd one.\n"""\ndef f(x):'


def test_every_prompt_is_asked_for_as_often_and_the_shortest_first(workload):
    requests = workload.requests()
    assert len(requests) == 6 and set(requests) == set(workload.prompts)
    assert [len(request) for request in requests] == sorted(len(request) for request in requests)


def test_batches_are_padded_on_the_left():
    ids, mask = rivals.padded([(7,), (5, 6, 7)], 2)
    np.testing.assert_array_equal(ids, [[2, 2, 7], [5, 6, 7]])
    np.testing.assert_array_equal(mask, [[0, 0, 1], [1, 1, 1]])
    assert [len(batch) for batch in rivals.batches([(1,)] * 5, 2)] == [2, 2, 1]
    assert rivals.filled([(1,), (2,)], 4) == [(1,), (2,), (2,), (2,)] and rivals.filled([(1,)], 1) == [(1,)]


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_a_rival_writes_the_whole_workload(name, workload, tmp_path, monkeypatch):
    rival = rivals.RIVALS[name]
    if not rival.installed():
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(type(rival), "BATCHES", (4,))
    workload.save(tmp_path)
    counted = []
    monkeypatch.setattr(type(workload), "useful", lambda self, rows: counted.extend(rows) or 1)
    ((setting, useful, seconds),) = rival.measure(workload, str(tmp_path))
    assert setting == "batches of 4" and useful == 1 and seconds > 0
    # Six requests: the second batch of four has two.
    assert len(counted) == len(workload.requests()) == 6
    assert all(0 < len(row) <= workload.rule.max_new_tokens for row in counted)


class Counted:
    """A rival that writes one useless and one useful completion."""

    def installed(self):
        return True

    def measure(self, workload, folder):
        ids = workload.tokenizer.encode("return")
        yield "as it is", workload.useful([ids, workload.tokenizer.encode("\nprint")]), 2.0


class Absent(Counted):
    def installed(self):
        return False


def test_the_table(monkeypatch, capsys):
    monkeypatch.setattr(rivals, "RIVALS", {"counted": Counted(), "absent": Absent()})
    monkeypatch.setattr(sampling, "_COPIED", 2**16)
    ours, theirs = sampling.run(prompts=2, samples=2, new_tokens=6, slots=3)
    told = capsys.readouterr().out
    assert "absent: left out" in told and "tiny random model" in told and "of the bandwidth limit" in told
    assert ours.completions == 4 and 0 < ours.useful <= 24 and ours.rate > 0
    assert theirs.rate == theirs.useful / 2 and theirs.useful > 0


def test_the_command_line(capsys):
    assert cli.main(["bench", "sampling", "--prompts=0"]) == 2
    assert "--prompts=0" in capsys.readouterr().err
