"""Safetensors files, read and written one tensor at a time.

A folder's path comes in; `SafetensorsFolder` gives each tensor when it is asked for. `checkpoint_load.py` and
`checkpoint_save.py` use it. The format is a length, a JSON header and plain numbers
(https://huggingface.co/docs/safetensors). It is read here and not by its package because that one writes only what
lies in memory whole, and reads only local files.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from etils import epath

from prm_jax.errors import UserError
from prm_jax.models.hf_config import read_json

Shape = tuple[int, ...]

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
}
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_LENGTH_BYTES = 8
_ALIGNMENT = 8


class TensorSource(Protocol):
    """A checkpoint's tensors.

    Attributes:
      where: its path, for messages.
      shapes: shape of each tensor, by name, in the order in which they are best read.
    """

    where: str
    shapes: Mapping[str, Shape]

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        ...


@dataclasses.dataclass(frozen=True)
class _Stored:
    """Where a tensor lies in which file."""

    file: epath.Path
    dtype: np.dtype
    shape: Shape
    start: int


class SafetensorsFolder:
    """The tensors of `model.safetensors`, or of the files that `model.safetensors.index.json` names."""

    def __init__(self, folder: epath.PathLike):
        """Reads the headers only.

        Raises:
          UserError: a file is missing, truncated or corrupt, or holds numbers of an unknown kind.
        """
        folder = epath.Path(folder)
        self.where = str(folder)
        self._stored: dict[str, _Stored] = {}
        for file in _files(folder):
            self._stored |= _read_header(file)
        self.shapes: Mapping[str, Shape] = {name: stored.shape for name, stored in self._stored.items()}

    def read(self, name: str) -> np.ndarray:
        """One tensor, as the file's numbers.

        Raises:
          UserError: the file has become shorter since it was opened.
        """
        stored = self._stored[name]
        size = math.prod(stored.shape) * stored.dtype.itemsize
        with stored.file.open("rb") as file:
            file.seek(stored.start)
            data = file.read(size)
        if len(data) != size:
            raise UserError(f"{stored.file} is truncated: {name} has {len(data)} of {size} bytes; download it again")
        return np.frombuffer(data, stored.dtype).reshape(stored.shape)


def write_safetensors(
    path: epath.PathLike, shapes: Mapping[str, Shape], dtype: str, tensors: Iterable[tuple[str, np.ndarray]]
) -> None:
    """Writes one file, whole or not at all, with one tensor in memory at a time.

    Args:
      path: of the file.
      shapes: shape of each tensor, in the order of `tensors`.
      dtype: "F32", "BF16", "F16" or "F64", of all tensors.
      tensors: their names and values.
    """
    kind, start = _DTYPES[dtype], 0
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, shape in shapes.items():
        end = start + math.prod(shape) * kind.itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    path = epath.Path(path)
    part = path.parent / f"{path.name}.part"
    with part.open("wb") as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        for (name, shape), (given, array) in zip(shapes.items(), tensors, strict=True):
            if (given, array.shape) != (name, shape):
                raise ValueError(f"{given} of shape {array.shape} comes where {name} of shape {shape} was announced")
            file.write(np.ascontiguousarray(array, kind).reshape(-1).view(np.uint8).data)
    part.replace(path)


def _files(folder: epath.Path) -> list[epath.Path]:
    if (folder / _WHOLE).exists():
        return [folder / _WHOLE]
    if not (folder / _INDEX).exists():
        raise UserError(f"no {_WHOLE} and no {_INDEX} in {folder}: give the folder of a Hugging Face checkpoint")
    weight_map = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(f, str) for f in weight_map.values()):
        raise UserError(f"{folder / _INDEX} has no weight_map: download it again")
    files = [folder / name for name in sorted(set(weight_map.values()))]
    if missing := [file.name for file in files if not file.exists()]:
        raise UserError(f"{folder} lacks {', '.join(missing)}, which {_INDEX} names: download them")
    return files


def _read_header(file: epath.Path) -> dict[str, _Stored]:
    """The tensors of a file in the order in which they lie there."""
    length = file.stat().length
    with file.open("rb") as opened:
        header_length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + header_length
        # A corrupt length must not make us read the whole file.
        text = opened.read(header_length) if start <= length else b""
    try:
        header: dict[str, Any] = json.loads(text)
        header.pop("__metadata__", None)
        entries = sorted(header.items(), key=lambda entry: entry[1]["data_offsets"][0])
        stored = {name: _entry(file, name, entry, start) for name, entry in entries}
        end = start + max((entry["data_offsets"][1] for _, entry in entries), default=0)
    except UserError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is truncated or no safetensors file ({error!r}): download it again") from None
    if end != length:
        raise UserError(f"{file} is truncated or corrupt: it has {length} bytes, its header says {end}; download again")
    return stored


def _entry(file: epath.Path, name: str, entry: Mapping[str, Any], start: int) -> _Stored:
    if entry["dtype"] not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise UserError(f"{file}: {name} holds {entry['dtype']} numbers; give a checkpoint of {known} numbers")
    stored = _Stored(file, _DTYPES[entry["dtype"]], tuple(entry["shape"]), start + entry["data_offsets"][0])
    size = entry["data_offsets"][1] - entry["data_offsets"][0]
    if size != math.prod(stored.shape) * stored.dtype.itemsize:
        raise UserError(f"{file} is corrupt: {name} has {size} bytes for the shape {stored.shape}; download it again")
    return stored
