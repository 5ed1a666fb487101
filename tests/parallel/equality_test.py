"""The same step on every mesh: a policy, a scorer and a PPO run learn the same numbers wherever they are split.

One model with all parts of all families: biases, head norms, untied embeddings, grouped heads.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.batches import PromptBatch, TokenBatch
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.labelled_program import Label
from prm_jax.models import policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import boxed_policy, boxed_scorer
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.parallel.shardings import param_shardings, shard_batch
from prm_jax.ppo import rewards
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.config import CriticConfig, PpoConfig
from prm_jax.ppo.learner import Learner
from prm_jax.ppo.verify import Verified
from prm_jax.problems.problem import Problem
from prm_jax.sampling.engine import sample_many
from prm_jax.sampling.noise import gumbel_noise
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import sample
from prm_jax.stages.prm import step_loss_of
from prm_jax.stages.sft import sft_loss_of
from prm_jax.stages.workbench import sharded_train_state
from prm_jax.text.steps import split_steps
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.step import make_train_step

MODEL = ModelConfig(
    vocab_size=16, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24,
    attention_bias=True, qk_norm=True, tied_embeddings=False,
)  # fmt: skip
MESHES = {"8x1x1": (8, 1, 1), "2x4x1": (2, 4, 1), "2x2x2": (2, 2, 2), "1x2x4": (1, 2, 4)}
TOLERANCE = 1e-5
"""Of losses, metrics, gradients, rewards and log-probabilities, absolute: float32 sums in another order."""
NEAR_TIE = 1e-4
"""Of the two largest perturbed logits: below this, another token may be sampled."""

on_every_mesh = pytest.mark.parametrize("name", MESHES)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")


def mesh_of(name: str | None):
    if name is None:
        return make_mesh(MeshConfig(), devices=jax.devices()[:1])
    return make_mesh(MeshConfig(*MESHES[name]))


def random_params(boxed_init, mesh):
    """Random parameters made by numpy, placed on a mesh: compiling an initialiser for each takes seconds."""
    generator = np.random.default_rng(0)
    boxed = jax.eval_shape(boxed_init, jax.random.key(0))
    shardings = param_shardings(boxed, mesh)
    values = jax.tree.map(lambda leaf: generator.normal(0, 0.25, leaf.shape).astype(np.float32), nn.unbox(boxed))
    return jax.device_put(values, shardings)


POLICY, SCORER = functools.partial(boxed_policy, MODEL), functools.partial(boxed_scorer, MODEL)


def token_batch(kinds: tuple[int, ...]) -> TokenBatch:
    """Eight packed rows of 10 tokens: two programs in each, padding behind them."""
    generator = np.random.default_rng(1)
    segments = np.array([[1] * (3 + row % 3) + [2] * 3 + [0] * (4 - row % 3) for row in range(8)], np.int32)
    inside = segments > 0
    tokens = np.where(inside, generator.integers(1, 16, (8, 10)), 0).astype(np.int32)
    positions = np.where(segments == 2, np.arange(10) - (segments == 1).sum(axis=1, keepdims=True), np.arange(10))
    labels = np.where(inside, generator.choice(kinds, (8, 10)), 0).astype(np.int32)
    return TokenBatch(tokens, segments, np.where(inside, positions, 0).astype(np.int32), labels)


def assert_close(a, b):
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=TOLERANCE, rtol=0, err_msg=jax.tree_util.keystr(path))


@functools.cache
def train_step(stage: str, name: str | None):
    """Metrics of one step, and the clipped gradient: with b1 = 0 it is what Adam keeps as the first moment."""
    loss, boxed_init, labels = {
        "sft": (sft_loss_of(MODEL), POLICY, (0, 1)),
        "prm": (step_loss_of(MODEL), SCORER, tuple(map(int, (Label.NEUTRAL, Label.WRONG, Label.RIGHT)))),
    }[stage]
    tx, mesh = make_optimizer(OptimizerConfig(b1=0.0)), mesh_of(name)
    with jax.set_mesh(mesh):
        params = random_params(boxed_init, mesh)
        state, shardings = sharded_train_state(params, boxed_init, tx, mesh)
        step = make_train_step(loss, tx, state_shardings=shardings)
        after, metrics = step(state, shard_batch(token_batch(labels), mesh))
    assert [leaf.sharding for leaf in jax.tree.leaves(after)] == jax.tree.leaves(shardings)
    return jax.device_get((metrics, after.opt_state[1][0].mu))


@on_every_mesh
@pytest.mark.parametrize("stage", ["sft", "prm"])
def test_a_train_step_has_the_loss_and_the_gradient_of_one_device(stage, name):
    (metrics, gradient), (alone, wanted) = train_step(stage, name), train_step(stage, None)
    assert metrics["loss"] > 0.1 and metrics["grad_norm"] > 0.1
    assert_close(metrics, alone)
    assert_close(gradient, wanted)


@functools.cache
def logits_and_completions(name: str | None):
    mesh = mesh_of(name)
    batch = token_batch((0,))
    prompts = PromptBatch(batch.tokens[:, :6], np.array([3, 4, 5, 6] * 2, np.int32), np.zeros(8, np.int32))
    with jax.set_mesh(mesh):
        params = random_params(POLICY, mesh)
        logits = policy_logits(params, MODEL, *shard_batch(batch[:3], mesh))
        rule = {"model": MODEL, "config": SamplingConfig(max_new_tokens=8), "eos_id": 2}
        found = {
            "batch": sample(params, prompts, SEEDS, **rule),
            # Fewer prompts than the mesh has parts for rows.
            "shared prompts": sample(params, PromptBatch(*(field[:4] for field in prompts)), SEEDS, **rule),
            "engine": sample_many(params, prompts, SEEDS, batch_size=4, **rule),
        }
    return jax.device_get((logits, found)), prompts


SEEDS = np.arange(8, dtype=np.uint32)


@on_every_mesh
def test_teacher_forced_logits_are_those_of_one_device(name):
    ((logits, _), _), ((wanted, _), _) = logits_and_completions(name), logits_and_completions(None)
    np.testing.assert_allclose(logits, wanted, atol=TOLERANCE, rtol=0)


@on_every_mesh
@pytest.mark.parametrize("way", ["batch", "shared prompts", "engine"])
def test_samples_are_those_of_one_device_but_for_near_ties(way, name):
    ((_, found), prompts), ((_, wanted), _) = logits_and_completions(name), logits_and_completions(None)
    many, one = found[way], wanted[way]
    differing = many.tokens != one.tokens
    for row in np.flatnonzero(differing.any(axis=1)):
        # What follows the first other token is another completion.
        asked = row // 2 if way == "shared prompts" else row
        tokens = [*prompts.tokens[asked, : prompts.lengths[asked]], *one.tokens[row, : np.argmax(differing[row])]]
        second, largest = np.sort(perturbed_logits(np.array([tokens]), SEEDS[row]))[-2:]
        assert largest - second < NEAR_TIE, row
    same = ~differing.any(axis=1)
    assert same.any() and one.lengths.max() > 4
    np.testing.assert_allclose(many.logprobs[same], one.logprobs[same], atol=TOLERANCE)


def perturbed_logits(tokens, seed):
    """The logits of the token after a row, with the noise that decides between them."""
    params = jax.device_get(random_params(POLICY, mesh_of(None)))
    length = tokens.shape[1]
    logits = policy_logits(params, MODEL, tokens, np.ones_like(tokens), np.arange(length)[None])[0, -1]
    return logits + gumbel_noise(jax.random.key(seed)[None], jnp.array([length]), MODEL.vocab_size)[0]


CONFIG = PpoConfig(
    prompts_per_update=4, samples_per_prompt=2, max_new_tokens=8, epochs=1, minibatches=2, value_only_updates=0,
    # Adam's step has the length of its rate however small a gradient is: rounding must not grow by it.
    learning_rate=1e-6, critic=CriticConfig(width=8, learning_rate=1e-6),
)  # fmt: skip
PROMPTS = PromptBatch(
    np.arange(1, 13, dtype=np.int32).reshape(4, 3), np.array([3, 2, 3, 1], np.int32), np.arange(4, dtype=np.int32)
)
PROBLEMS = [Problem(f"toy/{index}", "toy", "train", "", "f", "", ()) for index in range(4)]


class Letters:
    """Ids above 2 are lines of one letter."""

    vocab_size, pad_id, bos_id, eos_id, fingerprint = 16, 0, 1, 2, "letters"

    def decode(self, ids):
        return "".join(f"{chr(ord('a') + i)}\n" for i in ids if i > 2)

    def token_bytes(self, token_id):
        return self.decode([token_id]).encode()


def verify(problems, texts, exact):
    """Every second program passes."""
    return [
        Verified(Outcome.PASSED if len(text) % 4 else Outcome.WRONG_ANSWER, (Label.RIGHT,) * len(split_steps(text)))
        for text in texts
    ]


@functools.cache
def ppo_update(name: str | None):
    """One update with a PRM's rewards: what was learnt from, and what was learnt."""
    mesh = mesh_of(name)
    with jax.set_mesh(mesh):
        params = random_params(POLICY, mesh)
        arm = Arm("prm_mean", rewards.PrmMean(), "prm")
        learner = Learner(CONFIG, arm, MODEL, params, PROMPTS, PROBLEMS, Letters(), verify)
        learner.start(params, random_params(SCORER, mesh))
        update, seen = learner.update, []

        def recorded(state, rollout, *more):
            seen.append(jax.device_get(rollout))
            return update(state, rollout, *more)

        recorded.trace = update.trace
        learner.update = recorded
        metrics, _ = learner.one_update(0)
    state = learner.state
    gradients = (state.opt_state[1][0].mu, state.critic_opt_state[1][0].mu)
    return jax.device_get((seen[0], metrics, gradients))


@pytest.mark.slow
@on_every_mesh
def test_a_ppo_update_has_the_rewards_losses_and_gradients_of_one_device(name):
    (rollout, metrics, gradients), (alone, wanted_metrics, wanted) = ppo_update(name), ppo_update(None)
    assert np.abs(rollout.rewards).max() > 0.1
    np.testing.assert_array_equal(rollout.tokens, alone.tokens)
    assert_close(rollout, alone)
    assert_close(metrics, wanted_metrics)
    assert_close(gradients, wanted)
