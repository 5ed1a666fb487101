"""Adapters are trained and nothing else is: the trunk keeps its bits, and a checkpoint has no trunk."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.batches import TokenBatch
from prm_jax.models.config import LoraConfig, ModelConfig
from prm_jax.models.lora import frozen, trainable
from prm_jax.models.policy import init_policy, init_scorer, scores, token_predictions
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.loop import FitConfig, fit
from prm_jax.training.losses import predicted, sft_loss, step_loss
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import create
from prm_jax.training.step import make_train_step

MODEL = ModelConfig(vocab_size=11, width=16, layers=2, heads=2, kv_heads=2, mlp_width=32, lora=LoraConfig(rank=2))
POLICY = init_policy(MODEL, jax.random.key(0))
NETWORKS = {"sft": POLICY, "prm": init_scorer(MODEL, jax.random.key(1), POLICY)}


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def batches_from(step):
    """Counting rows; every second token ends a step, right where it is even."""
    for number in itertools.count(step):
        start = np.random.default_rng(number).integers(0, 11, (4, 1))
        tokens, ones = (start + np.arange(8)) % 11, np.ones((4, 8), np.int32)
        labels = np.where(np.arange(8) % 2, 2 + tokens % 2, 1)
        yield TokenBatch(*(rows.astype(np.int32) for rows in (tokens, ones, ones * np.arange(8), labels)))


def sft(params, batch, key):
    said = token_predictions(params, MODEL, *batch[:3], predicted(batch))
    return sft_loss(said.logprobs, said.likeliest, batch)


def prm(params, batch, key):
    return step_loss(scores(params, MODEL, *batch[:3]), batch)


def train(stage, directory, batches_from=batches_from):
    optimizer = make_optimizer(OptimizerConfig(1e-2, total_steps=6))
    params = NETWORKS[stage]
    step = make_train_step({"sft": sft, "prm": prm}[stage], optimizer)
    return fit(
        FitConfig(steps=6, evaluate_every=3, checkpoint_every=3, log_every=1),
        jax.jit(functools.partial(create, tx=optimizer))(trainable(params, MODEL)),
        functools.partial(step, frozen=frozen(params, MODEL)),
        batches_from,
        directory=directory,
        evaluate=lambda own, step: {"size": float(jnp.abs(own["adapters"]["blocks"]["mlp"]["gate"]["B"]).sum())},
        monitor="size",
    )


@pytest.mark.parametrize("stage", ["sft", "prm"])
def test_the_trunk_keeps_its_bits_checkpoints_have_none_and_resuming_reaches_the_same(stage, tmp_path):
    before, started = bits(NETWORKS[stage]["trunk"]), trainable(NETWORKS[stage], MODEL)
    whole = train(stage, tmp_path / "whole")
    assert bits(NETWORKS[stage]["trunk"]) == before
    assert set(whole.best_params) == set(started) == {"adapters"} | ({"head"} if stage == "prm" else set())
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), whole.best_params, started)
    assert all(jax.tree.leaves(moved))
    with Checkpointer(tmp_path / "whole" / "checkpoints") as checkpoints:
        leaves = checkpoints._metadata(6)["leaves"]  # Which leaves there are is nobody else's business.
    assert len(leaves) > 40 and not any("trunk" in name or "embedding" in name for name in leaves)

    def dies(step):
        return itertools.islice(batches_from(step), 4 - step)

    with pytest.raises(Exception, match="batches end before step 5"):
        train(stage, tmp_path / "cut", dies)
    resumed = train(stage, tmp_path / "cut")
    assert bits(resumed.state) == bits(whole.state) and bits(resumed.best_params) == bits(whole.best_params)
