"""Properties of the supervised losses; expected values are worked out in numpy from the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from prm_jax.batches import TokenBatch
from prm_jax.labelling.labelled_program import Label
from prm_jax.training.losses import step_loss

BATCH, LENGTH, VOCAB = 3, 12, 7


def sft_batch(seed: int = 0) -> TokenBatch:
    """Rows that pack two sequences and some padding; part of each sequence is to be predicted."""
    rng = np.random.default_rng(seed)
    segments = np.repeat([[1] * 5 + [2] * 4 + [0] * 3], BATCH, axis=0)
    positions = np.repeat([[*range(5), *range(4), 0, 0, 0]], BATCH, axis=0)
    tokens = rng.integers(1, VOCAB, (BATCH, LENGTH)) * (segments > 0)
    labels = rng.integers(0, 2, (BATCH, LENGTH)) * (segments > 0)
    return TokenBatch(tokens, segments, positions, labels)


def step_batch(seed: int = 0) -> TokenBatch:
    """Rows whose tokens carry every kind of label, wrong ones rare."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([Label.NEUTRAL, Label.WRONG, Label.RIGHT], (BATCH, LENGTH), p=[0.5, 0.15, 0.35])
    labels[:, -2:] = 0
    labels[0, 0], labels[0, 1] = Label.WRONG, Label.RIGHT
    return sft_batch(seed)._replace(labels=labels)


def random_logits(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, LENGTH, VOCAB)).astype(np.float32)


def random_scores(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, LENGTH)).astype(np.float32)


def test_sft_equals_the_definition(toy):
    batch, logits = sft_batch(), random_logits()
    losses, hits = [], []
    for b in range(BATCH):
        for t in range(1, LENGTH):
            if batch.labels[b, t] == 1 and batch.segments[b, t] == batch.segments[b, t - 1]:
                before = logits[b, t - 1].astype(np.float64)
                losses.append(np.log(np.exp(before).sum()) - before[batch.tokens[b, t]])
                hits.append(before.argmax() == batch.tokens[b, t])
    loss, metrics = toy.sft_from_logits(jnp.asarray(logits), batch)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(hits), rtol=1e-6)
    assert metrics["predicted_tokens"] == len(losses)


def test_sft_predicts_nothing_across_a_segment_border(toy):
    batch = sft_batch()
    labels = np.zeros_like(batch.labels)
    labels[:, 5] = 1  # the first token of the second sequence
    _, metrics = toy.sft_from_logits(jnp.asarray(random_logits()), batch._replace(labels=labels))
    assert metrics["predicted_tokens"] == 0


def test_sft_of_packed_rows_equals_that_of_their_sequences(toy):
    batch, logits = sft_batch(), random_logits()
    total, count = 0.0, 0.0
    for cut in (slice(0, 5), slice(5, 9)):
        part = TokenBatch(*(field[:, cut] for field in batch))
        loss, metrics = toy.sft_from_logits(jnp.asarray(logits[:, cut]), part)
        total, count = total + loss * metrics["predicted_tokens"], count + metrics["predicted_tokens"]
    np.testing.assert_allclose(toy.sft_from_logits(jnp.asarray(logits), batch)[0], total / count, rtol=1e-5)


def test_step_loss_equals_the_definition():
    batch, scores = step_batch(), random_scores()
    wrong = scores[batch.labels == Label.WRONG].astype(np.float64)
    right = scores[batch.labels == Label.RIGHT].astype(np.float64)
    loss_wrong, loss_right = np.log1p(np.exp(wrong)), np.log1p(np.exp(-right))
    loss, metrics = step_loss(jnp.asarray(scores), batch)
    np.testing.assert_allclose(loss, (loss_wrong.mean() + loss_right.mean()) / 2, rtol=1e-5)
    plain, _ = step_loss(jnp.asarray(scores), batch, class_balance=False)
    np.testing.assert_allclose(plain, np.concatenate([loss_wrong, loss_right]).mean(), rtol=1e-5)
    recalls = [(wrong < 0).mean(), (right > 0).mean()]
    np.testing.assert_allclose(metrics["balanced_accuracy"], np.mean(recalls), rtol=1e-5)
    hits = (wrong < 0).sum() + (right > 0).sum()
    np.testing.assert_allclose(metrics["accuracy"], hits / (wrong.size + right.size), rtol=1e-5)
    np.testing.assert_allclose(metrics["score_right"], right.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["score_wrong"], wrong.mean(), rtol=1e-5)
    assert (metrics["wrong_steps"], metrics["right_steps"]) == (wrong.size, right.size)


@pytest.mark.parametrize("kept", [Label.WRONG, Label.RIGHT])
def test_step_loss_of_one_class_is_its_plain_mean(kept):
    batch, scores = step_batch(), random_scores()
    batch = batch._replace(labels=np.where(batch.labels == kept, kept, Label.NEUTRAL))
    chosen = scores[batch.labels == kept].astype(np.float64)
    expected = np.log1p(np.exp(chosen if kept == Label.WRONG else -chosen)).mean()
    loss, metrics = step_loss(jnp.asarray(scores), batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["balanced_accuracy"], metrics["accuracy"], rtol=1e-6)


def test_balanced_classes_pull_equally_on_a_shared_score():
    """With one score for all, the gradients of the two classes cancel at 0 however unequal their numbers."""
    batch = step_batch()
    gradient = jax.grad(lambda z: step_loss(jnp.full((BATCH, LENGTH), z), batch)[0])(0.0)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
    counts = [(batch.labels == label).sum() for label in (Label.WRONG, Label.RIGHT)]
    assert counts[0] != counts[1]
    plain = jax.grad(lambda z: step_loss(jnp.full((BATCH, LENGTH), z), batch, class_balance=False)[0])(0.0)
    assert abs(plain) > 0.01


@pytest.mark.parametrize("class_balance", [True, False])
def test_masked_scores_change_nothing_not_even_when_infinite(class_balance):
    batch, scores = step_batch(), random_scores()
    masked = (batch.labels != Label.WRONG) & (batch.labels != Label.RIGHT)
    spoilt = np.where(masked, np.inf, scores)
    loss_and_gradient = jax.value_and_grad(lambda z: step_loss(z, batch, class_balance)[0])
    loss, gradient = loss_and_gradient(jnp.asarray(scores))
    other_loss, other_gradient = loss_and_gradient(jnp.asarray(spoilt))
    assert loss == other_loss
    np.testing.assert_array_equal(gradient, other_gradient)
    assert np.all(np.asarray(gradient)[masked] == 0) and np.all(np.asarray(gradient)[~masked] != 0)


def test_a_masked_row_equals_leaving_it_out(toy):
    batch, sft = step_batch(), sft_batch()
    labels, sft_labels = batch.labels.copy(), sft.labels.copy()
    labels[1], sft_labels[1] = Label.NEUTRAL, 0
    rest = np.array([0, 2])
    scores, logits = jnp.asarray(random_scores()), jnp.asarray(random_logits())
    subset = TokenBatch(*(field[rest] for field in batch))
    np.testing.assert_allclose(
        step_loss(scores, batch._replace(labels=labels))[0], step_loss(scores[rest], subset)[0], rtol=1e-6
    )
    subset = TokenBatch(*(field[rest] for field in sft))
    np.testing.assert_allclose(
        toy.sft_from_logits(logits, sft._replace(labels=sft_labels))[0],
        toy.sft_from_logits(logits[rest], subset)[0],
        rtol=1e-6,
    )


def test_the_order_of_rows_does_not_matter(toy):
    order = np.array([2, 0, 1])
    batch, sft = step_batch(), sft_batch()
    scores, logits = jnp.asarray(random_scores()), jnp.asarray(random_logits())
    moved = TokenBatch(*(field[order] for field in batch))
    np.testing.assert_allclose(step_loss(scores[order], moved)[0], step_loss(scores, batch)[0], rtol=1e-6)
    moved = TokenBatch(*(field[order] for field in sft))
    np.testing.assert_allclose(
        toy.sft_from_logits(logits[order], moved)[0], toy.sft_from_logits(logits, sft)[0], rtol=1e-6
    )


def test_the_naming_of_the_vocabulary_does_not_matter(toy):
    batch, logits = sft_batch(), random_logits()
    names = np.random.default_rng(5).permutation(VOCAB)
    renamed = np.empty_like(logits)
    renamed[..., names] = logits
    np.testing.assert_allclose(
        toy.sft_from_logits(jnp.asarray(renamed), batch._replace(tokens=names[batch.tokens]))[0],
        toy.sft_from_logits(jnp.asarray(logits), batch)[0],
        rtol=1e-6,
    )


@pytest.mark.parametrize("label", [0, int(Label.NEUTRAL)])
def test_wholly_masked_batches_are_zero_and_finite(label, toy):
    batch = step_batch()._replace(labels=np.full((BATCH, LENGTH), label))
    (loss, metrics), gradient = jax.value_and_grad(step_loss, has_aux=True)(jnp.asarray(random_scores()), batch)
    assert loss == 0 and not np.any(gradient)
    assert all(np.isfinite(value) for value in metrics.values())
    batch = sft_batch()._replace(labels=np.zeros((BATCH, LENGTH), int))
    (loss, metrics), gradient = jax.value_and_grad(toy.sft_from_logits, has_aux=True)(
        jnp.asarray(random_logits()), batch
    )
    assert loss == 0 and not np.any(gradient)
    assert all(np.isfinite(value) for value in metrics.values())


def test_gradients_agree_with_differences(toy):
    batch, sft = step_batch(), sft_batch()
    # Central differences in float32 with steps of 1e-2: their own error is about 1e-3 of the value.
    check = {"order": 1, "modes": ["rev"], "eps": 1e-2, "atol": 2e-3, "rtol": 2e-3}
    check_grads(lambda z: step_loss(z, batch)[0], (jnp.asarray(random_scores()),), **check)
    check_grads(lambda z: toy.sft_from_logits(z, sft)[0], (jnp.asarray(random_logits()),), **check)
