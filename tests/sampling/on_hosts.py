"""What `hosts_test.py` starts as one process or several: continuous batching on a mesh of four devices.

usage: python on_hosts.py FOLDER; leaves `<host>.npz` there.
"""

import functools
import pathlib
import sys

import jax
import numpy as np
from engine_test import MODEL, _many, _prompts

from prm_jax.models.policy import boxed_policy
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.parallel.processes import joined
from prm_jax.parallel.shardings import sharded_init


def sample(folder: str) -> None:
    """More requests than slots, so that every host has to refill the same slots at the same time."""
    mesh = make_mesh(MeshConfig(data=2, fsdp=2))
    with jax.set_mesh(mesh):
        params = sharded_init(functools.partial(boxed_policy, MODEL), jax.random.key(0), mesh)
        written = _many(params, _prompts(12, samples=2), slots=8)
    np.savez(pathlib.Path(folder) / f"{jax.process_index()}.npz", **vars(written))


if __name__ == "__main__":
    with joined(dict):
        sample(sys.argv[1])
