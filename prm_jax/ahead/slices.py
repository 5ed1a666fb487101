"""TPU slices by name: how many chips, how they are wired, what a chip holds; and their devices, without having them.

The command `compile` calls it. A slice has two names: the one that is paid for (`v5p-64`, after its cores or chips)
and its shape (`v5p:2x4x4`).
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Sequence

import jax

from prm_jax.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A generation of TPUs.

    Attributes:
      name: what slices of it begin with.
      dimensions: of the wiring between chips.
      counted: what the number in the first kind of name counts to a chip: 2 where it counts cores.
      memory: bytes that the compiler lets a program use on a chip (its own messages say so).
      peak: matrix products in bfloat16, FLOP/s.
      interconnect: bytes/s that a chip sends to its neighbours over all its links, while it receives as many.
      config: libtpu's name for one device to a chip.

    The last two rates are those of Google's pages (cloud.google.com/tpu/docs/v4, v5e, v5p, v6e), which count both
    directions of a link together; v4's links are in Jouppi et al. 2023, table 4.
    """

    name: str
    dimensions: int
    counted: int
    memory: float
    peak: float
    interconnect: float
    config: str = "default"


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 3, 2, 30.75 * GIB, 275e12, 300e9, "megacore"),
        Chip("v5e", 2, 1, 15.75 * GIB, 197e12, 200e9),
        Chip("v5p", 3, 2, 95.74 * GIB, 459e12, 600e9),
        Chip("v6e", 2, 1, 31.25 * GIB, 918e12, 400e9),
    )
}
_ALIASES = {"v5litepod": "v5e"}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Chips of one kind, wired as a grid or torus of `shape`."""

    chip: Chip
    shape: tuple[int, ...]

    @property
    def chips(self) -> int:
        """Their number."""
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        """By its shape, such as v5p:2x4x4."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def paid_name(self) -> str:
        """As it is ordered, such as v5p-64."""
        return f"{self.chip.name}-{self.chips * self.chip.counted}"


def parse_slice(text: str) -> Slice:
    """A slice from either name; a number stands for the shape nearest to a square or cube.

    Raises:
      UserError: the name is of neither form, of another generation, or no slice has such a shape.
    """
    match = re.fullmatch(r"(\w+?)(?::(\d+(?:x\d+)+)|-(\d+))", text.strip().lower())
    if match is None:
        raise UserError(f"no slice is called {text!r}: give its shape, such as v5e:4x4, or its order, such as v5p-64")
    name, shape, number = match.groups()
    chip = CHIPS.get(_ALIASES.get(name, name))
    if chip is None:
        raise UserError(f"slice {text!r} is of an unknown generation: choose one of {', '.join(CHIPS)}")
    if shape:
        sides = tuple(map(int, shape.split("x")))
        if len(sides) != chip.dimensions or min(sides) < 1:
            raise UserError(f"slice {text!r}: {chip.name} is wired in {chip.dimensions} dimensions, not {len(sides)}")
        return Slice(chip, sides)
    chips, rest = divmod(int(number), chip.counted)
    if rest or chips < 1 or chips & (chips - 1) or (chip.dimensions == 3 and chips < 4):
        least = 4 * chip.counted if chip.dimensions == 3 else 1
        raise UserError(
            f"slice {text!r}: after {chip.name}- stands a power of two from {least} on, which counts "
            f"{'cores, two to a chip' if chip.counted == 2 else 'chips'}; for other slices give the shape"
        )
    return Slice(chip, _even_shape(chips, chip.dimensions))


def _even_shape(chips: int, dimensions: int) -> tuple[int, ...]:
    """Powers of two, as even as can be, the largest last; four chips of three dimensions are 2x2x1."""
    if dimensions == 3 and chips == 4:
        return (2, 2, 1)
    exponent = chips.bit_length() - 1
    return tuple(2 ** ((exponent + side) // dimensions) for side in range(dimensions))


def slice_devices(wanted: Slice) -> Sequence[jax.Device]:
    """Devices of a slice that is not there, one to a chip: programs can be compiled for them, not run.

    Raises:
      UserError: libtpu is missing, or knows no such slice.
    """
    # Else libtpu asks the network whether this is a TPU machine.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", wanted.paid_name)
    # No device is held, so that several processes may compile at once.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    # Else JAX takes an installed libtpu for a sign of a TPU, and looks for it.
    jax.config.update("jax_platforms", "cpu")
    # What is compiled for a slice that is not there cannot be read back from the cache.
    jax.config.update("jax_enable_compilation_cache", False)
    from jax.experimental import topologies

    # A host has 2 x 2 chips; a slice that is narrower than that is part of one host.
    bounds = [min(2, side) for side in wanted.shape[:2]] + [1]
    try:
        found = topologies.get_topology_desc(
            platform="tpu",
            topology_name=wanted.name,
            chip_config_name=wanted.chip.config,
            chips_per_host_bounds=bounds,
        )
    except Exception as error:  # Whatever libtpu raises, it is the slice or libtpu itself.
        reason = " ".join(str(error).split())
        raise UserError(
            f"libtpu gives no slice {wanted.name} ({reason}): install prm_jax[tpu], or choose another slice"
        ) from error
    return found.devices
