"""What the sandbox keeps shut on this machine, found by trying it.

Comes in: a function that runs programs in the sandbox. Goes out: a `Tier`. Called by `sandbox.py` before the first
program, and through it by `prm_jax doctor`. Version numbers of kernels promise more than some keep, and containers
take away what the kernel has; so a confined program tries to read, write, fork and so on, and what is refused counts.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prm_jax.errors import UserError
from prm_jax.execution.verdict import Outcome, Program, Verdict
from prm_jax.problems.problem import Test

_ATTEMPTS = '''
import os

def refused(attempt):
    """Whether the system refuses."""
    try:
        attempt()
    except (OSError, ImportError):
        return True
    return False

def read(path):
    with open(path) as file:
        file.read()

def create(path):
    open(path, "w").close()

def socket(family, kind):
    import _socket
    _socket.socket(getattr(_socket, family), getattr(_socket, kind))

def fork():
    if os.fork() == 0:
        os._exit(0)

def execute():
    try:
        os.execv("/nonexistent/program", ["program"])
    except FileNotFoundError:
        pass
'''

# What may be kept shut, and the attempts that must all be refused; `{folder}` is one that the caller made.
ATTEMPTS: dict[str, tuple[str, ...]] = {
    "network": (
        "lambda: socket('AF_INET', 'SOCK_STREAM')",
        "lambda: socket('AF_INET', 'SOCK_DGRAM')",
        "lambda: socket('AF_INET6', 'SOCK_STREAM')",
        "lambda: socket('AF_UNIX', 'SOCK_STREAM')",
    ),
    "writing files": (
        "lambda: create('{folder}/created')",
        "lambda: os.truncate('{folder}/truncated', 0)",
        "lambda: os.remove('{folder}/removed')",
        "lambda: os.mkdir('{folder}/made')",
    ),
    "reading files": ("lambda: read('{folder}/read')", "lambda: os.listdir('{folder}')"),
    "starting processes": ("fork", "execute"),
    "signals to other processes": ("lambda: os.kill(os.getppid(), 0)",),
}


@dataclasses.dataclass(frozen=True)
class Tier:
    """How much is kept shut.

    Attributes:
      name: `"A"` to `"D"`, see `TIERS`.
      shut: keys of `ATTEMPTS` that are kept shut.
      open: the others.
    """

    name: str
    shut: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def is_strong(self) -> bool:
        """Whether the network and the file system are kept shut: what untrusted programs ask for."""
        return self.name in STRONG


# By what at least is kept shut, the strongest first.
TIERS: dict[str, tuple[str, ...]] = {
    "A": tuple(ATTEMPTS),
    "B": ("network", "writing files", "reading files"),
    "C": ("network", "writing files"),
    "D": (),
}
STRONG = ("A", "B")


def tier_of(shut: Iterable[str]) -> Tier:
    """The tier of a machine that keeps shut what `shut` names."""
    shut = set(shut)
    name = next(name for name, needed in TIERS.items() if shut.issuperset(needed))
    return Tier(name, tuple(key for key in ATTEMPTS if key in shut), tuple(key for key in ATTEMPTS if key not in shut))


def find_tier(run: Callable[[list[Program]], Mapping[Program, Verdict]]) -> Tier:
    """Has a program try all of `ATTEMPTS` in the sandbox.

    Args:
      run: runs programs once each.

    Raises:
      UserError: if the sandbox cannot even run a program.
    """
    with tempfile.TemporaryDirectory(prefix="prm_jax-") as folder:
        for name in ("truncated", "removed", "read"):
            (Path(folder) / name).write_text("what no program may reach")
        pairs = [(key, attempt.format(folder=folder)) for key, attempts in ATTEMPTS.items() for attempt in attempts]
        program = Program(_ATTEMPTS, tuple(Test(f"refused({attempt})", "True") for _, attempt in pairs))
        verdict = run([program])[program]
    if verdict.outcome not in (Outcome.PASSED, Outcome.WRONG_ANSWER):
        raise UserError(
            f"the sandbox cannot run a program on this machine ({verdict.outcome}: {verdict.exception}); it needs "
            "Linux with no_new_privs and resource limits"
        )
    is_open = {key for (key, _), refused in zip(pairs, verdict.passed, strict=True) if not refused}
    return tier_of(key for key in ATTEMPTS if key not in is_open)
