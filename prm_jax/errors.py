"""The one exception that is meant for the person at the keyboard.

Every room raises `UserError` where a mistake of the user's is found (a missing file, a misspelt macro, a
checkpoint of another shape); `cli.py` prints it as one line and exits with status 2.
"""

from __future__ import annotations

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """A mistake that the user can mend: what was given, what was expected, what to do, in one line."""


class Interrupted(Exception):
    """Long work was asked to stop, has saved itself, and says here how to go on.

    Attributes:
      preempted: asked by SIGTERM, as machines are taken away: no failure, but not the end of the work either.
    """

    def __init__(self, message: str, preempted: bool = False) -> None:
        super().__init__(message)
        self.preempted = preempted


def is_full_disk(error: BaseException | None) -> bool:
    """Whether this error, or one that caused it, says that no more may be written: the disk, a quota or a limit.

    Libraries often say so in words only.
    """
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
