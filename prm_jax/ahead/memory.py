"""Whether a compiled program fits on this machine's devices: told before it runs, and refused if it does not.

`training/loop.py` asks for its step, `ppo/learner.py` for all that an update calls, `sampling/engine.py` for decoding.
What is compiled for the answer is what runs later: JAX keeps it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from prm_jax.ahead import heap
from prm_jax.ahead.forecast import bytes_wanted
from prm_jax.ahead.slices import GIB
from prm_jax.errors import UserError

_CGROUP = pathlib.Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True)
class Needs:
    """Bytes on one device.

    Attributes:
      name: of the program.
      arguments: what it takes.
      results: what it gives, but for what is written over its arguments.
      temporaries: what it needs on the way, with its code.
      held: what lies on the device while it runs, its arguments among it.
    """

    name: str
    arguments: float
    results: float
    temporaries: float
    held: float

    @property
    def peak(self) -> float:
        """The most that is on the device."""
        return self.held + self.results + self.temporaries

    def __str__(self) -> str:
        """A line."""
        beside = self.held - self.arguments
        parts = {
            "arguments": self.arguments,
            "results": self.results,
            "temporaries": self.temporaries,
            "beside them": beside,
        }
        told = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items() if size >= GIB / 200)
        return f"{self.name}: {self.peak / GIB:.2f} GiB" + (f" ({told})" if told else "")


def check_fits(name: str, traced: Any, remedy: str, say: Callable[[str], None]) -> Needs:
    """Compiles a program, tells what it needs of each device, and refuses it where that is not there.

    Args:
      name: of the program.
      traced: what `jax.jit(f).trace(...)` gives, of the arrays that it will be called with.
      remedy: what to change if it does not fit.
      say: takes the line that tells.

    Raises:
      UserError: it does not fit.
    """
    device, whole = jax.local_devices()[0], capacity()
    try:
        stats = traced.lower().compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if (wanted := bytes_wanted(str(error))) is None:
            raise
        raise UserError(_refusal(name, wanted, whole, device, remedy)) from error
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    temporaries = stats.temp_size_in_bytes + stats.generated_code_size_in_bytes
    # Arrays of the host are arguments that are not there yet.
    held = max(_held(), stats.argument_size_in_bytes)
    needs = Needs(name, stats.argument_size_in_bytes, results, temporaries, held)
    if whole and needs.peak > whole:
        raise UserError(_refusal(str(needs), needs.peak, whole, device, remedy))
    if device.platform == "cpu" and needs.peak + (heap.TIMES_KEPT - 1) * temporaries > whole:
        heap.keep_no_more()
    say(f"{needs}" + (f" of {whole / GIB:.1f}" if whole else ""))
    return needs


def capacity() -> float:
    """Bytes of one device that this process has or may have; 0 where that cannot be known.

    On CPUs the memory of the machine, or what its control group allows, in equal parts to all devices.
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return float((device.memory_stats() or {}).get("bytes_limit", 0))
    # What was freed and kept is there to be had. Else an arm would be refused for the memory of the arm before it.
    heap.give_back()
    free = min(_available(), _allowed())
    return free / len(jax.local_devices()) + _held()


def _held() -> float:
    """Bytes of arrays on the first device; on CPUs the mean of all, which share a memory."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return float((devices[0].memory_stats() or {}).get("bytes_in_use", 0))
    live = (shard.data.nbytes for array in jax.live_arrays() for shard in _shards(array))
    return sum(live) / len(devices)


def _shards(array: jax.Array) -> Any:
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return ()
    return array.addressable_shards


def _available() -> float:
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))


def _allowed() -> float:
    """What is left of the limit of this process's control group; infinite where there is none."""
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return float("inf") if limit == "max" else float(limit) - float(used) + float(stat["inactive_file"])
    except (OSError, ValueError, KeyError):
        return float("inf")


def _refusal(told: str, wanted: float, whole: float, device: jax.Device, remedy: str) -> str:
    return f"{told} needs {wanted / GIB:.2f} GiB, and {device.device_kind} has {whole / GIB:.2f}: {remedy}"
