"""The one place that makes a mesh. Stages call it and work inside `jax.set_mesh`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from prm_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis of the mesh. One axis may be -1: all the devices that the others leave.

    Attributes:
      data: copies of the model, each with its share of the batch.
      fsdp: devices over which parameters, optimiser state and the batch are split.
      tensor: devices over which heads, feed-forward features and vocabulary are split.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = dataclasses.asdict(self)
        if list(sizes.values()).count(-1) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
            raise UserError(f"MeshConfig {sizes}: sizes must be positive, and at most one may be -1 (all the rest).")


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes `data`, `fsdp`, `tensor`.

    The axes are `AxisType.Auto`: `jax.make_mesh` makes explicit ones by default, under which a sharding constraint
    becomes an assertion.

    Args:
      config: sizes.
      devices: those to use; None for all.

    Raises:
      UserError: the sizes do not make up the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = dataclasses.asdict(config)
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(devices) % fixed or (fixed != len(devices) and -1 not in sizes.values()):
        raise UserError(
            f"MeshConfig {sizes} does not fit {len(devices)} devices; "
            "choose sizes whose product is that number, or -1 for one of them."
        )
    shape = tuple(len(devices) // fixed if size == -1 else size for size in sizes.values())
    return jax.make_mesh(shape, tuple(sizes), axis_types=(AxisType.Auto,) * len(shape), devices=devices)
