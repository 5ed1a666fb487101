"""What one compiled program needs: memory on each device, arithmetic, collectives.

The command `compile` calls it for every program of a run. All figures are read off the program; none is a time.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import Any

import jax

from prm_jax.ahead.flops import matmul_flops
from prm_jax.ahead.hlo import Traffic, collectives


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a program, or a part of one, needs.

    Attributes:
      name: of the program.
      bytes: on the fullest device: arguments, results, temporaries and code, with what stays there beside them.
      memory: bytes that a program may use there.
      flops: of matrix products on all devices together.
      traffic: collectives by kind, on each device; None where the program was too large to be compiled to its end.
    """

    name: str
    bytes: float
    memory: float
    flops: float
    traffic: dict[str, Traffic] | None

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.bytes <= self.memory


def forecast(name: str, trace: Callable[[], Any], beside: int, steps: int, memory: float) -> list[Forecast]:
    """Compiles a program for the devices of its arguments' shardings.

    Args:
      name: of the program.
      trace: gives what `jax.jit(f).trace(...)` gives; called where the mesh is set.
      beside: bytes that a device holds while it runs, beside what it takes and gives.
      steps: how often its loops run, at most, whose end the data decide; 0 where it has none.
      memory: bytes that a program may use on a device.

    Returns:
      One forecast; two where `steps` is not 0: before that loop, and in it. Their memory is that of the whole.
    """
    traced = trace()
    jaxpr = traced.jaxpr
    size, text = _compile(traced)
    parts = [Forecast(name, beside + size, memory, *_work(jaxpr, text, steps))]
    if steps:
        first = Forecast(f"{name}: prefill", beside + size, memory, *_work(jaxpr, text, 0))
        traffic = None
        if parts[0].traffic is not None and first.traffic is not None:
            traffic = {
                kind: moved - first.traffic.get(kind, Traffic())
                for kind, moved in parts[0].traffic.items()
                if moved != first.traffic.get(kind)
            }
        decode = dataclasses.replace(
            parts[0], name=f"{name}: decode", flops=parts[0].flops - first.flops, traffic=traffic
        )
        parts = [first, decode]
    return parts


def _work(jaxpr: Any, text: str | None, steps: int) -> tuple[float, dict[str, Traffic] | None]:
    return matmul_flops(jaxpr, steps), None if text is None else collectives(text, steps)


def _compile(traced: Any) -> tuple[float, str | None]:
    """Bytes on each device and the text, which there is not where the compiler finds that memory does not suffice."""
    lowered = traced.lower()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if (used := bytes_wanted(str(error))) is None:
            raise
        return used, None
    stats = compiled.memory_analysis()
    given = stats.output_size_in_bytes - stats.alias_size_in_bytes
    size = stats.argument_size_in_bytes + given + stats.temp_size_in_bytes + stats.generated_code_size_in_bytes
    try:
        return size, compiled.as_text()
    except jax.errors.JaxRuntimeError:
        return size, _dumped(lowered)


def _dumped(lowered: Any) -> str:
    """The text in the compiler's own words: a younger libtpu makes instructions that jaxlib does not read."""
    with tempfile.TemporaryDirectory() as folder:
        lowered.compile({"xla_dump_to": folder, "xla_dump_hlo_as_text": True})
        (written,) = pathlib.Path(folder).glob("*.after_optimizations.txt")
        return written.read_text()


def bytes_wanted(message: str) -> float | None:
    """What a program would use, from the compiler's refusal; None where it refuses for another reason.

    Where temporaries alone are too much, it does not go on to count the rest.
    """
    size = r"([\d.]+)([KMGT]?)"
    for words in (rf"[Uu]sed {size} of [\d.]+[KMGT]? hbm", rf"required for HLO temporaries \({size}\) exceeds"):
        if found := re.search(words, message):
            return float(found[1]) * 1024 ** ["", "K", "M", "G", "T"].index(found[2])
    return None
