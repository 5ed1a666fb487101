"""Metrics: what is written is read, and a resumed file equals the one of a run that was never interrupted."""

import json
import math

from prm_jax.training.metrics import FILE_NAME, MetricsWriter, read_metrics


def write(directory, steps, resume_step=0):
    with MetricsWriter(directory, resume_step) as writer:
        for step in steps:
            loss = 1 / (step + 1)
            writer.write(step, {"train/loss": loss, "train/accuracy": 0.1 * step}, timings={"rate": 3.0 * step})


def test_rows_come_back_and_timings_stay_out(tmp_path):
    write(tmp_path, (1, 3))
    assert read_metrics(tmp_path) == [
        {"step": 1, "train/loss": 0.5, "train/accuracy": 0.1},
        {"step": 3, "train/loss": 0.25, "train/accuracy": 0.1 * 3},
    ]
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_nan_and_infinities_are_standard_json(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {"a": math.nan, "b": -math.inf, "c": math.inf})

    def refuse(name):
        raise AssertionError(name)

    json.loads((tmp_path / FILE_NAME).read_text(), parse_constant=refuse)
    (row,) = read_metrics(tmp_path)
    assert math.isnan(row["a"]) and row["b"] == -math.inf and row["c"] == math.inf


def test_a_resumed_file_equals_the_uninterrupted_one(tmp_path):
    write(tmp_path / "whole", range(1, 9))
    write(tmp_path / "killed", range(1, 7))
    with (tmp_path / "killed" / FILE_NAME).open("a") as file:
        file.write('{"step": 7, "train/lo')
    write(tmp_path / "killed", range(5, 9), resume_step=4)
    assert (tmp_path / "killed" / FILE_NAME).read_bytes() == (tmp_path / "whole" / FILE_NAME).read_bytes()


def test_rows_in_a_bucket_are_those_on_a_disk(tmp_path, bucket):
    """What was written up to the flush before a checkpoint outlives the machine, and the file goes on from there."""
    write(tmp_path / "whole", range(1, 9))
    killed = MetricsWriter("gs://bucket/run")
    for step in range(1, 6):
        loss = 1 / (step + 1)
        killed.write(step, {"train/loss": loss, "train/accuracy": 0.1 * step})
        if step == 4:
            killed.flush()
    assert [row["step"] for row in read_metrics("gs://bucket/run")] == [1, 2, 3, 4]
    write("gs://bucket/run", range(5, 9), resume_step=4)
    assert bucket.get(f"bucket/run/{FILE_NAME}") == (tmp_path / "whole" / FILE_NAME).read_bytes()
    assert bucket.names("bucket/run/events.out.tfevents")
    killed.close()


def test_a_fresh_start_drops_what_lay_there(tmp_path):
    write(tmp_path, (0, 1, 2, 3))
    write(tmp_path, (0, 1))
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1]


def test_other_hosts_write_nothing(tmp_path):
    with MetricsWriter(tmp_path / "none", enabled=False) as writer:
        writer.write(1, {"a": 1.0})
    assert not (tmp_path / "none").exists() and read_metrics(tmp_path / "none") == []
