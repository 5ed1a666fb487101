"""`prm_jax bench training`: tokens per second of an update of SFT, PRM and PPO, and how near the machine's limit.

Comes in: a model's shape and the size of a batch. Goes out: a table on standard output. Called by `cli.py`. The same
updates with `transformers` are measured in the same run where it is installed. The weights are random, and every token
is learnt from. Compiling and the first step are not timed, for nobody.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.ahead.slices import GIB
from prm_jax.batches import TokenBatch
from prm_jax.bench import torch_step
from prm_jax.bench.arguments import require_positive
from prm_jax.bench.sampling import copy_bandwidth
from prm_jax.labelling.labelled_program import Label
from prm_jax.models.checkpoint_load import open_checkpoint
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy, init_scorer, scores, token_predictions
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.critic import init_head
from prm_jax.ppo.rollout import Rollout
from prm_jax.ppo.update import init_state, make_update
from prm_jax.training.losses import sft_loss, step_loss
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import create
from prm_jax.training.step import make_train_step

SMOLLM2_135M = ModelConfig(
    vocab_size=49152, width=576, layers=30, heads=9, kv_heads=3, mlp_width=1536, rope_theta=100_000.0
)
_SIDE = 3072  # Of the matrices whose product tells the limit.
_OPTIMIZER_BYTES = 7 * 4  # Of each parameter: gradient, moments and itself read, the last three written.


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
      learner: what made the step.
      stage: of which stage it is.
      tokens: of a step.
      seconds: of the fastest step.
      flops: of the matrix products that a step needs.
      peak: FLOP/s of the device, or 0.
      memory: bytes of the compiled program; None where it is not known.
    """

    learner: str
    stage: str
    tokens: int
    seconds: float
    flops: float
    peak: float
    memory: float | None = None

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds

    @property
    def utilisation(self) -> float:
        """Model FLOP utilisation: the share of the device's rate that the needed products make up."""
        return self.flops / self.seconds / self.peak

    def __str__(self) -> str:
        """The line."""
        memory = "" if self.memory is None else f", {self.memory / GIB:.1f} GiB"
        step = f"{self.tokens} tokens in {self.seconds:.2f} s"
        return f"{self.learner:14}{self.stage:5}{step:28}{self.rate:9.1f}/s, MFU {self.utilisation:.0%}{memory}"


def run(
    checkpoint: str | None = None, rows: int = 8, tokens: int = 512, steps: int = 2, dtype: str = "float32"
) -> list[Measurement]:
    """Measures and prints.

    Args:
      checkpoint: a Hugging Face folder or a GGUF file with the shape to train; without it that of SmolLM2-135M.
      rows: of a batch.
      tokens: of a row.
      steps: timed steps; the fastest counts.
      dtype: of our activations.

    Returns:
      The measurements, in the order of the table.

    Raises:
      UserError: a number is not positive, or the checkpoint cannot be read.
    """
    require_positive(rows=rows, tokens=tokens, steps=steps)
    shape = open_checkpoint(checkpoint).config if checkpoint else SMOLLM2_135M
    model = dataclasses.replace(shape, dtype=dtype)
    device, peak, bandwidth = jax.devices()[0], product_rate(model), copy_bandwidth()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(
        f"{device.device_kind}, {cores} cores, load {load:.1f} (0 is idle), {peak / 1e9:.0f} GFLOP/s by a product of "
        f"matrices, {bandwidth / 1e9:.1f} GB/s by copying"
    )
    ours: dict[str, Measurement] = {}
    for stage, update, state in _updates(model, rows, tokens):
        flops = 3 * rows * tokens * forward_flops(model, tokens, logits=stage != "prm")
        size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        memory, seconds = _timed(update, state, steps)
        del state
        ours[stage] = Measurement("prm_jax", stage, rows * tokens, seconds, flops, peak, memory)
        print(f"{ours[stage]}; {_limits(ours[stage], size * _OPTIMIZER_BYTES / bandwidth)}", flush=True)
    found = [*ours.values()]
    if not torch_step.installed():
        print("transformers: left out, as it is not installed (pip install torch transformers)")
    else:
        for learner, stage, seconds in torch_step.measure(model, rows, tokens, steps):
            found.append(dataclasses.replace(ours[stage], learner=learner, seconds=seconds, memory=None))
            print(f"{found[-1]}; prm_jax does {ours[stage].rate / found[-1].rate:.2f} times as many", flush=True)
    return found


def forward_flops(model: ModelConfig, tokens: int, logits: bool = True) -> float:
    """FLOPs to a token of the matrix products of a forward pass; a backward pass takes twice as many.

    Attention counts the half that a causal mask leaves, and nothing counts that is computed again.

    Args:
      model: the shape.
      tokens: of a row.
      logits: whether there are logits, or only a score.
    """
    attention = model.width * model.head_features * 2 * (model.heads + model.kv_heads)
    scores = 2 * model.heads * model.head_features * tokens / 2
    block = attention + 3 * model.width * model.mlp_width + scores
    return 2 * (model.layers * block + (model.vocab_size * model.width if logits else model.width))


def product_rate(model: ModelConfig) -> float:
    """FLOP/s of the device in one large product of matrices of the model's dtype."""
    matrix, product = jnp.ones((_SIDE, _SIDE), model.compute_dtype), jax.jit(jnp.matmul)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * _SIDE**3 / min(seconds)


def _updates(model: ModelConfig, rows: int, tokens: int) -> Iterator[tuple[str, Any, Any]]:
    """Of each stage its name, its jitted update of a state, and the state."""
    key, optimizer = jax.random.key(0), make_optimizer(OptimizerConfig(1e-4))
    ids = jnp.asarray(np.random.default_rng(0).integers(0, model.vocab_size, (rows, tokens)), jnp.int32)
    ones = jnp.ones_like(ids)
    positions = jnp.broadcast_to(jnp.arange(tokens, dtype=jnp.int32), ids.shape)
    placed: Any = TokenBatch  # Which says that its arrays are numpy's.
    batch = placed(ids, ones, positions, ones)

    def sft(params: Any, batch: TokenBatch, key: Any) -> Any:
        said = token_predictions(params, model, *_placed(batch))
        return sft_loss(said.logprobs, said.likeliest, batch)

    def prm(params: Any, batch: TokenBatch, key: Any) -> Any:
        return step_loss(scores(params, model, *_placed(batch)), batch)

    yield "sft", _on(make_train_step(sft, optimizer), batch), create(init_policy(model, key), optimizer)
    labels: Any = jnp.where(positions % 2 == 0, int(Label.WRONG), int(Label.RIGHT))
    labelled = batch._replace(labels=labels)
    yield "prm", _on(make_train_step(prm, optimizer), labelled), create(init_scorer(model, key), optimizer)
    config = PpoConfig(
        prompts_per_update=rows, samples_per_prompt=1, epochs=1, minibatches=1, value_only_updates=0, learning_rate=1e-5
    )
    critic = init_head(model, config.critic.width, key)
    state = init_state(config, init_policy(model, key), critic)
    yield "ppo", _on(make_update(config, model, "head"), _rollout(ids, ones, positions, model), key), state


def _placed(batch: TokenBatch) -> Any:
    """Tokens, segments and positions, which a `TokenBatch` takes for numpy's."""
    return batch[:3]


def _on(update: Any, *given: Any) -> Any:
    """A jitted update with all that it takes beside the state."""
    return lambda state: update.trace(state, *given), lambda run, state: run(state, *given)


def _rollout(ids: Any, ones: Any, positions: Any, model: ModelConfig) -> Rollout:
    """Rewards at random, and log-probabilities of a policy that knows nothing."""
    noise = jax.random.normal(jax.random.key(1), ids.shape)
    known = jnp.full(ids.shape, -np.log(model.vocab_size), jnp.float32)
    yes = ones.astype(bool)
    return Rollout(
        tokens=ids, segments=ones, positions=positions, completion=yes, logprobs=known, ref_logprobs=known,
        values=jnp.zeros_like(noise), rewards=noise, problem=ones[:, 0], known=yes[:, 0], judged=yes,
    )  # fmt: skip


def _timed(update: Any, state: Any, steps: int) -> tuple[float, float]:
    """Bytes that the compiled update needs, and the seconds of its fastest step but the first."""
    trace, call = update
    compiled = trace(state).lower().compile()
    stats, seconds = compiled.memory_analysis(), []
    for _ in range(1 + steps):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(call(compiled, state))
        seconds.append(time.perf_counter() - start)
    return stats.argument_size_in_bytes + stats.temp_size_in_bytes, min(seconds[1:])


def _limits(found: Measurement, optimizer: float) -> str:
    """Where the time of a step goes, as far as it can be told from outside."""
    products = found.flops / found.peak
    rest = found.seconds - products - optimizer
    return f"products {products:.2f} s at that rate, the optimiser {optimizer:.2f} s of copying, all else {rest:.2f} s"
