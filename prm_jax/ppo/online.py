"""The PRM that follows the policy: a buffer of exactly labelled rollouts, and gradient steps on it.

A frozen PRM of moderate accuracy ruins the policy that is optimised against it, so `loop.py` labels each rollout by the
interpreter, measures the PRM on it *before* it has seen it, puts it into the buffer and trains. Rows are the given
token ids; nothing is re-encoded. B rows of a rollout, T tokens, C rows of the buffer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float, Int, Key

from prm_jax.batches import TokenBatch
from prm_jax.labelling.labelled_program import Label
from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import whole
from prm_jax.models.policy import boxed_trainable_scorer, scores
from prm_jax.parallel.shardings import constrain_tree, init_shapes, shardings_in, split_rows, state_shardings
from prm_jax.ppo.arms import PrmRefreshConfig
from prm_jax.ppo.forward import at_narrowest_width, minibatch_rows
from prm_jax.ppo.rollout import Rollout
from prm_jax.training.auc import roc_auc
from prm_jax.training.losses import step_loss

Metrics = dict[str, Float[Array, ""]]


class RefreshState(flax.struct.PyTreeNode):
    """What a refresh changes: the PRM, its optimiser, and the latest rollouts.

    Attributes:
      params: the PRM, or its adapters and its head.
      opt_state: its optimiser.
      rows: ring buffer of labelled rows on the host, padded to the longest row there can be.
      filled: int32, rows ever written, on the host too.
    """

    params: Any
    opt_state: optax.OptState
    rows: TokenBatch
    filled: Int[np.ndarray, ""]


def make_optimizer(config: PrmRefreshConfig) -> optax.GradientTransformation:
    """Adam behind a clip by global norm."""
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate))


def init_refresh(config: PrmRefreshConfig, params: Any, batch_size: int, length: int) -> RefreshState:
    """An empty buffer for rollouts of `batch_size` rows of at most `length` tokens. The PRM is copied."""
    params = jax.tree.map(jnp.array, params)
    shape = (config.buffer_rollouts * batch_size, length)
    return RefreshState(
        params=params,
        opt_state=make_optimizer(config).init(params),
        rows=TokenBatch(*(np.zeros(shape, np.int32) for _ in TokenBatch._fields)),
        filled=np.zeros((), np.int32),
    )


def labelled_rows(rollout: Rollout, ends: Int[np.ndarray, "B S"], labels: Int[np.ndarray, "B S"]) -> TokenBatch:
    """The rows of a rollout with a label on the last token of each closed step.

    Args:
      rollout: the rollout; rows with an unknown verdict get no labels.
      ends: index into the row of each step's last token, -1 where it is open or padding.
      labels: a `Label` per step; any value where `ends` is -1.

    Returns:
      Numpy rows. Where several steps end on one token, wrong goes before right and right before neutral.
    """
    inside = np.asarray(rollout.segments) > 0
    dense = np.where(inside, int(Label.NEUTRAL), 0).astype(np.int32)
    known = np.asarray(rollout.known)[:, None]
    # Wrong is written last, so that it stays.
    for label in (Label.RIGHT, Label.WRONG):
        rows, steps = np.nonzero((labels == label) & (ends >= 0) & known)
        dense[rows, ends[rows, steps]] = int(label)
    tokens, segments, positions = (np.asarray(x) for x in (rollout.tokens, rollout.segments, rollout.positions))
    return TokenBatch(tokens, segments, positions, dense)


def remember(state: RefreshState, rows: TokenBatch) -> RefreshState:
    """Writes a rollout's rows over the oldest ones of the buffer."""
    capacity, length = state.rows.tokens.shape
    batch = rows.tokens.shape[0]
    slots = (int(state.filled) + np.arange(batch)) % capacity
    written = []
    for kept, new in zip(state.rows, rows, strict=True):
        array = np.array(kept)
        array[slots] = np.pad(new, ((0, 0), (0, length - new.shape[1])))
        written.append(array)
    return state.replace(rows=TokenBatch(*written), filled=np.asarray(state.filled + batch, np.int32))


@functools.cache
def make_refresh(
    config: PrmRefreshConfig, model: ModelConfig, widths: tuple[int, ...]
) -> Callable[..., tuple[RefreshState, Metrics]]:
    """The refresh `(state, key, frozen=None) -> (state, metrics)`: `steps` gradient steps of `step_loss` on drawn rows.

    `frozen` is what `lora.frozen` gives of the PRM. The metrics are the means of those of `step_loss`. The buffers of
    the PRM and its optimiser are given away. The rows of all steps are drawn at once, so that those of like length go
    together, each step's cut to the narrowest of `widths` that holds them.
    """
    learn = make_learn(config, model, widths)

    def refresh(
        state: RefreshState, key: Key[Array, ""], frozen: dict[str, Any] | None = None
    ) -> tuple[RefreshState, Metrics]:
        learner, metrics = learn(*_taken(state), key, frozen)
        return state.replace(params=learner[0], opt_state=learner[1]), metrics

    return refresh


def trace_refresh(
    state: RefreshState,
    key: Key[Array, ""],
    frozen: dict[str, Any],
    config: PrmRefreshConfig,
    model: ModelConfig,
    widths: tuple[int, ...],
) -> Any:
    """The jitted part of a refresh traced on its arguments, to be lowered."""
    return make_learn(config, model, widths).trace(*_taken(state), key, frozen)


def _taken(state: RefreshState) -> tuple[Any, TokenBatch, Int[Array, ""]]:
    """What the jitted part takes of a state: the learner, the rows, and how many of them are filled."""
    available = jnp.minimum(jnp.asarray(state.filled), state.rows.tokens.shape[0])
    return (state.params, state.opt_state), split_rows(state.rows), available


@functools.cache
def make_learn(config: PrmRefreshConfig, model: ModelConfig, widths: tuple[int, ...]) -> Any:
    """The jitted part of a refresh.

    It is `((params, opt_state), rows, available, key, frozen=None) -> ((params, opt_state), metrics)`.
    """
    tx = make_optimizer(config)

    def learn(
        learner: Any, rows: Any, available: Int[Array, ""], key: Key[Array, ""], frozen: dict[str, Any] | None = None
    ) -> tuple[Any, Metrics]:
        """All steps of a refresh, each on rows that it draws from the first `available` ones."""

        def loss(params: Any, batch: Any) -> tuple[Float[Array, ""], Metrics]:
            rows = (batch.tokens, batch.segments, batch.positions)
            return step_loss(scores(whole(params, frozen), model, *rows), batch)

        def step(carry: Any, indices: Int[Array, " M"]) -> tuple[Any, Metrics]:
            params, opt_state = carry
            batch = split_rows(jax.tree.map(lambda x: x[indices], rows))
            gradients, metrics = at_narrowest_width(
                lambda rows: jax.grad(loss, has_aux=True)(params, rows), batch, batch.segments, widths
            )
            changes, opt_state = tx.update(gradients, opt_state, params)
            return (optax.apply_updates(params, changes), opt_state), metrics

        draw, order = jax.random.split(key)
        drawn = jax.random.randint(draw, (config.steps * config.batch_size,), 0, available)
        lengths = jnp.sum(rows.segments[drawn] > 0, axis=1)
        learner, metrics = jax.lax.scan(step, learner, drawn[minibatch_rows(lengths, 1, config.steps, order)])
        return constrain_tree(learner, lambda mesh: shardings_of(learner, model, mesh)), jax.tree.map(jnp.mean, metrics)

    return jax.jit(learn, donate_argnums=0)


def shardings_of(learner: Any, model: ModelConfig, mesh: Mesh | AbstractMesh) -> Any:
    """Shardings of the PRM and its optimiser, or of their shapes."""
    params = shardings_in(init_shapes(functools.partial(boxed_trainable_scorer, model), mesh))
    return state_shardings(learner, params, mesh)


def step_auc(token_scores: Float[np.ndarray, "B T"], rows: TokenBatch) -> float:
    """`roc_auc` of the scores on the tokens labelled right against those labelled wrong."""
    labels = np.asarray(rows.labels)
    labelled = (labels == Label.RIGHT) | (labels == Label.WRONG)
    return roc_auc(np.asarray(token_scores)[labelled], labels[labelled] == Label.RIGHT)
