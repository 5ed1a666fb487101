"""The head that reads surprise: what it remembers, and for how long."""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.models.heads import SurpriseHead, leaky_max


def test_leaky_max_is_its_recurrence_and_forgets_other_segments():
    generator = np.random.default_rng(0)
    values = generator.exponential(3.0, (2, 12)).astype(np.float32)
    segments = np.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12])
    leaks = np.array([0.5, 2.0], np.float32)
    found = leaky_max(jnp.array(values), jnp.array(leaks), jnp.array(segments))
    for row in range(2):
        for k, leak in enumerate(leaks):
            memory = -np.inf
            for t in range(12):
                if t and segments[row, t] != segments[row, t - 1]:
                    memory = -np.inf
                memory = max(values[row, t], memory - leak)
                np.testing.assert_allclose(found[row, t, k], memory, atol=1e-5)


def test_an_improbable_token_lowers_the_scores_of_its_step():
    """Hidden states alike: only the surprise, nine nats at token 2, tells the tokens apart."""
    hidden, segments = jnp.zeros((1, 6, 4)), jnp.ones((1, 6), jnp.int32)
    logprobs = jnp.zeros((1, 6)).at[0, 2].set(-9.0)
    head = SurpriseHead()
    variables = head.init(jax.random.key(0), hidden, logprobs, segments)
    scores = np.asarray(head.apply(variables, hidden, logprobs, segments))[0]
    assert scores[0] == scores[1] == 0
    assert scores[2] < scores[3] < scores[4] < scores[5] < 0
