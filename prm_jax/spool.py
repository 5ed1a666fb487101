"""`Spool`: files that grow, in a run directory that may be a bucket, where nothing can be appended to.

Comes in: a folder of a run directory. Goes out: a folder of this machine's disk to write to, the same one where it is
on a disk. The journals of `execution/` and `mining/` and the metrics of `training/` write through it.

An object of a bucket appears whole when it is closed. So a file grows on this machine, and `flush` puts it up whole:
before each checkpoint that depends on it, and in the end.
"""

from __future__ import annotations

import os
import pathlib
import tempfile

from etils import epath


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is one of a bucket, such as `gs://bucket/run`, and not of a disk."""
    return "://" in os.fspath(path)


class Spool:
    """A folder on a disk for files of one folder of a run directory.

    Attributes:
      folder: where to write them.
    """

    def __init__(self, home: epath.PathLike, *names: str) -> None:
        """Makes the folder.

        Args:
          home: the folder of the run directory.
          names: the files that are gone on with, where they are there.
        """
        self._home = epath.Path(home)
        self._scratch = tempfile.TemporaryDirectory(prefix="prm_jax-") if is_remote(self._home) else None
        self._put_up: dict[str, int] = {}
        self.folder = pathlib.Path(self._home if self._scratch is None else self._scratch.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._scratch is not None:
            for name in names:
                if (self._home / name).exists():
                    (self.folder / name).write_bytes((self._home / name).read_bytes())

    def flush(self) -> None:
        """Puts up what has grown since the last call; on a disk there is nothing to do."""
        if self._scratch is None:
            return
        for file in sorted(self.folder.iterdir()):
            if file.stat().st_size != self._put_up.get(file.name):
                content = file.read_bytes()
                (self._home / file.name).write_bytes(content)
                self._put_up[file.name] = len(content)

    def close(self) -> None:
        """Puts up what is left, and lets go of this machine's copy."""
        try:
            self.flush()
        finally:
            if self._scratch is not None:
                self._scratch.cleanup()
