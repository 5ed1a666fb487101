"""`prm_jax bench checkpoint`: how long saving stops training.

Comes in: the size of the state, and between how many steps one is saved. Goes out: a table on standard output. Called
by `cli.py`. What trains is the decoder that the stages train, on random tokens.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.batches import TokenBatch
from prm_jax.bench.arguments import require_positive
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy, token_predictions
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.losses import sft_loss
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import TrainState, create
from prm_jax.training.step import TrainStep, make_train_step

_ROWS, _TOKENS = 8, 256
_WARM_UP = 3


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured, in seconds.

    Attributes:
      megabytes: size of the state.
      step: a step with no save near it, the median.
      stopped: how much longer than that the steps of one save took in all, up to the next save; the worst of all saves.
      calls: the longest call of `Checkpointer.save`.
      whole: a save from its call until it is on the disk, with nothing else going on; the median.
    """

    megabytes: float
    step: float
    stopped: float
    calls: float
    whole: float

    def __str__(self) -> str:
        """The table."""
        return (
            f"state                            {self.megabytes:10.1f} MB\n"
            f"a step                           {1e3 * self.step:10.1f} ms\n"
            f"a save from call to disk         {1e3 * self.whole:10.1f} ms\n"
            f"the longest call of a save       {1e3 * self.calls:10.1f} ms\n"
            f"training stopped for, at worst   {1e3 * self.stopped:10.1f} ms, {self.stopped / self.step:.2f} steps"
        )


def run(width: int = 256, layers: int = 4, saves: int = 5, every: int = 10, folder: str | None = None) -> Measurement:
    """Measures and prints.

    Args:
      width: of the model.
      layers: of the model.
      saves: how many.
      every: steps from one to the next.
      folder: where to save; default: where the system keeps temporary files.

    Raises:
      UserError: one of the numbers is not positive.
    """
    require_positive(width=width, layers=layers, saves=saves, every=every)
    state, train_step, batch = _training(width, layers)
    megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
    with tempfile.TemporaryDirectory(dir=folder) as place, Checkpointer(place) as checkpoints:
        state, plain = _steps(state, train_step, batch, _WARM_UP + every)
        checkpoints.save(0, state)  # Compiles the digests.
        checkpoints.wait()
        step, whole, calls, stopped = statistics.median(plain[_WARM_UP:]), [], [], []
        for number in range(1, saves + 1):
            start = time.perf_counter()
            checkpoints.save(number, state)
            calls.append(time.perf_counter() - start)
            state, seconds = _steps(state, train_step, batch, every)
            stopped.append(calls[-1] + sum(seconds) - every * step)
        for number in range(saves + 1, 2 * saves + 1):
            checkpoints.wait()
            start = time.perf_counter()
            checkpoints.save(number, state)
            checkpoints.wait()
            whole.append(time.perf_counter() - start)
    found = Measurement(megabytes, step, max(stopped), max(calls), statistics.median(whole))
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}, {_ROWS} rows of {_TOKENS} tokens to a step")
    print(found)
    return found


def _training(width: int, layers: int) -> tuple[TrainState, TrainStep, Any]:
    model = ModelConfig(vocab_size=1024, width=width, layers=layers, heads=4, kv_heads=4, mlp_width=4 * width)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, model.vocab_size, (_ROWS, _TOKENS)), jnp.int32)
    ones = jnp.ones_like(tokens)
    batch = (tokens, ones, jnp.broadcast_to(jnp.arange(_TOKENS), tokens.shape), ones)

    def loss(params: Any, batch: Any, key: jax.Array) -> Any:
        said = token_predictions(params, model, *batch[:3])
        return sft_loss(said.logprobs, said.likeliest, TokenBatch(*batch))

    optimizer = make_optimizer(OptimizerConfig(1e-3))
    params = jax.jit(functools.partial(init_policy, model))(jax.random.key(0))
    return create(params, optimizer), make_train_step(loss, optimizer), batch


def _steps(state: TrainState, train_step: TrainStep, batch: Any, count: int) -> tuple[TrainState, list[float]]:
    """So many steps, and the seconds of each."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        state, metrics = train_step(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return state, seconds
