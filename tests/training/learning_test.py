"""Learning floors: a tiny decoder learns what can be learnt, and nothing where there is nothing to learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.batches import TokenBatch
from prm_jax.labelling.labelled_program import Label
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy, init_scorer, scores, token_predictions
from prm_jax.training.losses import predicted, sft_loss, step_loss
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import create
from prm_jax.training.step import make_train_step

pytestmark = pytest.mark.slow

VOCAB, LENGTH, PERIOD = 12, 16, 4
MODEL = ModelConfig(vocab_size=VOCAB, width=32, layers=2, heads=2, kv_heads=2, mlp_width=64, scan_layers=False)


def rows(tokens: np.ndarray, labels: np.ndarray) -> TokenBatch:
    positions = np.repeat(np.arange(tokens.shape[1])[None], len(tokens), axis=0)
    return TokenBatch(tokens, np.ones_like(tokens), positions, labels)


def periodic(rng: np.random.Generator, count: int) -> TokenBatch:
    """Four random tokens, again and again: all but the first four follow from what went before."""
    tokens = np.tile(rng.integers(1, VOCAB, (count, PERIOD)), LENGTH // PERIOD)
    labels = np.repeat((np.arange(LENGTH) >= PERIOD)[None], count, axis=0).astype(int)
    return rows(tokens, labels)


def steps_that_close_as_they_open(rng: np.random.Generator, count: int, shuffled: bool = False) -> TokenBatch:
    """Steps of four tokens, right where the last repeats the first: every token alone says nothing of its label."""
    tokens = rng.integers(1, VOCAB, (count, LENGTH // PERIOD, PERIOD))
    right = rng.random(tokens.shape[:2]) < 0.5
    other = 1 + (tokens[..., 0] - 1 + rng.integers(1, VOCAB - 1, right.shape)) % (VOCAB - 1)
    tokens[..., -1] = np.where(right, tokens[..., 0], other)
    labels = np.full(tokens.shape, Label.NEUTRAL)
    labels[..., -1] = np.where(rng.permuted(right.ravel()).reshape(right.shape) if shuffled else right, 3, 2)
    return rows(tokens.reshape(count, LENGTH), labels.reshape(count, LENGTH))


def train(params, loss_fn, batches, learning_rate):
    tx = make_optimizer(OptimizerConfig(learning_rate, warmup_steps=20, total_steps=len(batches)))
    state, train_step = create(params, tx), make_train_step(loss_fn, tx)
    for batch in batches:
        state, _ = train_step(state, jax.tree.map(jnp.asarray, batch))
    return state.params


def area_under_the_curve(values: np.ndarray, right: np.ndarray) -> float:
    """Share of pairs of a right and a wrong step in which the right one scores higher; half for ties."""
    higher = values[right][:, None] - values[~right][None]
    return float(np.mean((higher > 0) + 0.5 * (higher == 0)))


def test_sft_learns_to_copy():
    def loss_fn(params, batch, key):
        said = token_predictions(params, MODEL, batch.tokens, batch.segments, batch.positions, predicted(batch))
        return sft_loss(said.logprobs, said.likeliest, batch)

    rng = np.random.default_rng(0)
    params = train(init_policy(MODEL, jax.random.key(0)), loss_fn, [periodic(rng, 64) for _ in range(400)], 5e-3)
    _, metrics = jax.jit(loss_fn)(params, jax.tree.map(jnp.asarray, periodic(rng, 256)), None)
    # The rule has no exceptions, so nothing but 1 is right; guessing gives 1 / 11, copying the last token less.
    assert metrics["accuracy"] > 0.95


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_prm_learns_what_labels_say_and_nothing_from_shuffled_ones(shuffled):
    def score(params, batch):
        return scores(params, MODEL, batch.tokens, batch.segments, batch.positions)

    def loss_fn(params, batch, key):
        return step_loss(score(params, batch), batch)

    rng = np.random.default_rng(1)
    batches = [steps_that_close_as_they_open(rng, 64, shuffled) for _ in range(400)]
    params = train(init_scorer(MODEL, jax.random.key(1)), loss_fn, batches, 5e-3)
    held_out = steps_that_close_as_they_open(rng, 512)
    ends = held_out.labels != Label.NEUTRAL
    values = np.asarray(jax.jit(score)(params, jax.tree.map(jnp.asarray, held_out)))[ends]
    area = area_under_the_curve(values, held_out.labels[ends] == Label.RIGHT)
    if shuffled:
        # 1024 steps of each class: the standard error of the area of a score that knows nothing is
        # sqrt((2 n + 1) / (12 n^2)) = 0.013, so that 0.06 is more than four of them.
        assert abs(area - 0.5) < 0.06
    else:
        assert area > 0.95
