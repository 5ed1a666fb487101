"""Normalised programs and files."""

import ast
import contextlib
import http.client
import io
import urllib.request

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.reading import normalise_source, read_text


def test_line_ends_tabs_and_blanks():
    assert normalise_source("def f(x): \r\n\tif x:\r\n\t\treturn 1\r\n\r\n\treturn 2") == (
        "def f(x):\n    if x:\n        return 1\n\n    return 2\n"
    )


def test_tabs_and_blanks_within_strings_stay():
    source = "def f():\n\treturn 'a\tb'\n"
    assert normalise_source(source) == "def f():\n    return 'a\tb'\n"
    kept = 'x = """a \n\tb"""\n'
    assert ast.dump(ast.parse(normalise_source(kept))) == ast.dump(ast.parse(kept))


def test_tabs_around_a_long_string():
    source = 'p = """a \n\tb"""\ndef f(x): \n\treturn\tx\n'
    assert normalise_source(source) == 'p = """a \n\tb"""\ndef f(x):\n    return\tx\n'
    assert normalise_source("def f(x):\n\treturn\tx\n") == "def f(x):\n    return  x\n"


def test_broken_programs_pass_through():
    assert normalise_source("def f(:\r\n\tpass") == "def f(:\n    pass\n"


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_text(str(tmp_path / "absent.jsonl"))
    with pytest.raises(UserError, match="set the source"):
        read_text("")
    with pytest.raises(UserError, match="cannot be read"):
        read_text(str(tmp_path))
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(UserError, match="UTF-8"):
        read_text(str(tmp_path / "latin"))
    (tmp_path / "good").write_text("é", encoding="utf-8")
    assert read_text(str(tmp_path / "good")) == "é"


@pytest.mark.parametrize(
    "url", ["http://localhost:port/a", "http://local host/a", "http://[::1/a", "http://local..host/a"]
)
def test_what_is_no_url_is_told_in_one_line(url):
    with pytest.raises(UserError, match="cannot be read.*check the path, the URL"):
        read_text(url)


def test_a_download_that_breaks_off_is_told_in_one_line(monkeypatch):
    class Torn(io.BytesIO):
        def read(self, *_):
            raise http.client.IncompleteRead(b"half")

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: contextlib.closing(Torn()))
    with pytest.raises(UserError, match="cannot be read.*IncompleteRead"):
        read_text("http://host/mbpp.jsonl")
