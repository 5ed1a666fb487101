"""Rows survive the file; half a file never stands; bad rows are named."""

import json

import pytest

from prm_jax.errors import UserError
from prm_jax.labelling.jsonl import read_labelled, write_labelled, write_text
from prm_jax.labelling.labelled_program import Label, LabelledProgram

ROW = LabelledProgram(
    "p/1", "hand", "train", "Say “é”.", 'x = "é"\n', (9, 9), (Label.RIGHT, Label.NEUTRAL), True, "reference",
    "mutation", "passed",
)  # fmt: skip


def test_round_trip(tmp_path):
    write_labelled(tmp_path / "a.jsonl", [ROW, ROW])
    assert read_labelled(tmp_path / "a.jsonl") == [ROW, ROW]
    assert isinstance(read_labelled(tmp_path / "a.jsonl")[0].labels[0], Label)


def test_a_failure_leaves_the_old_file(tmp_path):
    write_labelled(tmp_path / "a.jsonl", [ROW])

    def rows():
        yield ROW
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_labelled(tmp_path / "a.jsonl", rows())
    assert read_labelled(tmp_path / "a.jsonl") == [ROW]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_cannot_be_encoded_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.jsonl", "\ud83d")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [{"labels": [3]}, {"labels": [3, 0]}, {"extra": 1}, {"step_ends": None}],
)
def test_bad_rows_are_named(tmp_path, change):
    write_labelled(tmp_path / "a.jsonl", [ROW, ROW])
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"a\.jsonl:2"):
        read_labelled(tmp_path / "a.jsonl")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        read_labelled(tmp_path / "nowhere.jsonl")
