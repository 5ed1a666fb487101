"""Reading files of problems and normalising the programs in them; used by the sources that read files."""

from __future__ import annotations

import ast
import http.client
import urllib.request
import warnings

from etils import epath

from prm_jax.errors import UserError

_TIMEOUT_SECONDS = 60


def read_text(path: str) -> str:
    """The text of a local file, a `gs://` path or a `http(s)://` URL, decoded as UTF-8.

    Raises:
      UserError: when there is no such file, or it cannot be read.
    """
    if not path:
        raise UserError("no file of problems was named: expected a path or a URL; set the source's `path`")
    try:
        if path.startswith(("http://", "https://")):
            with urllib.request.urlopen(path, timeout=_TIMEOUT_SECONDS) as response:
                return response.read().decode("utf-8")
        return epath.Path(path).expanduser().read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give the path or the URL of a file of problems") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start}); convert it") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no URL or path at all.
        raise UserError(f"{path}: cannot be read ({error}); check the path, the URL and the permissions") from error


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; one with a lone surrogate, which is half a character, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def normalise_source(source: str) -> str:
    r"""A program with `"\n"` line ends, tabs as four spaces, no blanks at line ends and one final newline.

    Strings keep their tabs and blanks (line ends apart). A program that does not parse gets the line ends and tabs.
    """
    text = source.replace("\r\n", "\n").replace("\r", "\n").strip("\n") + "\n"
    tree = _parse(text)
    if tree is None:
        return text.expandtabs(4)
    inside = _lines_within_strings(tree)
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in inside:
            body = line.lstrip(" \t")
            line = line[: len(line) - len(body)].expandtabs(4) + body
        lines.append(line if number + 1 in inside else line.rstrip(" \t"))
    normal = "\n".join(lines)
    # A tab between two tokens may go too; one within a string would change the tree.
    for candidate in (normal.expandtabs(4), normal):
        found = _parse(candidate)
        if found is not None and ast.dump(found) == ast.dump(tree):
            return candidate
    return text


def _lines_within_strings(tree: ast.AST) -> set[int]:
    """The 1-based lines that begin within a string of several lines."""
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr | ast.Constant))
    return {line for node in strings for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)}


def _parse(text: str) -> ast.Module | None:
    """The syntax tree, None where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Invalid escapes in other people's strings.
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            return None
