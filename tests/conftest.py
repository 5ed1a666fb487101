"""Eight simulated CPU devices for the whole session, so that sharding is tested wherever the tests run.

The compiler's optimisations are off: small tests spend their time in compiling, and results do not depend on them.
"""

import importlib.util
import os
import pathlib
import socket
import subprocess

import pytest

os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    )
)

# XLA's pool has a thread per core otherwise, and eight devices that wait for each other need more than that.
os.environ.setdefault("NPROC", "64")

import jax  # Behind the flags, which XLA reads when JAX is imported.

jax.config.update("jax_num_cpu_devices", 8)

NOT_INSTALLED = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {packages!r} else self.finder.find_spec(name, path, target)
    def find_distributions(self, context):
        if (context.name or "").replace("-", "_") in {packages!r} or not hasattr(self.finder, "find_distributions"):
            return []
        return self.finder.find_distributions(context)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""

_MAPPINGS = pathlib.Path("/proc/self/maps")
_MANY_MAPPINGS = 20_000
"""Of the 65,530 that Linux gives a process: compiled functions take some each, and without any left XLA crashes."""

ROOT = pathlib.Path(__file__).parents[1]
STAGES = pathlib.Path(__file__).parent / "stages"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of a file, and all tests of the stages, stay on one worker: what they share is made once."""
    for item in items:
        group = STAGES if STAGES in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))


@pytest.fixture(scope="module", autouse=True)
def few_mappings():
    """Lets go of what a file's tests compiled, where a worker has compiled much."""
    yield
    if _MAPPINGS.exists() and _MAPPINGS.read_bytes().count(b"\n") > _MANY_MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A stand-in for what `gs://` names; nothing may come to lie below /gs, which `epath` takes its URLs for inside."""
    spec = importlib.util.spec_from_file_location("bucket", pathlib.Path(__file__).with_name("bucket.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.install(tmp_path / "bucket", monkeypatch)
    assert not pathlib.Path("/gs").exists() and not pathlib.Path("gs:").exists()


@pytest.fixture(scope="session")
def not_installed():
    """Gives code after which packages, named as they are imported, look as if they were not installed.

    `importlib.util.find_spec` and `importlib.metadata` do not see them either.
    """
    return lambda packages: NOT_INSTALLED.format(packages=sorted(packages))


@pytest.fixture(scope="session")
def start_processes():
    """Runs commands as the processes of one run, each with CPU devices of its own; what each of them told.

    The function takes the commands, the number of devices of each process, and further variables of the environment. It
    gives status, output and errors of each.
    """

    def start(commands: list[list[str]], devices: int = 1, **variables: str) -> list[tuple[int, str, str]]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            coordinator = f"127.0.0.1:{listening.getsockname()[1]}"
        environment = os.environ | {
            "PRM_JAX_COORDINATOR": coordinator, "PRM_JAX_PROCESSES": str(len(commands)), "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT), **variables,
        }  # fmt: skip
        running = [
            subprocess.Popen(
                command, cwd=ROOT, env=environment | {"PRM_JAX_PROCESS": str(number)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for number, command in enumerate(commands)
        ]  # fmt: skip
        try:
            outputs = [process.communicate(timeout=1200) for process in running]
        finally:
            for process in running:
                process.kill()
        return [(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]

    return start
