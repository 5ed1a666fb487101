import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.sampling.noise import gumbel_noise, threefry


def _keys(n):
    return jax.vmap(jax.random.key)(jnp.arange(n, dtype=jnp.uint32))


@pytest.mark.parametrize(
    ("key", "counter", "hashed"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_has_the_published_answers(key, counter, hashed):
    # Those of the authors' own library, Random123, kat_vectors.
    assert tuple(map(int, threefry(tuple(map(jnp.uint32, key)), tuple(map(jnp.uint32, counter))))) == hashed


@pytest.mark.parametrize("vocabulary", [1, 11, 4097])
def test_noise_is_that_of_jax_bit_for_bit(vocabulary):
    positions = jnp.array([0, 1, 7, 500, 2**20])
    keys = jax.vmap(jax.random.key)(jnp.array([0, 1, 2**31, 2**32 - 1, 12345], jnp.uint32))
    ours = jax.jit(gumbel_noise, static_argnums=2)(keys, positions, vocabulary)
    for row, key, position in zip(ours, keys, positions, strict=True):
        theirs = jax.random.gumbel(jax.random.fold_in(key, position), (vocabulary,), jnp.float32, mode="low")
        np.testing.assert_array_equal(np.asarray(row).view(np.uint32), np.asarray(theirs).view(np.uint32))


def test_noise_is_each_rows_own():
    noise = gumbel_noise(_keys(3), jnp.array([5, 6, 7]), 8)
    alone = gumbel_noise(_keys(3)[1:2], jnp.array([6]), 8)
    np.testing.assert_array_equal(noise[1], alone[0])
    assert not np.array_equal(noise[1], gumbel_noise(_keys(3)[1:2], jnp.array([7]), 8)[0])
