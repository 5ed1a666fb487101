"""A run directory in a bucket: the learner's stages leave what they leave on a disk, kills included.

The bucket is a stand-in (`tests/bucket.py`). Labels and tasks are copied into it: their libraries reach a bucket by
themselves.
"""

import importlib.util
import pathlib
import signal

import pytest

pytestmark = pytest.mark.slow

BUCKET = pathlib.Path(__file__).parents[1] / "bucket.py"
RUN = "gs://bucket/run"

IN_BUCKET = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("bucket", {str(BUCKET)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.install({{folder!r}})
"""
KILL = """
import os, signal
from prm_jax.training.checkpoint import Checkpointer
save = Checkpointer.save
def killed(self, step, *arguments):
    save(self, step, *arguments)
    if str(self.directory) == "gs://bucket/run/ppo/outcome/checkpoints":
        self.wait()
        os.kill(os.getpid(), signal.SIGKILL)
Checkpointer.save = killed
"""


@pytest.fixture
def in_bucket(command, tiny, tiny_run, tmp_path):
    """Runs a command of the tiny configuration in the bucket, where labels and tasks are; gives what it told."""
    spec = importlib.util.spec_from_file_location("bucket", BUCKET)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bucket = module.Bucket(tmp_path / "bucket")
    for stage in ("label", "tasks"):
        for file in filter(pathlib.Path.is_file, (tiny_run / stage).rglob("*")):
            bucket.put(f"bucket/run/{file.relative_to(tiny_run)}", file.read_bytes())

    def run(*arguments: str, before: str = "", status: int = 0) -> tuple[str, str]:
        before = IN_BUCKET.format(folder=str(bucket.folder)) + before
        return command(*arguments, *tiny, f"--run_dir={RUN}", before=before, status=status)

    run.bucket = bucket
    return run


def test_a_run_in_a_bucket_is_the_run_on_a_disk(in_bucket, tiny_run):
    """Killed behind PPO's first checkpoint, so that all of the machine's own disk is lost, and gone on with."""
    in_bucket("run", before=KILL, status=-signal.SIGKILL)
    _, told = in_bucket("run")
    assert "ppo outcome: going on from update 1" in told
    held = {name.removeprefix("bucket/run/") for name in in_bucket.bucket.names("bucket/run/")}
    for file in filter(pathlib.Path.is_file, tiny_run.rglob("*")):
        name = str(file.relative_to(tiny_run))
        if file.name == "metrics.jsonl":
            assert in_bucket.bucket.get(f"bucket/run/{name}") == file.read_bytes(), name
        if not any(part in name for part in ("checkpoints/", "params/", "events.out.tfevents")):
            assert name in held
    assert not pathlib.Path("/gs").exists()
