"""What of the file system Python itself needs: its standard library and the shared libraries that this loads.

Comes in: nothing. Goes out: paths. Called by `confinement.py` for Landlock's rules and by `bwrap.py`, so in the zygote
and in the parent, whose own `sys.path` must not matter: it names the user's folders. Installed packages lie below the
same folders as the library (`site-packages`, on Debian `dist-packages`) and hold data sets, or this package; so the
library is named entry by entry. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import sys

PACKAGES = ("site-packages", "dist-packages")
_SHARED = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
_OTHERS = (
    *("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
)


def library_folders() -> list[str]:
    """The folders of the standard library, which Python lists before it imports from them."""
    library = os.path.dirname(os.__file__)
    # Elsewhere where a distribution keeps compiled modules apart.
    compiled = os.path.join(sys.base_exec_prefix, sys.platlibdir, os.path.basename(library))
    return list(dict.fromkeys((library, compiled)))


def readable_paths() -> list[str]:
    """Files and trees that suffice to import all of the standard library; those that are not there may be named."""
    paths = [os.path.join(folder, name) for folder in library_folders() for name in _names(folder) - {*PACKAGES}]
    multiarch = getattr(sys.implementation, "_multiarch", "")
    for folder in (os.path.join(sys.base_exec_prefix, "lib"), *_SHARED):
        paths += [os.path.join(folder, name) for name in _names(folder) if ".so" in name or name == multiarch]
    return [*paths, *_OTHERS]


def _names(folder: str) -> set[str]:
    with contextlib.suppress(OSError):
        return set(os.listdir(folder))
    return set()
