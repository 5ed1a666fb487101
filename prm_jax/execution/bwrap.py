"""The second backend: the supervisor and all below it in namespaces of their own, made by bubblewrap.

Comes in: the supervisor's command. Goes out: the command that runs it inside. Called by `sandbox.py` where
`SandboxConfig.backend` is `"bwrap"`. It stands in for Landlock on kernels that lack it (gVisor): of the file system
only what Python needs is there at all, read-only, and the network has no devices. The layers of `confinement.py` hold
inside as well. It needs user namespaces, or root.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from prm_jax.errors import UserError
from prm_jax.execution.library import readable_paths


def is_installed() -> bool:
    """Whether there is a bubblewrap."""
    return shutil.which("bwrap") is not None


def wrap(command: list[str], readable: Iterable[str], writable: str) -> list[str]:
    """The command that runs `command`, a Python interpreter with arguments, in namespaces of its own.

    Args:
      command: the interpreter's path and its arguments.
      readable: folders that are there beside those that the interpreter needs.
      writable: the one folder that can be written to, as far as the confinement allows.

    Raises:
      UserError: where bubblewrap is not installed.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise UserError("SandboxConfig.backend = 'bwrap' needs bubblewrap, which is not installed: install it (bwrap)")
    # A virtual environment's interpreter is a link to one that needs nothing of that environment.
    interpreter = os.path.realpath(command[0])
    binds = [path for path in readable_paths() if not path.startswith("/dev")]
    binds += [os.path.dirname(interpreter), *readable]
    shown = [part for path in dict.fromkeys(binds) for part in ("--ro-bind-try", path, path)]
    return [
        *(bwrap, "--unshare-all", "--die-with-parent", *shown),
        *("--proc", "/proc", "--dev", "/dev", "--bind", writable, writable, "--chdir", "/"),
        *("--", interpreter, *command[1:]),
    ]
