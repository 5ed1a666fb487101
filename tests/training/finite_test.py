"""Numbers that are not finite are found in the first tensor that holds one, of whatever dtype its neighbours are."""

import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.training.finite import first_not_finite, leaf_name


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "a.x"), (np.inf, "a.x"), (1.0, None)])
def test_the_first_leaf_is_named(bad, name):
    tree = {"a": {"flag": jnp.array([True]), "x": jnp.array([0.0, bad])}, "b": jnp.array(bad), "n": jnp.arange(3)}
    number = int(first_not_finite(tree))
    assert (leaf_name(tree, number) if number >= 0 else None) == name
