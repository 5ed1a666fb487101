"""Checkpoints: what comes back is what was saved, bit for bit, or a line that says why not."""

import errno
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax.errors import UserError
from prm_jax.training.checkpoint import Checkpointer


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
        monkeypatch.setattr(manager, "save", full)
        monkeypatch.setattr(manager, "close", lambda: full(0))
        with pytest.raises(UserError, match="no space left for the checkpoint of step 2"):
            checkpoints.save(2, {"x": jnp.zeros(1)})
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("2")) == []
        assert checkpoints.latest() == 1
        checkpoints.save(3, {"x": jnp.zeros(1)})
        assert checkpoints.latest() == 3
