"""Batches from exported rows: deterministic, complete, resumable."""

import itertools
import json

import numpy as np
import pytest

from prm_jax.batches import PromptBatch, TokenBatch
from prm_jax.errors import UserError
from prm_jax.training.data import batches, load_prompts, load_rows


def rows(count: int) -> PromptBatch:
    """Prompts that are told apart by `problem`."""
    index = np.arange(count, dtype=np.int32)
    return PromptBatch(tokens=np.stack([index, index], axis=1), lengths=index + 1, problem=index)


def drawn(count: int, steps: int, **kwargs) -> list[list[int]]:
    return [batch.problem.tolist() for batch in itertools.islice(batches(rows(count), **kwargs), steps)]


def test_an_epoch_has_every_row_once_and_the_next_another_order():
    epochs = drawn(12, 6, batch_size=4, seed=0)
    first, second = sum(epochs[:3], []), sum(epochs[3:], [])
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert epochs != drawn(12, 6, batch_size=4, seed=1)


def test_fields_stay_together():
    batch = next(batches(rows(9), 4, seed=3))
    assert (batch.tokens[:, 0] == batch.problem).all()
    assert (batch.lengths == batch.problem + 1).all()


@pytest.mark.parametrize("start", [1, 2, 5])
def test_a_resume_goes_on_at_the_right_row(start):
    assert drawn(11, 9, batch_size=4, seed=7)[start:] == drawn(11, 9 - start, batch_size=4, seed=7, start_step=start)


def test_hosts_share_each_batch():
    whole = drawn(16, 5, batch_size=6, seed=2)
    parts = [drawn(16, 5, batch_size=6, seed=2, host_index=host, host_count=3) for host in range(3)]
    assert [sum(shares, []) for shares in zip(*parts, strict=True)] == whole
    with pytest.raises(UserError, match="3 hosts"):
        next(batches(rows(16), 4, seed=0, host_count=3))


@pytest.mark.parametrize(("before", "after"), [(2, 3), (4, 1), (1, 6)])
def test_a_resume_on_another_number_of_hosts_neither_repeats_nor_skips(before, after):
    def shared(steps, hosts, start):
        options = {"batch_size": 12, "seed": 2, "host_count": hosts, "start_step": start}
        parts = [drawn(40, steps, host_index=host, **options) for host in range(hosts)]
        return [sum(shares, []) for shares in zip(*parts, strict=True)]

    assert shared(4, before, 0) + shared(5, after, 4) == drawn(40, 9, batch_size=12, seed=2)


def test_a_set_smaller_than_a_batch_fills_it():
    batch = drawn(3, 1, batch_size=8, seed=0)[0]
    assert sorted(np.bincount(batch).tolist()) == [2, 3, 3]


def write(directory, kind, count, meta_rows):
    directory.mkdir()
    for name in kind._fields:
        shape = (count,) if name in ("lengths", "problem") else (count, 4)
        np.save(directory / f"{name}.npy", np.ones(shape, np.int32))
    (directory / "meta.json").write_text(json.dumps({"rows": meta_rows}))


@pytest.mark.parametrize(("load", "kind"), [(load_rows, TokenBatch), (load_prompts, PromptBatch)])
def test_loading(tmp_path, load, kind):
    write(tmp_path / "good", kind, 3, 3)
    loaded = load(tmp_path / "good")
    assert isinstance(loaded, kind)
    assert all(len(field) == 3 for field in loaded)
    write(tmp_path / "short", kind, 3, 4)
    with pytest.raises(UserError, match="says 4 rows"):
        load(tmp_path / "short")
    with pytest.raises(UserError, match="no exported rows"):
        load(tmp_path / "none")
    (tmp_path / "good" / "tokens.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="is torn"):
        load(tmp_path / "good")
    (tmp_path / "good" / "tokens.npy").unlink()
    with pytest.raises(UserError, match="is missing"):
        load(tmp_path / "good")
    (tmp_path / "good" / "meta.json").write_text("{")
    with pytest.raises(UserError, match="is torn"):
        load(tmp_path / "good")
