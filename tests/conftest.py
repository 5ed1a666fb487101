"""Eight simulated CPU devices for the whole session, so that sharding is tested wherever the tests run.

The compiler's optimisations are off: small tests spend their time in compiling, and results do not depend on them.
"""

import os
import pathlib

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

STAGES = pathlib.Path(__file__).parent / "stages"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of a file, and all tests of the stages, stay on one worker: what they share is made once."""
    for item in items:
        group = STAGES if STAGES in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
