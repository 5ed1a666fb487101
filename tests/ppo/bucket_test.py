"""PPO in a bucket: what a checkpoint depends on is there before it, and a killed run ends with the bits of one on disk.

The sandbox is a function whose verdicts change while the run goes on, as those of a busy machine may: only the journal
keeps the first of them.
"""

import numpy as np
import pytest

from prm_jax.execution.journal import Journal
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.ppo.timeline import FILE_NAME
from prm_jax.ppo.verify import Verified
from prm_jax.training.metrics import read_metrics, read_rows

RUN = "gs://bucket/run"


class Changing:
    """Judges by a journal, and what that has not by the first byte: up to some call the right one, then the others."""

    def __init__(self, wanted: str, journal: Journal, right: int, dies_at: int = 0) -> None:
        self.wanted, self.journal, self.right, self.dies_at = wanted, journal, right, dies_at
        self.calls = 0

    def __call__(self, problems, texts, exact) -> list[Verified]:
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        return [Verified(self.judged(text).outcome) for text in texts]

    def judged(self, text: str) -> Verdict:
        program = Program(text, ())
        passed = text.startswith(self.wanted) == (self.calls <= self.right)
        self.journal.put(program, Verdict(Outcome.PASSED if passed else Outcome.WRONG_ANSWER))
        return self.journal.get(program)


def bits(tree, toy):
    return b"".join(toy.bits(tree))


@pytest.fixture
def whole(toy, tmp_path):
    """What the run gives on a disk, and its folder."""
    journal = Journal(tmp_path / "run" / "verdicts.jsonl")
    return toy.run(tmp_path / "run", verify=Changing(toy.WANTED, journal, right=2)), tmp_path / "run"


def test_a_run_that_is_killed_in_a_bucket_resumes_to_the_bits_of_one_on_a_disk(toy, whole, bucket):
    """Killed in the third update, behind the checkpoint of the second; nothing of that machine's disk is left."""
    result, folder = whole
    journal = Journal(f"{RUN}/verdicts.jsonl")
    dies = Changing(toy.WANTED, journal, right=2, dies_at=3)
    with pytest.raises(KeyboardInterrupt):
        toy.run(RUN, verify=dies, before_save=journal.flush)
    with_another = Journal(f"{RUN}/verdicts.jsonl")
    assert 0 < len(with_another) == len(journal)
    resumed = toy.run(RUN, verify=Changing(toy.WANTED, with_another, right=0), before_save=with_another.flush)
    assert bits(resumed.params, toy) == bits(result.params, toy)
    assert bucket.get("bucket/run/metrics.jsonl") == (folder / "metrics.jsonl").read_bytes()
    assert [row["step"] for row in read_rows(f"{RUN}/{FILE_NAME}")] == [1, 2, 3, 4]


def test_the_journal_is_what_keeps_the_bits(toy, whole, bucket):
    """Without it the test above could not fail."""
    result, _ = whole
    with pytest.raises(KeyboardInterrupt):
        toy.run(RUN, verify=Changing(toy.WANTED, Journal(f"{RUN}/verdicts.jsonl"), right=2, dies_at=3))
    lost = Journal(f"{RUN}/verdicts.jsonl")
    assert len(lost) == 0
    resumed = toy.run(RUN, verify=Changing(toy.WANTED, lost, right=0))
    assert bits(resumed.params, toy) != bits(result.params, toy)


def test_rows_and_verdicts_are_there_when_a_checkpoint_is_asked_for(toy, bucket, monkeypatch):
    there = []
    save = toy.Checkpointer.save

    def watched(checkpoints, step, *arguments):
        there.append((step, [row["step"] for row in read_metrics(RUN)], len(Journal(f"{RUN}/verdicts.jsonl"))))
        save(checkpoints, step, *arguments)

    monkeypatch.setattr(toy.Checkpointer, "save", watched)
    journal = Journal(f"{RUN}/verdicts.jsonl")
    toy.run(RUN, verify=Changing(toy.WANTED, journal, right=4), before_save=journal.flush)
    assert [(step, rows) for step, rows, _ in there] == [(2, [1, 2]), (4, [1, 2, 3, 4])]
    counts = np.array([verdicts for _, _, verdicts in there])
    assert 0 < counts[0] <= counts[1] == len(journal)
