"""Dataclasses to JSON and back."""

import dataclasses
import json
import math

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.plain import from_plain, load, save, to_plain
from prm_jax.labelling.labelled_program import Label


@dataclasses.dataclass(frozen=True)
class Inner:
    pair: tuple[int, str]
    label: Label
    maybe: float | None = None


@dataclasses.dataclass(frozen=True)
class Outer:
    value: float
    inners: tuple[Inner, ...]
    table: dict[str, Inner]


OUTER = Outer(
    math.nan, (Inner((1, "a"), Label.WRONG), Inner((2, "b"), Label.RIGHT, 2.0)), {"k": Inner((3, "c"), Label.NEUTRAL)}
)


def test_a_tree_comes_back_through_json_that_has_no_nan():
    text = json.dumps(to_plain(OUTER), allow_nan=False)
    back = from_plain(Outer, json.loads(text))
    assert math.isnan(back.value)
    assert dataclasses.replace(back, value=0.0) == dataclasses.replace(OUTER, value=0.0)
    assert isinstance(back.inners[0].label, Label)


def test_files_are_whole_and_bad_ones_are_named(tmp_path):
    path = tmp_path / "deep" / "outer.json"
    save(OUTER, path)
    assert [file.name for file in path.parent.iterdir()] == ["outer.json"]
    assert load(Outer, path).inners == OUTER.inners
    path.write_text('{"other": 1}')
    with pytest.raises(UserError, match=r"outer\.json does not hold a Outer"):
        load(Outer, path)
    with pytest.raises(UserError, match="missing"):
        load(Outer, tmp_path / "none.json")
