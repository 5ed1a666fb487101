"""The tiny pipeline, run once for all tests that read its run directory or go on from it."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

ROOT = pathlib.Path(__file__).parents[2]
TINY = ("--gin_file=gin/quickstart.gin", "--gin_file=gin/local_tiny.gin")


@dataclasses.dataclass(frozen=True)
class Command:
    """Runs `prm_jax` as a user does: in a process of its own, with one device unless told otherwise."""

    cache: pathlib.Path

    def start(self, *arguments: str, before: str = "", devices: int = 1) -> subprocess.Popen:
        """Starts a command of the tiny configuration; `before` is Python that runs in its process first."""
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "JAX_COMPILATION_CACHE_DIR": str(self.cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        if devices > 1:
            # XLA's pool has a thread to a device; a device that waits in two collectives at once would starve another.
            environment["NPROC"] = str(8 * devices)
        else:
            environment.pop("NPROC", None)
        code = f"import sys\nfrom prm_jax.cli import main\n{before}\nsys.exit(main(sys.argv[1:]))"
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def __call__(self, *arguments: str, status: int = 0, before: str = "", devices: int = 1) -> tuple[str, str]:
        """Runs a command to its end; gives stdout and stderr."""
        process = self.start(*arguments, before=before, devices=devices)
        out, err = process.communicate(timeout=600)
        assert process.returncode == status, f"{arguments}: {process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
        return out, err


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> Command:
    return Command(tmp_path_factory.mktemp("xla"))


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The arguments of the tiny configuration."""
    return TINY


@pytest.fixture(scope="session")
def tiny_run(command, tmp_path_factory) -> pathlib.Path:
    """The directory of a finished tiny run; its output is beside it. Not to be written to."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    out, _ = command("run", *TINY, f"--run_dir={folder}")
    (folder.parent / "stdout").write_text(out)
    return folder


@pytest.fixture
def run_without(tiny_run, tmp_path):
    """A copy of the tiny run without some of its stages, as if they were still to do."""

    def copy(*stages: str) -> pathlib.Path:
        folder = tmp_path / "run"
        shutil.copytree(tiny_run, folder)
        for stage in stages:
            shutil.rmtree(folder / stage)
        return folder

    return copy


@pytest.fixture(scope="session")
def saved_leaves():
    """Gives all leaves of the parameters that a stage left, by name."""
    from prm_jax.training.checkpoint import Checkpointer

    def read(folder: pathlib.Path) -> dict[str, jax.Array]:
        with Checkpointer(folder / "params") as checkpoints:
            described = checkpoints._metadata(0)["leaves"]  # Which leaves there are is nobody else's business.
            abstract = {}
            for name, text in described.items():
                dtype, _, shape = text.rstrip("]").partition("[")
                abstract[name] = jax.ShapeDtypeStruct(tuple(int(n) for n in shape.split(",") if n), dtype)
            return checkpoints.restore(0, abstract)

    return read
