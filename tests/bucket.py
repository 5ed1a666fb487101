"""A stand-in for a bucket of Google Cloud Storage: objects that appear whole when they are closed, and never grow.

`epath` reaches it in place of TensorFlow's file system, TensorStore (orbax) by a server of the same objects. They lie
in a folder, one file to an object, so that one process finds what another one left.
"""

import contextlib
import fnmatch
import http.server
import io
import json
import os
import pathlib
import re
import sys
import threading
import types
import urllib.parse
import uuid

import google.cloud
import pytest
from etils.epath import backend, gpath, stat_utils


class Bucket(backend.Backend):
    """The objects, and the operations of TensorFlow's file system on them; folders are what names have in common."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, under: str = "") -> list[str]:
        names = (urllib.parse.unquote(file) for file in os.listdir(self.folder) if not file.startswith("."))
        return sorted(name for name in names if name.startswith(under))

    def get(self, name: str) -> bytes | None:
        file = self._file(name)
        return file.read_bytes() if file.exists() else None

    def put(self, name: str, content: bytes) -> None:
        part = self.folder / f".{uuid.uuid4().hex}"
        part.write_bytes(content)
        part.replace(self._file(name))

    def generation(self, name: str) -> int:
        return self._file(name).stat().st_mtime_ns if self._file(name).exists() else 0

    def delete(self, name: str) -> None:
        self._file(name).unlink()

    def _file(self, name: str) -> pathlib.Path:
        return self.folder / urllib.parse.quote(name, safe="")

    @contextlib.contextmanager
    def open(self, path, mode):
        """For a `with` statement only, as TensorFlow's is."""
        name, raw = _name(path), io.BytesIO()
        assert mode.replace("b", "") in ("r", "w"), f"{path}: an object cannot be opened with {mode!r}"
        if "r" in mode and (content := self.get(name)) is None:
            raise FileNotFoundError(path)
        if "r" in mode:
            raw = io.BytesIO(content)
        file = raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8", newline="")
        if "w" in mode:
            raw.seek = raw.truncate = None
        yield file
        if "w" in mode:
            file.flush()
            self.put(name, raw.getvalue())

    def exists(self, path):
        return self.get(_name(path)) is not None or self.isdir(path)

    def isdir(self, path):
        return bool(self.names(_name(path) + "/"))

    def listdir(self, path):
        below = (name.removeprefix(_name(path) + "/") for name in self.names(_name(path) + "/"))
        return sorted({re.sub("/.*", "/", name, flags=re.DOTALL) for name in below if name})

    def glob(self, path):
        parts = _name(path).split("/")
        found = {tuple(name.split("/")[: len(parts)]) for name in self.names() if name.count("/") + 1 >= len(parts)}
        return [f"gs://{'/'.join(each)}" for each in sorted(found) if all(map(fnmatch.fnmatchcase, each, parts))]

    def walk(self, top, *, top_down=True, on_error=None):
        raise NotImplementedError

    def makedirs(self, path, *, exist_ok=False, mode=None):
        if not exist_ok and self.exists(path):
            raise FileExistsError(path)
        self.put(_name(path) + "/", b"")

    mkdir = makedirs

    def rmtree(self, path):
        if not (found := self.names(_name(path) + "/")):
            raise FileNotFoundError(path)
        for name in found:
            self.delete(name)

    def remove(self, path):
        if self.get(_name(path)) is None:
            raise FileNotFoundError(path)
        self.delete(_name(path))

    def rename(self, path, dst):
        if self.exists(dst):
            raise FileExistsError(dst)
        self.replace(path, dst)

    def replace(self, path, dst):
        """Copies and deletes, object by object."""
        old, new = _name(path), _name(dst)
        if not self.exists(path):
            raise FileNotFoundError(path)
        for name in self.names(old):
            if name == old or name.startswith(old + "/"):
                self.put(new + name.removeprefix(old), self.get(name))
                self.delete(name)

    def copy(self, path, dst, overwrite):
        if not overwrite and self.exists(dst):
            raise FileExistsError(dst)
        self.put(_name(dst), self.get(_name(path)))

    def stat(self, path):
        content = self.get(_name(path))
        if content is None and not self.isdir(path):
            raise FileNotFoundError(path)
        return stat_utils.StatResult(content is None, len(content or b""), 0, None, None, None)


def _name(path) -> str:
    return os.fspath(path).removeprefix("gs://").rstrip("/")


def serve(bucket: Bucket) -> str:
    """Serves the objects as TensorStore asks for them (Google's JSON API); gives the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            name, query = self.asked()
            if name.endswith("/"):
                self.answer(200, json.dumps({"items": self.listed(name, query)}).encode())
            elif (content := bucket.get(name)) is None:
                self.answer(404)
            elif query.get("ifGenerationNotMatch") == str(bucket.generation(name)):
                self.answer(304)
            elif found := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                part = slice(int(found[1]), int(found[2]) + 1 if found[2] else None)
                start, stop, _ = part.indices(len(content))
                span = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
                self.answer(206, content[part], {"x-goog-generation": str(bucket.generation(name)), **span})
            else:
                self.answer(200, content, {"x-goog-generation": str(bucket.generation(name))})

        def do_POST(self):
            folder, query = self.asked()
            name, content = folder + query["name"], self.rfile.read(int(self.headers["Content-Length"]))
            if query.get("ifGenerationMatch", str(bucket.generation(name))) != str(bucket.generation(name)):
                return self.answer(412)
            bucket.put(name, content)
            return self.answer(200, json.dumps(described(name)).encode())

        def do_DELETE(self):
            bucket.delete(self.asked()[0])
            self.answer(204)

        def asked(self) -> tuple[str, dict[str, str]]:
            url = urllib.parse.urlparse(self.path)
            name = re.fullmatch("(?:/upload)?/storage/v1/b/([^/]+)/o/?(.*)", url.path)
            return f"{name[1]}/{urllib.parse.unquote(name[2])}", dict(urllib.parse.parse_qsl(url.query))

        def listed(self, under: str, query: dict[str, str]) -> list[dict[str, str]]:
            first, last = query.get("startOffset", ""), query.get("endOffset", "\U0010ffff")
            names = bucket.names(under + query.get("prefix", ""))
            return [described(name) for name in names if first <= name.removeprefix(under) < last]

        def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def described(name: str) -> dict[str, str]:
        size, generation = len(bucket.get(name) or b""), bucket.generation(name)
        return {"name": name.partition("/")[2], "size": str(size), "generation": str(generation)}

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def install(folder: str | os.PathLike[str], patch: pytest.MonkeyPatch | None = None) -> Bucket:
    """Makes `gs://` of this process a folder."""
    bucket, patch = Bucket(pathlib.Path(folder)), patch or pytest.MonkeyPatch()
    patch.setattr(backend, "tf_backend", bucket)
    patch.setattr(gpath, "_GCS_BACKENDS", frozenset({bucket}))
    patch.setattr(gpath, "_is_tf_installed", lambda: True)
    # Of Google's library orbax asks only whether the bucket has folders of its own.
    library = types.ModuleType("google.cloud.storage")
    library.Client = lambda: types.SimpleNamespace(get_bucket=lambda name: types.SimpleNamespace())
    patch.setattr(google.cloud, "storage", library, raising=False)
    patch.setitem(sys.modules, "google.cloud.storage", library)
    patch.setenv("TENSORSTORE_GCS_HTTP_URL", serve(bucket))
    patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
    return bucket
