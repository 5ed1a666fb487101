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
def stocked(tiny_run, tmp_path):
    """A bucket with the labels and the tasks of the tiny run."""
    spec = importlib.util.spec_from_file_location("bucket", BUCKET)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bucket = module.Bucket(tmp_path / "bucket")
    for stage in ("label", "tasks"):
        for file in filter(pathlib.Path.is_file, (tiny_run / stage).rglob("*")):
            bucket.put(f"bucket/run/{file.relative_to(tiny_run)}", file.read_bytes())
    return bucket


@pytest.fixture
def run_there(command, tiny, stocked):
    """Runs the tiny configuration in that bucket; gives stdout and stderr."""

    def run(before: str = "", status: int = 0) -> tuple[str, str]:
        before = IN_BUCKET.format(folder=str(stocked.folder)) + before
        return command("run", *tiny, f"--run_dir={RUN}", before=before, status=status)

    return run


def test_a_run_in_a_bucket_is_the_run_on_a_disk(run_there, stocked, tiny_run):
    """Killed behind PPO's first checkpoint, so that all of the machine's own disk is lost, and gone on with."""
    run_there(KILL, status=-signal.SIGKILL)
    _, told = run_there()
    assert "ppo outcome: going on from update 1" in told
    held = {name.removeprefix("bucket/run/") for name in stocked.names("bucket/run/")}
    for file in filter(pathlib.Path.is_file, tiny_run.rglob("*")):
        name = str(file.relative_to(tiny_run))
        if file.name == "metrics.jsonl":
            assert stocked.get(f"bucket/run/{name}") == file.read_bytes(), name
        if not any(part in name for part in ("checkpoints/", "params/", "events.out.tfevents")):
            assert name in held
    assert not pathlib.Path("/gs").exists()
