"""`next_token` agrees with whole logits, in one piece and in several, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ahead.hlo import collectives
from prm_jax.models import unembedding
from prm_jax.models.unembedding import NextToken, all_logits, next_token
from prm_jax.parallel.mesh import MeshConfig, make_mesh

BATCH, LENGTH, WIDTH, VOCAB = 3, 7, 4, 11


def arrays():
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(BATCH, LENGTH, WIDTH)), jnp.float32)
    table = jnp.asarray(rng.normal(size=(VOCAB, WIDTH)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, VOCAB, (BATCH, LENGTH)))
    wanted = jnp.asarray(rng.random((BATCH, LENGTH)) < 0.5).at[2].set(False)
    return hidden, table, targets, wanted


def from_whole_logits(hidden, table, targets, wanted, temperature):
    logits = all_logits(hidden, table) / temperature
    logs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    entropy = -jnp.sum(jnp.exp(logs) * logs, axis=-1)
    return NextToken(*(jnp.where(wanted, x, 0.0) for x in (chosen, entropy, logs.argmax(-1) == targets)))


@pytest.fixture(params=[1, 2, 3, LENGTH])
def columns(request, monkeypatch):
    monkeypatch.setattr(unembedding, "PIECE_BYTES", request.param * 4 * BATCH * VOCAB)


def test_pieces_say_what_whole_logits_say(columns):
    for found, expected in zip(next_token(*arrays(), 0.7), from_whole_logits(*arrays(), 0.7), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pieces_have_the_gradients_of_whole_logits(columns):
    hidden, table, *rest = arrays()

    def gradients(function):
        def total(hidden, table):
            said = function(hidden, table, *rest, 0.7)
            return jnp.sum(jnp.sin(said.logprobs)) + jnp.sum(jnp.square(said.entropy))

        return jax.grad(total, argnums=(0, 1))(hidden, table)

    for found, expected in zip(gradients(next_token), gradients(from_whole_logits), strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_devices_sum_the_gradient_of_the_table_once(monkeypatch):
    """Whatever the number of pieces; and it is the gradient of one device."""
    hidden, table, targets, _ = arrays()
    hidden, targets = (jnp.concatenate([x, x[:1]]) for x in (hidden, targets))
    wanted = jnp.ones(targets.shape, bool)

    def gradient(table):
        return jax.grad(lambda table: jnp.sum(jnp.sin(next_token(hidden, table, targets, wanted).logprobs)))(table)

    expected, reduced = gradient(table), []
    for size in (2**20, 1):
        monkeypatch.setattr(unembedding, "PIECE_BYTES", size)
        with jax.set_mesh(make_mesh(MeshConfig(2, 2, 1), jax.devices()[:4])):
            compiled = jax.jit(lambda table: gradient(table)).lower(table).compile()
            np.testing.assert_allclose(compiled(table), expected, atol=1e-5)
        moved = collectives(compiled.as_text())
        reduced.append(sum(moved[kind].bytes for kind in ("all-reduce", "reduce-scatter") if kind in moved))
    whole, in_pieces = reduced
    # How many tokens the longest row has is all that is added.
    assert whole >= table.nbytes and in_pieces - whole < table.nbytes / 2


def test_pieces_of_which_nothing_is_wanted_are_not_computed(monkeypatch):
    """Their hidden states may be anything: NaN times 0 would be NaN."""
    monkeypatch.setattr(unembedding, "PIECE_BYTES", 2 * 4 * BATCH * VOCAB)
    hidden, table, targets, _ = arrays()
    wanted = jnp.zeros((BATCH, LENGTH), bool).at[:, 1].set(True).at[0, 5].set(True)
    broken = jnp.where(wanted[..., None], hidden, jnp.nan)

    def total(table, hidden):
        return jnp.sum(next_token(hidden, table, targets, wanted).logprobs)

    # The first of the pieces has two tokens of each row, of which a row of one wanted token wants one.
    clean = broken.at[1:, 0].set(0.0)
    assert np.isfinite(jax.grad(total)(table, clean)).all()
    np.testing.assert_allclose(jax.grad(total)(table, clean), jax.grad(total)(table, hidden), atol=1e-5)


def test_a_great_logit_where_nothing_is_wanted_leaves_gradients_alone(columns):
    """Its exponential is infinite in float32, and infinity times 0 would be NaN."""
    hidden, table, targets, wanted = arrays()
    great = jnp.where(wanted[..., None], hidden, 200 * hidden)
    assert np.abs(all_logits(great, table)).max() > 200

    def gradients(hidden):
        def total(table, hidden):
            return jnp.sum(next_token(hidden, table, targets, wanted).logprobs)

        return jax.grad(total, argnums=(0, 1))(table, hidden)

    for found, expected in zip(gradients(great), gradients(hidden), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_states_give_float32_statistics_and_gradients_of_the_table():
    hidden, table, *rest = arrays()

    def total(table, hidden):
        said = next_token(hidden, table, *rest)
        assert {x.dtype for x in said} == {jnp.dtype("float32")}
        return jnp.sum(said.logprobs)

    of_table, of_hidden = jax.grad(total, argnums=(0, 1))(table, hidden.astype(jnp.bfloat16))
    assert of_table.dtype == jnp.float32 and of_hidden.dtype == jnp.bfloat16
    np.testing.assert_allclose(of_table, jax.grad(total)(table, hidden), atol=0.1)
