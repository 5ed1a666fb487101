"""Start-up of a job that runs on several hosts. `cli.py` calls it before any device is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping

import jax

# Variables from which JAX, or the launcher that set them, can tell that there is more than one process.
_COORDINATOR = ("JAX_COORDINATOR_ADDRESS", "COORDINATOR_ADDRESS")
_COUNTS = ("JAX_NUM_PROCESSES", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
_HOST_LISTS = ("TPU_WORKER_HOSTNAMES", "MEGASCALE_COORDINATOR_ADDRESS")


def is_multihost(environment: Mapping[str, str]) -> bool:
    """Whether the environment speaks of more than one process."""
    if any(environment.get(name) for name in _COORDINATOR):
        return True
    if any(environment.get(name, "1") not in ("", "1") for name in _COUNTS):
        return True
    return any("," in environment.get(name, "") for name in _HOST_LISTS)


def initialize_distributed() -> None:
    """Joins this process to its job; does nothing where the process is alone or has joined.

    Every host runs the same program. Address, number of processes and own number come from the cluster (TPU pod
    slice, Slurm, Open MPI) or from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`.
    """
    if jax.distributed.is_initialized() or not is_multihost(os.environ):
        return
    processes, own = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        num_processes=int(processes) if processes else None, process_id=int(own) if own else None
    )
