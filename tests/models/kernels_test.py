"""Every kernel gives what plain attention gives, and is refused where it cannot run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ahead.slices import parse_slice, slice_devices
from prm_jax.errors import UserError
from prm_jax.models import kernels
from prm_jax.models.config import ModelConfig
from prm_jax.models.kernels import attend, causal_mask
from prm_jax.parallel.mesh import MeshConfig, make_mesh


def _random(shape, seed):
    return jax.random.normal(jax.random.key(seed), shape)


def test_attend_is_softmax_of_scaled_products():
    queries, keys, values = _random((1, 3, 1, 4), 0), _random((1, 1, 5, 4), 1), _random((1, 1, 5, 4), 2)
    mask = np.array([[[1, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]], bool)
    expected = np.zeros((3, 4))
    for t in range(3):
        products = np.exp([np.dot(queries[0, t, 0], keys[0, 0, s]) / 2 for s in range(5)]) * mask[0, t]
        expected[t] = products @ np.asarray(values[0, 0]) / products.sum()
    np.testing.assert_allclose(attend(queries, keys, values, mask)[0, :, 0], expected, atol=1e-5)


def test_grouped_queries_equal_repeated_key_value_heads():
    queries, keys, values = _random((2, 3, 4, 6), 0), _random((2, 2, 3, 6), 1), _random((2, 2, 3, 6), 2)
    mask = causal_mask(jnp.ones((2, 3), jnp.int32))
    repeated = attend(queries, jnp.repeat(keys, 2, axis=1), jnp.repeat(values, 2, axis=1), mask)
    np.testing.assert_allclose(attend(queries, keys, values, mask), repeated, atol=1e-5)


def test_causal_mask_keeps_segments_apart_and_no_row_empty():
    mask = np.asarray(causal_mask(jnp.array([[1, 1, 2, 0]])))[0]
    assert mask.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]


LENGTH = 300
KERNELS = {
    "plain": lambda *arrays: kernels.attend_rows(ModelConfig(attention="plain"), *arrays),
    "xla": lambda *arrays: kernels.attend_rows(ModelConfig(attention="xla"), *arrays),
    "pallas": lambda *arrays: kernels.splash(*arrays, interpret=True),
}


def _packed_rows(length=LENGTH):
    """Queries of four heads, keys and values of two; rows of one segment, of three, and with padding."""
    segments = np.ones((2, length), np.int32)
    segments[1, 40:200], segments[1, 200:290], segments[1, 290:] = 2, 3, 0
    shapes = (2, length, 4, 16), (2, 2, length, 16), (2, 2, length, 16)
    return *(_random(shape, seed) for seed, shape in enumerate(shapes)), jnp.asarray(segments)


def _with_gradients(function, *arrays):
    """What a kernel gives, and the gradients of a sum of it with regard to queries, keys and values."""

    def total(*arrays):
        mixed = function(*arrays)
        return jnp.sum(jnp.sin(mixed.astype(jnp.float32))), mixed

    (_, mixed), gradients = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)(*arrays)
    return mixed, *gradients


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_gives_what_whole_scores_give(name):
    *arrays, segments = _packed_rows()
    found = _with_gradients(lambda *arrays: KERNELS[name](*arrays, segments), *arrays)
    expected = _with_gradients(lambda *arrays: attend(*arrays, causal_mask(segments)), *arrays)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_tpus_kernel_runs_on_the_rows_and_heads_of_each_device():
    """Two key-value heads on four devices: each query head takes its own along."""
    *arrays, segments = _packed_rows(128)
    arrays = [jnp.concatenate([x, x]) for x in arrays]
    segments = jnp.concatenate([segments, segments])
    expected = attend(*arrays, causal_mask(segments))
    with jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=1, tensor=4))):
        found = jax.jit(lambda *arrays: kernels.splash(*arrays, interpret=True))(*arrays, segments)
        assert found.sharding.spec[0] == "data" or "data" in found.sharding.spec[0]
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("tensor", [1, 2, 4])
def test_cudnn_is_asked_for_what_it_can_do(tensor, monkeypatch):
    """Even lengths, and on each device the key-value heads that its query heads need; else it would refuse."""
    jaxs, asked = jax.nn.dot_product_attention, []

    def stub(queries, keys, values, *, mask, implementation):
        asked.append((implementation, queries.shape, keys.shape, values.shape, mask.shape))
        return jaxs(queries, keys, values, mask=mask)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stub)
    *arrays, segments = _packed_rows(257)
    expected = _with_gradients(lambda *arrays: attend(*arrays, causal_mask(segments)), *arrays)
    with jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=1, tensor=tensor), jax.devices()[: 2 * tensor])):
        found = jax.jit(lambda *arrays: _with_gradients(lambda *a: kernels.cudnn(*a, segments), *arrays))(*arrays)
    of_keys = (1, 258, max(2 // tensor, 1), 16)
    assert asked[0] == ("cudnn", (1, 258, 4 // tensor, 16), of_keys, of_keys, (1, 1, 258, 258))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("length", [300, 299])
def test_the_gpus_kernel_gives_what_whole_scores_give(length):
    if jax.default_backend() != "gpu":
        pytest.skip("there is no GPU here")
    *arrays, segments = _packed_rows(length)
    arrays = [x.astype(jnp.bfloat16) for x in arrays]
    config = ModelConfig(attention="cudnn", dtype="bfloat16")
    found = _with_gradients(lambda *arrays: kernels.attend_rows(config, *arrays, segments), *arrays)
    wide = [x.astype(jnp.float32) for x in arrays]
    expected = _with_gradients(lambda *arrays: attend(*arrays, causal_mask(segments)), *wide)
    for one, other in zip(found, expected, strict=True):
        # Numbers of 8 bits: off by 1/256 of the largest, a few times over.
        np.testing.assert_allclose(one.astype(np.float32), other, atol=0.02 * np.abs(other).max(), rtol=0)


@pytest.mark.parametrize(("name", "device"), [("cudnn", "GPU"), ("pallas", "TPU")])
def test_a_kernel_that_the_platform_lacks_is_refused(name, device):
    config = ModelConfig(attention=name, dtype="bfloat16")
    with pytest.raises(UserError, match=f"'{name}', which runs on {device}s, and the devices here are of platform cpu"):
        kernels.attend_rows(config, *_packed_rows())


@pytest.mark.slow
def test_the_tpus_kernel_compiles_for_a_tpu():
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install 'prm_jax[tpu]'")
    mesh = make_mesh(MeshConfig(data=2, fsdp=1, tensor=2), slice_devices(parse_slice("v5e:2x2")))
    config = ModelConfig(attention="pallas", dtype="bfloat16")
    *arrays, segments = _packed_rows(256)
    arrays = [x.astype(jnp.bfloat16) for x in arrays]

    def total(queries, keys, values):
        return jnp.sum(kernels.attend_rows(config, queries, keys, values, segments).astype(jnp.float32))

    with jax.set_mesh(mesh):
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole) for x in arrays]
        text = jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(*shapes).compile().as_text()
    assert "splash" in text and "tpu_custom_call" in text
