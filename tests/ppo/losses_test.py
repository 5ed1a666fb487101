"""Losses: hand values, masked = subset, numeric gradients, finite when wholly masked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from prm_jax.ppo import losses

KEY = jax.random.key(0)
MASK = jax.random.bernoulli(jax.random.fold_in(KEY, 1), 0.6, (3, 7))
LOGPROBS, OLD, ADVANTAGES, RETURNS = (jax.random.normal(jax.random.fold_in(KEY, 2 + i), (3, 7)) for i in range(4))

CASES = {
    "policy": lambda x, mask: losses.policy_loss(x, OLD, ADVANTAGES, mask, 0.2),
    "value": lambda x, mask: losses.value_loss(x, OLD, RETURNS, mask, 0.2),
    "value_unclipped": lambda x, mask: losses.value_loss(x, OLD, RETURNS, mask, 0.0),
    "kl_k1": lambda x, mask: losses.kl_loss(x, OLD, mask, "k1"),
    "kl_k2": lambda x, mask: losses.kl_loss(x, OLD, mask, "k2"),
    "kl_k3": lambda x, mask: losses.kl_loss(x, OLD, mask, "k3"),
    "entropy": lambda x, mask: losses.entropy_loss(x, mask),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_equals_finite_differences(name):
    check_grads(lambda x: CASES[name](x, MASK)[0], (LOGPROBS,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", CASES)
def test_masked_tokens_change_neither_loss_nor_gradient(name):
    loud = jnp.where(MASK, LOGPROBS, 1e4)
    loss, gradient = jax.value_and_grad(lambda x: CASES[name](x, MASK)[0])(LOGPROBS)
    loud_loss, loud_gradient = jax.value_and_grad(lambda x: CASES[name](x, MASK)[0])(loud)
    assert float(loss) == float(loud_loss)
    np.testing.assert_array_equal(gradient, loud_gradient)
    assert not gradient[~MASK].any()


@pytest.mark.parametrize("name", CASES)
def test_masked_equals_subset(name):
    """Masking out whole rows gives the loss of the rows that stay."""
    mask = MASK.at[1].set(False)
    whole, metrics = CASES[name](LOGPROBS, mask)
    columns = jnp.array([0, 2])
    arrays = [x[columns] for x in (LOGPROBS, OLD, ADVANTAGES, RETURNS, MASK)]
    subset = {
        "policy": lambda x, old, a, r, m: losses.policy_loss(x, old, a, m, 0.2),
        "value": lambda x, old, a, r, m: losses.value_loss(x, old, r, m, 0.2),
        "value_unclipped": lambda x, old, a, r, m: losses.value_loss(x, old, r, m, 0.0),
        "kl_k1": lambda x, old, a, r, m: losses.kl_loss(x, old, m, "k1"),
        "kl_k2": lambda x, old, a, r, m: losses.kl_loss(x, old, m, "k2"),
        "kl_k3": lambda x, old, a, r, m: losses.kl_loss(x, old, m, "k3"),
        "entropy": lambda x, old, a, r, m: losses.entropy_loss(x, m),
    }[name](*arrays)
    np.testing.assert_allclose(whole, subset[0], rtol=1e-6)
    for key, value in metrics.items():
        np.testing.assert_allclose(value, subset[1][key], rtol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_wholly_masked_is_zero_with_finite_gradient(name):
    mask = jnp.zeros_like(MASK)
    loss, gradient = jax.value_and_grad(lambda x: CASES[name](x, mask)[0])(LOGPROBS + 500.0)
    assert float(loss) == 0.0
    assert not gradient.any()


def test_policy_loss_by_hand():
    """Ratios 1.5, 0.5, 1 and 1.5: the clip holds only where it lowers the surrogate."""
    ratio = jnp.array([[1.5, 0.5, 1.0, 1.5]])
    advantages = jnp.array([[1.0, -1.0, 2.0, -1.0]])
    mask = jnp.ones((1, 4), bool)
    loss, metrics = losses.policy_loss(jnp.log(ratio), jnp.zeros((1, 4)), advantages, mask, 0.2)
    assert float(loss) == pytest.approx(-(1.2 - 0.8 + 2.0 - 1.5) / 4, abs=1e-6)
    assert float(metrics["clip_fraction"]) == pytest.approx(0.75)


def test_value_loss_by_hand():
    values, old = jnp.array([[1.0, 0.1]]), jnp.zeros((1, 2))
    returns, mask = jnp.array([[1.0, 1.0]]), jnp.ones((1, 2), bool)
    loss, metrics = losses.value_loss(values, old, returns, mask, 0.2)
    assert float(loss) == pytest.approx(0.5 * (0.8**2 + 0.9**2) / 2, abs=1e-6)
    assert float(metrics["value_clip_fraction"]) == pytest.approx(0.5)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_kl_estimators_are_unbiased(estimator):
    policy, reference = jnp.log(jnp.array([0.7, 0.2, 0.1])), jnp.log(jnp.array([0.3, 0.3, 0.4]))
    exact = float(jnp.sum(jnp.exp(policy) * (policy - reference)))
    samples = jnp.arange(3)
    kl = losses.token_kl(policy[samples][None], reference[samples][None], jnp.ones((1, 3), bool), estimator)
    assert float(jnp.sum(jnp.exp(policy) * kl[0])) == pytest.approx(exact, abs=1e-6)
    if estimator == "k3":
        assert (kl >= 0).all()


def test_k2_has_the_gradient_of_the_divergence():
    logits, reference = jnp.array([1.0, -0.5, 0.2]), jnp.log(jnp.array([0.3, 0.3, 0.4]))
    policy = jax.nn.softmax(logits)

    def divergence(logits):
        return jnp.sum(jax.nn.softmax(logits) * (jax.nn.log_softmax(logits) - reference))

    def loss(logits):  # Each token as often as the policy samples it.
        logprobs = jax.nn.log_softmax(logits)[None]
        return jnp.sum(policy * losses.token_kl(logprobs, reference[None], jnp.ones((1, 3), bool), "k2")[0])

    np.testing.assert_allclose(jax.grad(loss)(logits), jax.grad(divergence)(logits), atol=1e-6)


def test_importance_weights_by_hand():
    """Ratios 1/2, 2 and 4, the last of them cut at 3; what is masked out weighs nothing, however far apart."""
    behaviour = jnp.log(jnp.array([[0.4, 0.2, 0.1, 1e-30]]))
    proximal = jnp.log(jnp.array([[0.2, 0.4, 0.4, 1.0]]))
    mask = jnp.array([[True, True, True, False]])
    weights, metrics = losses.importance_weights(proximal, behaviour, mask, 3.0)
    np.testing.assert_allclose(weights, [[0.5, 2.0, 3.0, 1.0]], rtol=1e-5)
    np.testing.assert_allclose(metrics["importance_mean"], 6.5 / 3, rtol=1e-5)
    np.testing.assert_allclose(metrics["importance_max"], 4.0, rtol=1e-5)
    np.testing.assert_allclose(metrics["importance_truncated"], 1 / 3, rtol=1e-5)


def test_the_decoupled_loss_by_hand():
    """Ratios to the proximal policy 1.5 and 0.5 with A = 1 and -1, clipped at 0.2: terms 1.2 and -0.8, weighted."""
    old = jnp.log(jnp.array([[0.2, 0.4]]))
    new = jnp.log(jnp.array([[0.3, 0.2]]))
    advantages, mask = jnp.array([[1.0, -1.0]]), jnp.ones((1, 2), bool)
    weights = jnp.array([[0.5, 2.0]])
    loss, metrics = losses.policy_loss(new, old, advantages, mask, 0.2, weights=weights)
    np.testing.assert_allclose(loss, -(0.5 * 1.2 - 2.0 * 0.8) / 2, rtol=1e-5)
    assert metrics["clip_fraction"] == 1.0


def test_where_both_policies_agree_the_decoupled_loss_is_the_synchronous_one():
    weights, metrics = losses.importance_weights(OLD, OLD, MASK, 2.0)
    decoupled = losses.policy_loss(LOGPROBS, OLD, ADVANTAGES, MASK, 0.2, 3.0, weights)
    synchronous = losses.policy_loss(LOGPROBS, OLD, ADVANTAGES, MASK, 0.2, 3.0)
    assert jax.tree.map(float, decoupled) == jax.tree.map(float, synchronous)
    assert metrics["importance_max"] == 1.0 and metrics["importance_truncated"] == 0.0
