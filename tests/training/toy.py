"""A model that trains in a millisecond, for the tests of this room: an embedding, a norm and a dense layer."""

import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.batches import TokenBatch
from prm_jax.models.unembedding import next_token
from prm_jax.training.losses import predicted, sft_loss
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import TrainState, create
from prm_jax.training.step import TrainStep, make_train_step

VOCAB, WIDTH, BATCH, LENGTH = 11, 8, 4, 10
DEFAULT = OptimizerConfig(1e-2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def init(seed: int = 0, width: int = WIDTH) -> dict:
    first, second = jax.random.split(jax.random.key(seed))
    return {
        "embed": {"embedding": 0.1 * jax.random.normal(first, (VOCAB, width))},
        "norm": {"scale": jnp.ones((width,))},
        "dense": {"kernel": 0.1 * jax.random.normal(second, (width, VOCAB)), "bias": jnp.zeros((VOCAB,))},
    }


def logits(params: dict, tokens) -> jax.Array:
    hidden = params["embed"]["embedding"][jnp.asarray(tokens)] * params["norm"]["scale"]
    return hidden @ params["dense"]["kernel"] + params["dense"]["bias"]


def sft_from_logits(logits, batch: TokenBatch):
    """`sft_loss` of the tokens behind given logits."""
    said = next_token(
        logits[:, :-1],
        jnp.eye(logits.shape[-1]),
        jnp.asarray(batch.tokens)[:, 1:],
        jnp.asarray(predicted(batch))[:, 1:],
    )
    return sft_loss(*(jnp.pad(x, ((0, 0), (1, 0))) for x in (said.logprobs, said.likeliest)), batch)


def loss_fn(params, batch, key):
    """SFT loss of a model with dropout, so that resuming needs the same keys."""
    kept = jax.random.bernoulli(key, 0.9, (BATCH, LENGTH, VOCAB))
    return sft_from_logits(logits(params, batch.tokens) * kept, batch)


def batch_at(step: int, seed: int = 0) -> TokenBatch:
    """Counting sequences (mod the vocabulary): the next token follows from the last."""
    start = np.random.default_rng([seed, step]).integers(0, VOCAB, (BATCH, 1))
    positions = np.repeat(np.arange(LENGTH)[None], BATCH, axis=0)
    ones = np.ones((BATCH, LENGTH), int)
    return TokenBatch((start + positions) % VOCAB, ones, positions, ones)


def batches_from(step: int) -> Iterator[TokenBatch]:
    return (batch_at(s) for s in itertools.count(step))


@functools.cache
def train_step_of(config: OptimizerConfig, seed: int, loss) -> TrainStep:
    """Kept, so that each is compiled once for all tests."""
    return make_train_step(loss, make_optimizer(config), seed=seed)


def make(config: OptimizerConfig = DEFAULT, seed: int = 0, loss=loss_fn) -> tuple[TrainState, TrainStep]:
    return create(init(), make_optimizer(config)), train_step_of(config, seed, loss)


def same_bits(left, right) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
