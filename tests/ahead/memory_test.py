"""What a program needs is read off the compiled one, told, held against the device, and not compiled again."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ahead import memory
from prm_jax.ahead.memory import check_fits
from prm_jax.errors import UserError


def _step(state, batch):
    return state + jnp.sum(batch), jnp.sum(state)


def test_what_is_needed_is_told():
    told = []
    state, batch = jnp.ones((512, 512)), jnp.ones((256, 256))
    needs = check_fits("a step", jax.jit(_step, donate_argnums=0).trace(state, batch), "buy more", told.append)
    assert needs.arguments == 4 * (512**2 + 256**2)
    # The state is written over; what else it gives is one number, with the addresses of the two.
    assert 4 <= needs.results < 64
    assert needs.peak == needs.held + needs.results + needs.temporaries
    assert told[0].startswith("a step: 0.0") and " GiB" in told[0]


def test_what_does_not_fit_is_refused_in_one_line(monkeypatch):
    told = []
    monkeypatch.setattr(memory, "capacity", lambda: 2.0**16)
    with pytest.raises(UserError, match=r"a step: .* needs 0\.00 GiB, and cpu has 0\.00: buy more") as caught:
        check_fits("a step", jax.jit(_step).trace(np.ones((512, 512)), np.ones(3)), "buy more", told.append)
    assert "\n" not in str(caught.value) and told == []


def test_what_was_compiled_to_be_told_is_not_compiled_again():
    compiled = []
    state, batch = jnp.ones((3, 5)), jnp.ones(7)
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **more: compiled.append(more.get("fun_name")) if "backend_compile" in name else None
    )
    try:
        step = jax.jit(_step)
        check_fits("a step", step.trace(state, batch), "", print)
        jax.block_until_ready(step(state, batch))
        assert [name for name in compiled if name and "_step" in name] == ["jit(_step)"]
    finally:
        jax.monitoring.clear_event_listeners()


def test_the_capacity_of_a_cpu_is_shared_by_its_devices():
    page = float(memory._available()) / len(jax.local_devices())
    assert 0.5 * page < memory.capacity() < 2 * page + memory._held()


FREED = """
import ctypes
import jax
from prm_jax.ahead import heap, memory

resident = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) << 10
heap.keep()
before()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
sizes = [16 << 20] * 64
blocks = [library.malloc(size) for size in sizes]
for block, size in zip(blocks, sizes):
    ctypes.memset(block, 1, size)
for block in blocks[:-1]:  # The last one lies above all others, so that the heap cannot shrink.
    library.free(block)
kept = resident()
memory.capacity()
print(kept >> 20, kept - resident() >> 20)
"""


def _kept_and_given_back(before):
    """MiB that are resident after a GiB was freed, and of these what `capacity` has given back."""
    ran = subprocess.run([sys.executable, "-c", before + FREED], capture_output=True, text=True, check=True)
    return map(int, ran.stdout.split())


def test_what_was_freed_counts_as_free():
    """A GiB that this process has freed and glibc has kept is to be had again: the next arm may need it."""
    kept, given_back = _kept_and_given_back("before = lambda: None\n")
    assert kept > 1024 and given_back > 900


TIGHT = """
def before():
    step = jax.jit(lambda x: (x @ x.T) @ x)  # Temporaries of 16 MiB beside 2 that it takes and 2 that it gives.
    memory.capacity, capacity = lambda: {room} * 2.0**20, memory.capacity
    memory.check_fits("a step", step.trace(jax.ShapeDtypeStruct((2048, 256), "float32")), "buy more", lambda line: None)
    memory.capacity = capacity
"""


@pytest.mark.parametrize(("room", "keeps"), [(500, True), (30, False)])
def test_what_is_freed_is_kept_only_where_there_is_room_for_it(room, keeps):
    """Freed blocks are not found again: a program's temporaries would lie in memory several times."""
    kept, _ = _kept_and_given_back(TIGHT.format(room=room))
    assert (kept > 1024) == keeps


def test_a_control_group_bounds_what_there_is(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory._allowed() == float("inf")
    for name, text in (("max", "1000"), ("current", "700"), ("stat", "anon 5\ninactive_file 100\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._allowed() == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._allowed() == float("inf")
