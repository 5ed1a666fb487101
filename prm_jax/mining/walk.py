"""Finds the Python files below some folders and reads them; whatever is wrong with one is a reason, never an end.

Comes in: folders. Goes out: `SourceFile`s and, for each, its text or `UnreadableError`. `stages/mine.py` walks,
`functions.py` reads in the workers. Source trees are other people's: links may go in circles, a file may be a pipe or
binary, and may change while it is read.
"""

from __future__ import annotations

import codecs
import collections
import dataclasses
import importlib.util
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator

from prm_jax.errors import UserError

MAX_BYTES = 2_000_000
MAX_LINES = 50_000
_NOT_SOURCE = ("__pycache__", "site-packages", "dist-packages")
_COPIES = ("_vendor", "_vendored", "vendored")
"""Folders of other packages' source, often of older versions, under the name of the package that copied it."""


class UnreadableError(Exception):
    """Why a file is skipped: a few words that the funnel counts."""


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One Python file: the folder that its module is imported from, and its path."""

    root: str
    path: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The path below the root: `("email", "utils.py")`."""
        return tuple(os.path.relpath(self.path, self.root).split(os.sep))

    @property
    def module(self) -> str:
        """The dotted name of the module below the root, `"email.utils"`; a package's is that of its folder."""
        parts = [*self.parts[:-1], self.parts[-1].removesuffix(".py")]
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def default_roots() -> tuple[str, ...]:
    """The standard library and the folders of every installed package."""
    installed = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    folders = [sysconfig.get_path("stdlib"), *installed]
    return tuple(dict.fromkeys(os.path.realpath(folder) for folder in folders if os.path.isdir(folder)))


def find_files(roots: Iterable[str], skipped: collections.Counter[str]) -> list[SourceFile]:
    """The `.py` files below the roots, sorted, each once, whatever the roots have in common.

    Links are not followed, so that no loop is; `skipped` counts them, and folders that cannot be listed, by reason.
    A folder of installed packages within a root is a root of its own only where it is named as one.

    Raises:
      UserError: if a root is no folder.
    """
    found: dict[str, SourceFile] = {}
    given = [os.path.realpath(root) for root in roots]
    for root, named in zip(given, roots, strict=True):
        if not os.path.isdir(root):
            raise UserError(f"--roots {named}: no such folder; give folders of Python source")
        for path in _walk(root, skipped):
            found.setdefault(path, SourceFile(_import_root(root), path))
    return [found[path] for path in sorted(found)]


def _import_root(folder: str) -> str:
    """The folder that modules are imported from: above that of a package."""
    while os.path.exists(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _walk(root: str, skipped: collections.Counter[str]) -> Iterator[str]:
    def unlisted(error: OSError) -> None:
        skipped["folder cannot be listed"] += 1

    for folder, folders, files in os.walk(root, onerror=unlisted):
        hidden = [name for name in folders if name.startswith(".") or name in (*_NOT_SOURCE, *_COPIES)]
        links = [name for name in folders if name not in hidden and os.path.islink(os.path.join(folder, name))]
        skipped["link"] += len(links)
        folders[:] = sorted(set(folders) - {*hidden, *links})
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    skipped["link"] += 1
                else:
                    yield path


def read_source(path: str) -> str:
    """The text of a Python file, decoded as the file itself declares.

    Raises:
      UnreadableError: where it is no regular file, too long, binary, of an unknown encoding, or changes meanwhile.
    """
    try:
        data = _read_bytes(path)
    except OSError as error:
        raise UnreadableError("cannot be opened") from error
    if b"\0" in data:
        raise UnreadableError("null bytes")
    if data.count(b"\n") > MAX_LINES:
        raise UnreadableError("too long")
    try:
        return importlib.util.decode_source(data).removeprefix(codecs.BOM_UTF8.decode())
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UnreadableError("not text") from error


def _read_bytes(path: str) -> bytes:
    # A pipe that nobody writes to would otherwise be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableError("no regular file")
        if before.st_size > MAX_BYTES:
            raise UnreadableError("too long")
        data = file.read(before.st_size + 1)
        after = os.fstat(descriptor)
    if len(data) != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UnreadableError("changed while it was read")
    return data
