"""Which package a file belongs to: name, version and licence, for a problem's provenance.

Comes in: a `SourceFile`. Goes out: a `Package`. Called by `functions.py` for every file that gives candidates. What is
known stands beside the source: the metadata of installed packages, `pyproject.toml` of a source tree, and for the
standard library the interpreter itself. Nothing is imported from the tree.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import platform
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping

from prm_jax.mining.walk import SourceFile

UNKNOWN = "unknown licence"


@dataclasses.dataclass(frozen=True)
class Package:
    """A distribution: its name, its version (may be empty) and its licence as it states it."""

    name: str
    version: str
    licence: str

    def __str__(self) -> str:
        """`name version, licence`."""
        return f"{' '.join(filter(None, (self.name, self.version)))}, {self.licence}"


def package_of(file: SourceFile) -> Package:
    """The package of a file."""
    top = file.parts[0].removesuffix(".py")
    if is_standard_library(file):
        return Package("python", platform.python_version(), "PSF-2.0")
    installed = _installed(file.root)
    return installed.get("/".join(file.parts)) or installed.get(top) or _source_tree(file.root)


def is_standard_library(file: SourceFile) -> bool:
    """Whether this is a file of the running interpreter's own library."""
    top = file.parts[0].removesuffix(".py")
    return file.root == os.path.realpath(sysconfig.get_path("stdlib")) and top in sys.stdlib_module_names | {"test"}


@functools.lru_cache(maxsize=64)
def _installed(root: str) -> Mapping[str, Package]:
    """The packages that are installed in a folder, by their files and by their top-level names.

    A name may be shared, as `jaraco` is by many packages; a file is of one. A package is not known if its metadata are
    not UTF-8.
    """
    found: dict[str, Package] = {}
    for distribution in importlib.metadata.distributions(path=[root]):
        with contextlib.suppress(UnicodeDecodeError):
            for name, package in _packages_of(distribution):
                found.setdefault(name, package)
    return found


def _packages_of(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, Package]]:
    """The package of a distribution by each name that it owns; nothing where it has no name itself."""
    metadata = distribution.metadata
    if name := _field(metadata, "Name"):
        package = Package(name, _field(metadata, "Version"), _licence(metadata))
        yield from ((owned, package) for owned in _owned(distribution))


def _owned(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    yield from (distribution.read_text("top_level.txt") or "").split()
    for line in (distribution.read_text("RECORD") or "").splitlines():
        path = line.split(",")[0]
        if path.endswith(".py"):
            yield path
            yield path.split("/")[0].removesuffix(".py")


def _field(metadata: importlib.metadata.PackageMetadata | None, name: str) -> str:
    return str(metadata[name]) if metadata is not None and name in metadata else ""


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """The expression, else what the classifiers say, else the first line of the free text."""
    if expression := _field(metadata, "License-Expression"):
        return expression
    classifiers = [each.split(" :: ")[-1] for each in metadata.get_all("Classifier") or () if each.startswith("Lic")]
    named = [each for each in classifiers if each != "OSI Approved"]
    return " or ".join(named) or _field(metadata, "License").strip().split("\n")[0][:80] or UNKNOWN


@functools.lru_cache(maxsize=64)
def _source_tree(root: str) -> Package:
    """What `pyproject.toml` of the tree, or of the folder that holds it, says; else the folder's name."""
    for folder in (root, os.path.dirname(root)):
        try:
            with open(os.path.join(folder, "pyproject.toml"), "rb") as file:
                project = tomllib.load(file).get("project")
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
            continue
        if not isinstance(project, dict):
            continue
        licence = project.get("license", UNKNOWN)
        if isinstance(licence, dict):
            licence = licence.get("text") or UNKNOWN
        if project.get("name"):
            return Package(str(project["name"]), str(project.get("version", "")), str(licence).split("\n")[0][:80])
    return Package(os.path.basename(root), "", UNKNOWN)
