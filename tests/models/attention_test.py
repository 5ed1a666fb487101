import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.models.kernels import attend, causal_mask


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
