"""Provenance: name, version and licence, as installed metadata, a source tree or the interpreter state them."""

import os
import platform
import sysconfig

import pytest

from prm_jax.mining.packages import Package, package_of
from prm_jax.mining.walk import SourceFile


def install(root, metadata: str, record: str = "", name: str = "some-dist") -> None:
    folder = root / f"{name.replace('-', '_')}-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\n{metadata}\n")
    (folder / "RECORD").write_text(record or "pkg/a.py,,\n")


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT\nLicense: something else", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License\nClassifier: Topic :: Games", "BSD License"),
        ("License: ISC", "ISC"),
        ("Summary: none stated", "unknown licence"),
    ],
)
def test_an_installed_package(tmp_path, metadata, licence):
    install(tmp_path, metadata)
    assert package_of(SourceFile(str(tmp_path), str(tmp_path / "pkg" / "a.py"))) == Package("some-dist", "1.2", licence)


def test_a_single_module_is_found_by_its_record(tmp_path):
    install(tmp_path, "License: ISC", "alone.py,,\n")
    found = package_of(SourceFile(str(tmp_path), str(tmp_path / "alone.py")))
    assert str(found) == "some-dist 1.2, ISC"


def test_packages_that_share_a_name_are_told_apart_by_their_files(tmp_path):
    for name in ("one", "two"):
        install(tmp_path, "License: ISC", f"space/{name}.py,,\n", f"space-{name}")
    files = [SourceFile(str(tmp_path), str(tmp_path / "space" / f"{name}.py")) for name in ("one", "two")]
    assert [package_of(file).name for file in files] == ["space-one", "space-two"]


def test_the_standard_library_is_python():
    library = sysconfig.get_path("stdlib")
    root = os.path.realpath(library)
    found = package_of(SourceFile(root, f"{root}/textwrap.py"))
    assert found == Package("python", platform.python_version(), "PSF-2.0")


def test_a_source_tree_states_it_in_its_project_file(tmp_path):
    source = tmp_path / "project" / "src"
    source.mkdir(parents=True)
    text = '[project]\nname = "tree"\nversion = "3"\nlicense = {text = "Apache-2.0"}\n'
    (tmp_path / "project" / "pyproject.toml").write_text(text)
    found = package_of(SourceFile(str(source), str(source / "a.py")))
    assert found == Package("tree", "3", "Apache-2.0")


def test_a_package_whose_metadata_are_no_utf_8_is_not_known(tmp_path):
    install(tmp_path, "License: ISC", "fine.py,,\n", "fine")
    install(tmp_path, "License: ISC", "odd.py,,\n", "odd")
    (tmp_path / "odd-1.2.dist-info" / "METADATA").write_bytes(b"Name: odd\nLicense: ISC\nAuthor: J\xf6rg\n")
    odd, fine = (SourceFile(str(tmp_path), str(tmp_path / f"{name}.py")) for name in ("odd", "fine"))
    assert package_of(odd) == Package(tmp_path.name, "", "unknown licence")
    assert package_of(fine) == Package("fine", "1.2", "ISC")


@pytest.mark.parametrize("text", ["not [toml", 'project = "x"', 'name = "x"', "x = " + "[" * 5000 + "]" * 5000])
def test_a_bare_folder_gives_its_name(tmp_path, text):
    root = tmp_path / "scripts"
    root.mkdir()
    (tmp_path / "pyproject.toml").write_text(text)
    assert str(package_of(SourceFile(str(root), str(root / "a.py")))) == "scripts, unknown licence"
