"""Checkpoints: what comes back is what was saved, bit for bit, or a line that says why not."""

import contextlib
import errno
import math
import pathlib
import random
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax.errors import UserError
from prm_jax.training.checkpoint import Checkpointer, DamagedCheckpoint


def tree(toy) -> dict:
    params = toy.init()
    state = optax.chain(optax.clip(1.0), optax.adamw(1e-3)).init(params)
    return {"params": params, "opt": state, "half": jnp.arange(3, dtype=jnp.bfloat16), "key": jax.random.key(7)}


def test_a_tree_comes_back_bit_for_bit(toy, tmp_path):
    saved = tree(toy)
    abstract = jax.eval_shape(lambda: tree(toy))
    with Checkpointer(tmp_path / "c") as checkpoints:
        checkpoints.save(3, saved, {"best": math.nan, "names": ["a"], "none": None, "third": 1 / 3})
    with Checkpointer(tmp_path / "c") as checkpoints:
        assert checkpoints.latest() == 3
        restored = checkpoints.restore(3, abstract)
        extra = checkpoints.extra(3)
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    key, restored_key = saved.pop("key"), restored.pop("key")
    assert toy.same_bits(saved, restored) and restored["half"].dtype == jnp.bfloat16
    assert jax.random.key_impl(key) == jax.random.key_impl(restored_key)
    assert jax.random.uniform(key) == jax.random.uniform(restored_key)
    assert math.isnan(extra["best"]) and extra["third"] == 1 / 3 and extra["none"] is None


def test_a_relative_directory_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpointer("runs/one") as checkpoints:
        checkpoints.save(1, {"x": np.arange(3, dtype=np.int32)})
    with Checkpointer(tmp_path / "runs/one") as checkpoints:
        np.testing.assert_array_equal(checkpoints.restore(1, {"x": jnp.zeros(3, jnp.int32)})["x"], np.arange(3))


def test_numpy_arrays_and_scalars_are_kept_and_python_numbers_refused(tmp_path):
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(0, {"scalar": np.int32(5), "array": np.arange(2.0, dtype=np.float32)})
        abstract = {"scalar": jnp.int32(0), "array": jnp.zeros(2)}
        restored = checkpoints.restore(None, abstract)
        assert restored["scalar"] == 5 and restored["array"].tolist() == [0.0, 1.0]
        with pytest.raises(TypeError, match=r"leaf a\.b .*int"):
            checkpoints.save(1, {"a": {"b": 3}})
        with pytest.raises(TypeError, match="float64"):
            checkpoints.save(1, {"a": np.zeros(2)})


def test_the_latest_are_kept_and_a_step_can_be_saved_again(tmp_path):
    with Checkpointer(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest() is None
        for step in (1, 2, 10):
            checkpoints.save(step, {"x": jnp.full(2, float(step))})
        checkpoints.save(10, {"x": jnp.full(2, 11.0)})
        assert checkpoints.latest() == 10
        assert checkpoints.restore(10, {"x": jnp.zeros(2)})["x"].tolist() == [11.0, 11.0]
        assert checkpoints.restore(2, {"x": jnp.zeros(2)})["x"].tolist() == [2.0, 2.0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["10", "2"]


def test_another_shape_is_refused_by_the_first_leaf_that_differs(toy, tmp_path):
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(4, {"params": toy.init(width=8)})
        with pytest.raises(UserError) as caught:
            checkpoints.restore(4, {"params": toy.init(width=6)})
        message = str(caught.value)
        # In the order of the tree, `dense.bias` agrees and `dense.kernel` is the first that does not.
        assert "params.dense.kernel" in message and "float32[8,11]" in message and "float32[6,11]" in message
        assert "step 4" in message and str(tmp_path) in message and "\n" not in message
        params = toy.init(width=8)
        with pytest.raises(UserError, match=r"expects float32\[8\]|holds nothing at params\.more"):
            checkpoints.restore(4, {"params": {**params, "more": jnp.zeros(8)}})
        del params["norm"]
        with pytest.raises(UserError, match=r"params\.norm\.scale.*expects nothing"):
            checkpoints.restore(4, {"params": params})
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), toy.init(width=8))
        with pytest.raises(UserError, match="bfloat16"):
            checkpoints.restore(4, {"params": params})


def test_a_missing_checkpoint_is_named_and_nothing_is_made(tmp_path):
    with Checkpointer(tmp_path / "none") as checkpoints:
        with pytest.raises(UserError, match="no checkpoint in .*none"):
            checkpoints.restore(None, {})
        assert not (tmp_path / "none").exists()
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(2, {"x": jnp.zeros(1)})
        with pytest.raises(UserError, match=r"step 5 .*it has 2"):
            checkpoints.restore(5, {"x": jnp.zeros(1)})


def test_leaves_come_back_on_another_mesh(tmp_path):
    auto = (jax.sharding.AxisType.Auto,) * 2
    wide = jax.make_mesh((4, 2), ("data", "tensor"), axis_types=auto)
    tall = jax.make_mesh((2, 4), ("data", "tensor"), axis_types=auto)
    values = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    before = jax.device_put(values, jax.sharding.NamedSharding(wide, jax.P("data", "tensor")))
    wanted = jax.sharding.NamedSharding(tall, jax.P("tensor", None))
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(0, {"x": before})
        after = checkpoints.restore(0, {"x": jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=wanted)})["x"]
        alone = checkpoints.restore(0, {"x": jnp.zeros((8, 8))})["x"]
    assert after.sharding == wanted
    np.testing.assert_array_equal(after, values)
    # An array that was bound to no device must not be afterwards: it would not mix with a mesh.
    assert not alone.committed


def test_a_full_disk_is_a_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": jnp.zeros(1)})
        manager = checkpoints._manager(writes=True)

        def full(step, *_, **__):
            (tmp_path / f"{step}.orbax-checkpoint-tmp").mkdir(exist_ok=True)
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise ValueError("tensorstore could not write") from error

        # Orbax raises the error of a failed save once more when it is closed.
        monkeypatch.setattr(manager, "save_async", full)
        monkeypatch.setattr(manager, "close", lambda: full(0))
        with pytest.raises(UserError, match="no space left for the checkpoint of step 2"):
            checkpoints.save(2, {"x": jnp.zeros(1)})
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("2")) == []
        assert checkpoints.latest() == 1
        checkpoints.save(3, {"x": jnp.zeros(1)})
        assert checkpoints.latest() == 3


def test_buffers_may_be_given_away_while_they_are_saved(tmp_path):
    advance = jax.jit(lambda x: x + 1, donate_argnums=0)
    x, mine = jnp.zeros(1 << 21), np.zeros(8, np.float32)
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": x, "mine": mine})
        mine += 1
        for _ in range(20):
            x = advance(x)
        restored = checkpoints.restore(1, {"x": x, "mine": mine})
    assert x[0] == 20 and not restored["x"].any() and not restored["mine"].any()


@contextlib.contextmanager
def files_no_larger_than(size):
    """What a full disk looks like to a process, without a disk to fill."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("how", ["wait", "save", "latest", "close"])
def test_a_disk_that_fills_while_saving_is_told_by_the_next_call(tmp_path, how):
    noise = {"x": jax.random.normal(jax.random.key(0), (1 << 18,))}  # Zeros would be compressed to nothing.
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, noise)
    checkpoints.wait()
    before = sorted(tmp_path.rglob("*"))
    call = {"save": lambda: checkpoints.save(3, noise)}.get(how) or getattr(checkpoints, how)
    with files_no_larger_than(1 << 16), pytest.raises(UserError, match="no space left for the checkpoint of step 2"):
        checkpoints.save(2, noise)
        call()
    assert sorted(tmp_path.rglob("*")) == before
    assert checkpoints.latest() == 1
    checkpoints.save(4, noise)
    assert checkpoints.latest() == 4
    checkpoints.close()


def flip(path: pathlib.Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << position % 8
    path.write_bytes(data)


# Orbax leaves a coroutine behind where it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_byte_is_found_wherever_it_is(toy, tmp_path):
    """Or it changes nothing: not every byte of a file means something."""
    saved, abstract = tree(toy), jax.eval_shape(lambda: tree(toy))
    saved.pop("key"), abstract.pop("key")
    with Checkpointer(tmp_path / "good") as checkpoints:
        checkpoints.save(3, saved, {"best": 0.5, "course": [1, 2, 3]})
    found, draw = 0, random.Random(0)
    files = [path for path in sorted((tmp_path / "good").rglob("*")) if path.is_file() and path.stat().st_size]
    for number, path in enumerate(files * 4):
        bad = tmp_path / str(number)
        shutil.copytree(tmp_path / "good", bad)
        flip(bad / path.relative_to(tmp_path / "good"), draw.randrange(path.stat().st_size))
        with Checkpointer(bad) as checkpoints:
            try:
                restored, extra = checkpoints.restore(3, abstract), checkpoints.extra(3)
            except DamagedCheckpoint as error:
                found += 1
                assert str(bad / "3") in str(error) and "\n" not in str(error)
            else:
                assert toy.same_bits(restored, saved) and extra == {"best": 0.5, "course": [1, 2, 3]}, path
    assert found > len(files)


def flip_in_the_middle(folder):
    largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    flip(largest, largest.stat().st_size // 2)


def test_each_damaged_checkpoint_of_a_step_is_put_aside_under_a_name_of_its_own(tmp_path, caplog):
    numbers = {"x": jax.random.normal(jax.random.key(0), (1 << 12,))}
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, numbers)
    for name in ("damaged-2", "damaged-2-2", "damaged-2-3"):
        with Checkpointer(tmp_path) as checkpoints:
            checkpoints.save(2, numbers)
        flip_in_the_middle(tmp_path / "2")
        with Checkpointer(tmp_path) as checkpoints:
            assert checkpoints.resume(numbers)[0] == 1
        assert (tmp_path / name).exists() and not (tmp_path / "2").exists()
        assert f"it is {name} now" in caplog.text


def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_taken(tmp_path, caplog):
    abstract = {"x": jnp.zeros(1 << 12)}
    with Checkpointer(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"x": jax.random.normal(jax.random.key(step), (1 << 12,))}, {"step": step})
    flip_in_the_middle(tmp_path / "2")
    with Checkpointer(tmp_path) as checkpoints:
        step, restored, extra = checkpoints.resume(abstract)
        assert (step, extra) == (1, {"step": 1})
        assert (restored["x"] == jax.random.normal(jax.random.key(1), (1 << 12,))).all()
        assert "2 is damaged" in caplog.text and "goes on from step 1" in caplog.text
        assert (tmp_path / "damaged-2").exists() and checkpoints.latest() == 1
        checkpoints.save(2, abstract)
    for step in (1, 2):
        shutil.rmtree(tmp_path / str(step) / "state")
    with Checkpointer(tmp_path) as checkpoints, pytest.raises(UserError, match=r"2 is damaged .*there is no other"):
        checkpoints.resume(abstract)
