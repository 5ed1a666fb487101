"""The supervised losses: next-token prediction (SFT) and step labels (PRM, ORM).

Pure functions of model outputs and a `TokenBatch`; no model call. Each gives `(loss, metrics)`, the metrics being
float32 scalars. The stages wrap them into the `loss_fn(params, batch, key)` that `step.make_train_step` takes.
B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from prm_jax.batches import TokenBatch
from prm_jax.labelling.labelled_program import Label

Metrics = dict[str, Float[Array, ""]]


def _masked_mean(values: Float[Array, "*S"], mask: Bool[Array, "*S"]) -> Float[Array, ""]:
    """Mean of `values` where `mask`; 0 where nothing is."""
    return jnp.sum(values, where=mask) / jnp.maximum(jnp.sum(mask), 1)


def sft_loss(logits: Float[Array, "B T V"], batch: TokenBatch) -> tuple[Float[Array, ""], Metrics]:
    """Mean cross-entropy of the tokens that are to be predicted.

    The logits at t predict the token at t + 1, where its label is 1 and both lie in the same segment: the first
    token of a packed sequence is predicted by nobody.

    Args:
      logits: float32 logits.
      batch: tokens, segments and labels as in `TokenBatch`; positions are not read.

    Returns:
      The loss in nats per predicted token (0 where no token is to be predicted), and the metrics `loss`,
      `accuracy` (share of predicted tokens whose logit is the largest) and `predicted_tokens` (their number, the
      weight of the other two when batches are averaged).
    """
    tokens = token_losses(logits[:, :-1], jnp.asarray(batch.tokens)[:, 1:])
    return sft_loss_of_tokens(*tokens, batch)


def token_losses(
    logits: Float[Array, "B T V"], targets: Int[Array, "B T"]
) -> tuple[Float[Array, "B T"], Bool[Array, "B T"]]:
    """The cross-entropy of each target in nats, and whether its logit is the largest."""
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return cross_entropy, jnp.argmax(logits, axis=-1) == targets


def sft_loss_of_tokens(
    cross_entropy: Float[Array, "B T-1"], hits: Bool[Array, "B T-1"], batch: TokenBatch
) -> tuple[Float[Array, ""], Metrics]:
    """`sft_loss` from the `token_losses` of its logits but the last."""
    segments, labels = jnp.asarray(batch.segments), jnp.asarray(batch.labels)
    mask = (labels[:, 1:] == 1) & (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    loss = _masked_mean(cross_entropy, mask)
    metrics = {
        "loss": loss,
        "accuracy": _masked_mean(hits.astype(jnp.float32), mask),
        "predicted_tokens": jnp.sum(mask).astype(jnp.float32),
    }
    return loss, metrics


def _class_weights(wrong: Bool[Array, "B T"], right: Bool[Array, "B T"]) -> Float[Array, "B T"]:
    """Weight n / (2 n_c) for a token of class c, so that each class weighs n / 2; 1 where the batch holds one class."""
    n_wrong, n_right = jnp.sum(wrong), jnp.sum(right)
    half = (n_wrong + n_right) / 2
    balanced = jnp.where(wrong, half / jnp.maximum(n_wrong, 1), half / jnp.maximum(n_right, 1))
    return jnp.where((n_wrong > 0) & (n_right > 0), balanced, 1.0)


def step_loss(
    scores: Float[Array, "B T"], batch: TokenBatch, class_balance: bool = True
) -> tuple[Float[Array, ""], Metrics]:
    """Binary cross-entropy with logits on the tokens labelled `WRONG` or `RIGHT`; all others are masked.

    With z the score and y = 1 for `RIGHT`, 0 for `WRONG`, the loss is
    sum_i w_i [softplus(z_i) - y_i z_i] / n over the n labelled tokens. With `class_balance`, and both classes
    present, w_i = n / (2 n_c): each class has half of the weight of the batch, however rare it is. Else w_i = 1.

    Args:
      scores: raw scores z of the scalar head, float32.
      batch: labels as in `TokenBatch`; nothing else is read.
      class_balance: whether the two classes weigh the same within the batch.

    Returns:
      The loss (0 where nothing is labelled) and the metrics `loss`, `accuracy`, `balanced_accuracy` (mean of the
      recalls of the classes that are present), `score_right` and `score_wrong` (mean z per class, 0 for an absent
      class), `right_steps` and `wrong_steps` (their numbers).
    """
    labels = jnp.asarray(batch.labels)
    wrong, right = labels == Label.WRONG, labels == Label.RIGHT
    labelled = wrong | right
    # Masked scores are replaced before the loss: 0 x inf would reach the gradient otherwise.
    scores = jnp.where(labelled, scores, 0.0)
    weights = _class_weights(wrong, right) if class_balance else jnp.ones_like(scores)
    cross_entropy = optax.sigmoid_binary_cross_entropy(scores, right.astype(scores.dtype))
    loss = _masked_mean(weights * cross_entropy, labelled)
    hits = ((scores > 0) == right).astype(jnp.float32)
    n_wrong, n_right = (jnp.sum(mask).astype(jnp.float32) for mask in (wrong, right))
    classes = jnp.maximum((n_wrong > 0).astype(jnp.float32) + (n_right > 0), 1)
    metrics = {
        "loss": loss,
        "accuracy": _masked_mean(hits, labelled),
        "balanced_accuracy": (_masked_mean(hits, wrong) + _masked_mean(hits, right)) / classes,
        "score_right": _masked_mean(scores, right),
        "score_wrong": _masked_mean(scores, wrong),
        "right_steps": n_right,
        "wrong_steps": n_wrong,
    }
    return loss, metrics
