import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.models.config import ModelConfig, RopeScaling
from prm_jax.models.rope import frequencies, rotary_table, rotate

HEAD = ModelConfig(width=64, heads=1, kv_heads=1)


def test_rotary_products_depend_on_distance_only():
    config = ModelConfig(width=8, heads=1, kv_heads=1)
    query, key = (jax.random.normal(jax.random.key(seed), (1, 1, 1, 8)) for seed in range(2))

    def product(query_position, key_position):
        return jnp.vdot(
            rotate(query, rotary_table(jnp.array([[query_position]]), config)),
            rotate(key, rotary_table(jnp.array([[key_position]]), config)),
        )

    np.testing.assert_allclose(product(9, 4), product(5, 0), atol=1e-5)
    assert abs(product(9, 4) - product(9, 5)) > 1e-3


def _ratio(scaling):
    """By how much a scaling divides each frequency."""
    return frequencies(HEAD) / frequencies(dataclasses.replace(HEAD, rope_scaling=scaling))


def test_linear_scaling_divides_every_frequency():
    np.testing.assert_allclose(_ratio(RopeScaling("linear", factor=3.0)), 3.0, rtol=1e-6)


def test_llama3_keeps_short_wavelengths_and_stretches_long_ones():
    scaling = RopeScaling("llama3", factor=8.0, original_context=1024, low_freq_factor=1.0, high_freq_factor=4.0)
    wavelengths, ratio = 2 * np.pi / np.asarray(frequencies(HEAD)), np.asarray(_ratio(scaling))
    np.testing.assert_allclose(ratio[wavelengths < 1024 / 4], 1.0, rtol=1e-6)
    np.testing.assert_allclose(ratio[wavelengths > 1024], 8.0, rtol=1e-6)
    between = ratio[(wavelengths > 1024 / 4) & (wavelengths < 1024)]
    assert len(between) > 1 and np.all((between > 1) & (between < 8)) and np.all(np.diff(between) > 0)


def test_yarn_keeps_what_turns_often_and_scales_the_rotation():
    scaling = RopeScaling("yarn", factor=4.0, original_context=1024)
    turns, ratio = 1024 * np.asarray(frequencies(HEAD)) / (2 * np.pi), np.asarray(_ratio(scaling))
    # The borders are rounded outwards to whole pairs of features.
    np.testing.assert_allclose(ratio[turns > 32 * 1.4], 1.0, rtol=1e-6)
    np.testing.assert_allclose(ratio[turns < 1 / 1.4], 4.0, rtol=1e-6)
    assert np.all(np.diff(ratio) >= -1e-6)
    cos, sin = rotary_table(jnp.array([[7]]), dataclasses.replace(HEAD, rope_scaling=scaling))
    np.testing.assert_allclose(np.hypot(cos, sin), 0.1 * np.log(4) + 1, rtol=1e-6)
