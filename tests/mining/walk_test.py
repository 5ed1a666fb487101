"""Reading trees that are not as one would wish: each fault is one reason, and none is an exception."""

import collections
import os

import pytest

from prm_jax.errors import UserError
from prm_jax.mining import walk
from prm_jax.mining.walk import SourceFile, UnreadableError, default_roots, find_files, read_source


def reason(path) -> str:
    with pytest.raises(UnreadableError) as error:
        read_source(str(path))
    return str(error.value)


def test_files_are_found_once_and_links_are_not_followed(tmp_path):
    package = tmp_path / "pkg"
    (package / "inner").mkdir(parents=True)
    for name in ("a.py", "inner/b.py", "notes.txt"):
        (package / name).write_text("")
    (package / "inner" / "loop").symlink_to(package)
    (package / "c.py").symlink_to(package / "a.py")
    (package / "dangling.py").symlink_to(tmp_path / "nowhere")
    skipped = collections.Counter()
    files = find_files([str(tmp_path), str(package)], skipped)
    assert [file.path for file in files] == [str(package / "a.py"), str(package / "inner" / "b.py")]
    assert skipped["link"] == 6  # Three, met from both roots.


def test_a_root_within_a_package_knows_the_package(tmp_path):
    inner = tmp_path / "pkg" / "inner"
    inner.mkdir(parents=True)
    for path in (tmp_path / "pkg" / "__init__.py", inner / "__init__.py", inner / "deep.py"):
        path.write_text("")
    modules = {file.module for file in find_files([str(inner)], collections.Counter())}
    assert modules == {"pkg.inner", "pkg.inner.deep"}


def test_installed_packages_below_a_root_are_left_to_a_root_of_their_own(tmp_path):
    for folder in ("site-packages", ".git", "__pycache__", "_vendor"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("")
    assert find_files([str(tmp_path)], collections.Counter()) == []
    assert len(find_files([str(tmp_path / "site-packages")], collections.Counter())) == 1


def test_a_root_that_is_no_folder_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(UserError, match="nothing_here: no such folder"):
        find_files([str(tmp_path / "nothing_here")], collections.Counter())


def test_the_default_roots_hold_the_standard_library_and_what_is_installed():
    roots = default_roots()
    assert any(os.path.exists(os.path.join(root, "textwrap.py")) for root in roots)
    assert any(os.path.exists(os.path.join(root, "pytest")) for root in roots)


def test_text_is_decoded_as_the_file_declares(tmp_path):
    (tmp_path / "latin.py").write_bytes("# coding: latin-1\r\nx = 'é'\r\n".encode("latin-1"))
    assert read_source(str(tmp_path / "latin.py")) == "# coding: latin-1\nx = 'é'\n"
    (tmp_path / "mark.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert read_source(str(tmp_path / "mark.py")) == "x = 1\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"x = '\0'\n", "null bytes"),
        (b"\xff\xfe\x80", "not text"),
        (b"# coding: no-such-code\n", "not text"),
        (b"pass\n" * 100_000, "too long"),
        (b"#" * (walk.MAX_BYTES + 1), "too long"),
    ],
)
def test_bytes_that_are_no_source(tmp_path, data, expected):
    (tmp_path / "a.py").write_bytes(data)
    assert reason(tmp_path / "a.py") == expected


def test_what_is_no_file_or_not_there(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")  # Reading it would wait for a writer for ever.
    assert reason(tmp_path / "pipe.py") == "no regular file"
    (tmp_path / "folder.py").mkdir()
    assert reason(tmp_path / "folder.py") == "cannot be opened"
    assert reason(tmp_path / "gone.py") == "cannot be opened"


@pytest.mark.parametrize("mode, text", [("a", "y = 2\n"), ("w", "x"), ("w", "x = 2\n")])
def test_a_file_that_changes_while_it_is_read_is_skipped(tmp_path, monkeypatch, mode, text):
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    fstat, calls = os.fstat, []

    def change(descriptor):
        found = fstat(descriptor)
        if os.path.samestat(found, path.stat()):
            calls.append(found)
            with path.open(mode) as file:
                file.write(text)
        return found

    monkeypatch.setattr(walk.os, "fstat", change)
    assert reason(path) == "changed while it was read"
    assert calls


def test_the_module_of_a_file():
    assert SourceFile("/r", "/r/email/utils.py").module == "email.utils"
    assert SourceFile("/r", "/r/email/__init__.py").module == "email"
    assert SourceFile("/r", "/r/heapq.py").module == "heapq"
