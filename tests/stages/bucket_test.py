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
from prm_jax.ppo.learner import Learner
update = Learner.one_update
def killed(self, index):
    if index == {index}:
        self.pending = None
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, index)
Learner.one_update = killed
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
    in_bucket("run", before=KILL.format(index=1), status=-signal.SIGKILL)
    in_bucket("run")
    bucket = in_bucket.bucket
    for file in tiny_run.rglob("metrics.jsonl"):
        assert bucket.get(f"bucket/run/{file.relative_to(tiny_run)}") == file.read_bytes(), file
    kept = {str(file.relative_to(tiny_run)) for file in tiny_run.rglob("*") if file.is_file()}
    held = {name.removeprefix("bucket/run/") for name in bucket.names("bucket/run/")}
    plain = {name for name in kept if "checkpoints" not in name and "params" not in name and "events.out" not in name}
    assert plain <= held
    assert not pathlib.Path("/gs").exists()
