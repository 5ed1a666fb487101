"""Training in a bucket: checkpoints as on a disk, rows of metrics that a resumed run goes on with."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.loop import FitConfig, fit
from prm_jax.training.metrics import FILE_NAME, read_metrics

RUN = "gs://bucket/run"
TREE = {"weights": jnp.arange(12.0).reshape(3, 4), "key": jax.random.key(3), "seen": np.int32(5)}


def test_checkpoints_come_back_and_the_oldest_go(bucket, tmp_path):
    with Checkpointer(f"{RUN}/checkpoints", keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, TREE | {"seen": np.int32(step)}, {"step": step})
    with Checkpointer(f"{RUN}/checkpoints") as checkpoints:
        step, tree, extra = checkpoints.resume(TREE)
    assert (step, int(tree["seen"]), extra) == (3, 3, {"step": 3})
    assert jnp.array_equal(tree["weights"], TREE["weights"])
    assert bucket.listdir(f"{RUN}/checkpoints") == ["2/", "3/"]
    for name in bucket.names("bucket/run/"):  # As they are fetched; a name with a slash at its end is a folder's.
        if not name.endswith("/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(bucket.get(name))
    with Checkpointer(tmp_path / "bucket/run/checkpoints") as checkpoints:
        assert checkpoints.resume(TREE)[0] == 3


def test_a_damaged_checkpoint_is_put_aside(bucket):
    with Checkpointer(f"{RUN}/checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, TREE)
    (data, *_) = bucket.names("bucket/run/checkpoints/2/state/d/")
    content = bytearray(bucket.get(data))
    content[len(content) // 2] ^= 1
    bucket.put(data, bytes(content))
    with Checkpointer(f"{RUN}/checkpoints") as checkpoints:
        assert checkpoints.resume(TREE)[0] == 1
    assert bucket.listdir(f"{RUN}/checkpoints") == ["1/", "damaged-2/"]


def test_without_googles_library_it_is_refused_at_once(bucket, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(UserError, match="google-cloud-storage"):
        Checkpointer(f"{RUN}/checkpoints")


def test_fit_resumes_in_a_bucket_to_the_bits_of_a_run_on_a_disk(toy, bucket, tmp_path):
    config = FitConfig(steps=6, evaluate_every=2, checkpoint_every=2, log_every=1)
    whole = fit(config, *toy.make(), toy.batches_from, directory=tmp_path)

    def ends_early(start):
        for step, batch in enumerate(toy.batches_from(start)):
            if step == 5:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        fit(config, *toy.make(), ends_early, directory=RUN)
    resumed = fit(config, *toy.make(), toy.batches_from, directory=RUN)
    assert toy.same_bits(whole.state, resumed.state)
    assert bucket.get(f"bucket/run/{FILE_NAME}") == (tmp_path / FILE_NAME).read_bytes()


def test_rows_are_there_when_a_checkpoint_is_asked_for(toy, bucket, monkeypatch):
    there = {}
    save = Checkpointer.save

    def watched(checkpoints, step, *arguments):
        there[step] = [row["step"] for row in read_metrics(RUN)]
        save(checkpoints, step, *arguments)

    monkeypatch.setattr(Checkpointer, "save", watched)
    fit(FitConfig(steps=4, checkpoint_every=2, log_every=1), *toy.make(), toy.batches_from, directory=RUN)
    assert there == {2: [1, 2], 4: [1, 2, 3, 4]}
