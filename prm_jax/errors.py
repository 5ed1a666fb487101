"""The one exception that is meant for the person at the keyboard.

Every room raises `UserError` where a mistake of the user's is found (a missing file, a misspelt macro, a
checkpoint of another shape); `cli.py` prints it as one line and exits with status 2.
"""

from __future__ import annotations

import errno


class UserError(Exception):
    """A mistake that the user can mend: what was given, what was expected, what to do, in one line."""


class Interrupted(Exception):
    """Long work was asked to stop (Ctrl-C, SIGTERM), has saved itself, and says here how to go on."""


def is_full_disk(error: BaseException | None) -> bool:
    """Whether this error, or one that caused it, says that the disk is full (libraries often say so in words only)."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
