"""Frozen dataclasses to plain JSON data and back, by their type annotations.

`results.py`, `prm_eval.py` and `report/data.py` keep their results between stages with it. NaN, which JSON does not
know, becomes null.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
import typing
from typing import Any, TypeVar

from etils import epath

from prm_jax.errors import UserError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dictionaries, lists, strings and numbers that say the same as a tree of dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def from_plain(kind: Any, data: Any) -> Any:
    """The value of a type that `to_plain` made `data` from.

    Args:
      kind: a dataclass, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `X | None`, an enum or a basic type.
      data: what `to_plain` gave.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: from_plain(hints[name], item) for name, item in data.items()})  # type: ignore[operator]
    if origin is tuple:
        kinds = arguments[:1] * len(data) if arguments[-1] is Ellipsis else arguments
        return tuple(from_plain(of, item) for of, item in zip(kinds, data, strict=True))
    if origin is dict:
        return {key: from_plain(arguments[1], item) for key, item in data.items()}
    if origin in (types.UnionType, typing.Union):
        return None if data is None else from_plain(next(of for of in arguments if of is not type(None)), data)
    if kind is float:
        return math.nan if data is None else float(data)
    return kind(data) if isinstance(kind, type) and issubclass(kind, enum.Enum) else data


def save(value: Any, path: epath.PathLike) -> None:
    """Writes a dataclass as JSON, whole or not at all."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f"{path.name}.part"
    part.write_text(json.dumps(to_plain(value), indent=1, allow_nan=False))
    part.replace(path)


def load(kind: type[T], path: epath.PathLike) -> T:
    """Reads what `save` wrote.

    Raises:
      UserError: where the file is missing, or does not hold such a dataclass.
    """
    try:
        return from_plain(kind, json.loads(epath.Path(path).read_text()))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the stage that writes it first") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} does not hold a {kind.__name__} ({error}): delete it and run its stage again"
        ) from None
