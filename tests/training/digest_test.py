"""The digest of an array: the same on any mesh, another one for any changed bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.training.digest import digest

DTYPES = (jnp.float32, jnp.bfloat16, jnp.int32, jnp.uint8, jnp.bool_)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_changed_element_changes_it(dtype):
    values = np.random.default_rng(0).integers(0, 2, (4, 6)).astype(dtype)
    before = int(digest(jnp.asarray(values)))
    for index in np.ndindex(values.shape):
        other = values.copy()
        other[index] = not other[index]
        assert int(digest(jnp.asarray(other))) != before, index


def test_it_is_a_sum_of_bits_by_position():
    assert int(digest(jnp.array([[2, 3], [5, 7]], jnp.int32))) == 2 * 1 + 3 * 3 + 5 * 5 + 7 * 7
    assert int(digest(jnp.array([1.0, 1.0]))) == 0x3F800000 * 4 % 2**32
    assert int(digest(jnp.array(True))) == 1


def test_it_does_not_depend_on_how_the_array_is_split():
    values = jax.random.normal(jax.random.key(0), (16, 8))
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    for spec in (jax.P("a", "b"), jax.P(("a", "b")), jax.P(None, "b"), jax.P()):
        assert int(digest(jax.device_put(values, jax.sharding.NamedSharding(mesh, spec)))) == int(digest(values))
