"""`prm_jax bench sampling`: useful tokens per second of our engine, and of those that one would use instead.

Comes in: a checkpoint, MBPP and how much to write. Goes out: a table on standard output. Called by `cli.py`.
`transformers` and `google-tunix` are measured in the same run where they are installed. A token is useful if it stands
before the first stop sequence: what an engine writes behind it costs time and counts for nothing. Compilation and
warming up are not timed, for nobody.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.batches import PromptBatch
from prm_jax.bench import rivals
from prm_jax.bench.workload import Workload, make_workload
from prm_jax.models.config import ModelConfig
from prm_jax.sampling.engine import sample_many

_COPIED = 64 * 2**20  # Numbers of four bytes: more than any cache holds.


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
      engine: what wrote the completions.
      setting: how.
      completions: how many.
      useful: their tokens before a stop sequence.
      seconds: wall time.
    """

    engine: str
    setting: str
    completions: int
    useful: int
    seconds: float

    @property
    def rate(self) -> float:
        """Useful tokens per second."""
        return self.useful / self.seconds

    def __str__(self) -> str:
        """The line."""
        written = f"{self.completions} completions, {self.useful} useful tokens in {self.seconds:.1f} s"
        return f"{self.engine:14}{self.setting:18}{written:58}{self.rate:9.1f}/s"


def run(
    checkpoint: str | None = None,
    mbpp: str | None = None,
    prompts: int = 128,
    samples: int = 2,
    new_tokens: int = 256,
    slots: int = 128,
) -> list[Measurement]:
    """Measures and prints.

    Args:
      checkpoint: a Hugging Face folder or a GGUF file; without it or MBPP a tiny random model writes.
      mbpp: path of `mbpp.jsonl`.
      prompts: number of problems.
      samples: completions to each.
      new_tokens: the longest completion.
      slots: rows that our engine decodes together.

    Returns:
      The measurements, in the order of the table.

    Raises:
      UserError: a number is not positive, or a file cannot be read.
    """
    workload = make_workload(checkpoint, mbpp, prompts, samples, new_tokens)
    device, bandwidth = jax.devices()[0], copy_bandwidth()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{device.device_kind}, {cores} cores, load {load:.1f} (0 is idle), {bandwidth / 1e9:.1f} GB/s by copying")
    if not (checkpoint and mbpp):
        print("a tiny random model on made-up problems, as --checkpoint PATH and --mbpp FILE were not both given")
    ours = Measurement("prm_jax", f"{slots} slots", len(workload.requests()), *by_engine(workload, slots))
    share = least_traffic(workload, ours.useful, slots) / ours.seconds / bandwidth
    print(f"{ours}, {share:.0%} of the bandwidth limit", flush=True)
    found = [ours]
    with tempfile.TemporaryDirectory() as folder:
        workload.save(folder)
        for name, rival in rivals.RIVALS.items():
            if not rival.installed():
                print(f"{name}: left out, as it is not installed")
                continue
            for setting, useful, seconds in rival.measure(workload, folder):
                found.append(Measurement(name, setting, ours.completions, useful, seconds))
                print(f"{found[-1]}; prm_jax does {ours.rate / found[-1].rate:.1f} times as many", flush=True)
    return found


def by_engine(workload: Workload, slots: int, seed: int = 0) -> tuple[int, float]:
    """Useful tokens of our engine, and the seconds that they took."""
    requests = workload.requests()
    lengths = np.array([len(request) for request in requests], np.int32)
    tokens = np.zeros((len(requests), lengths.max()), np.int32)
    for row, request in zip(tokens, requests, strict=True):
        row[: len(request)] = request
    prompts = PromptBatch(tokens, lengths, np.arange(len(requests), dtype=np.int32))
    seeds = np.random.default_rng(seed).integers(2**32, size=len(requests), dtype=np.uint32)

    def sample(token_bytes: Any) -> Any:
        return sample_many(
            workload.params,
            prompts,
            seeds,
            model=workload.model,
            config=workload.rule,
            eos_id=workload.tokenizer.eos_id,
            batch_size=slots,
            token_bytes=token_bytes,
        )

    # Every fourth id a stop sequence: rows end one by one, all shapes are compiled, and little is written.
    sample(lambda token: b"" if token % 4 else workload.rule.stop[0].encode())
    start = time.perf_counter()
    written = sample(workload.tokenizer.token_bytes)
    seconds = time.perf_counter() - start
    return workload.useful(row[:n].tolist() for row, n in zip(written.tokens, written.lengths, strict=True)), seconds


def copy_bandwidth() -> float:
    """Bytes that the device moves in a second, read and written, when it copies a large array."""
    # Adding zero would be left out by the compiler; adding one is as good as copying.
    numbers, copy = jnp.zeros(_COPIED, jnp.float32), jax.jit(lambda x: x + 1)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        copy(numbers).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * numbers.nbytes / min(seconds)


def least_traffic(workload: Workload, useful: int, slots: int) -> float:
    """Bytes that writing so many tokens has to read at the least.

    The parameters once for each step of all slots, and to each token the keys and values of its own row: its prompt
    and, on the average, half of its completion.
    """
    model, requests = workload.model, workload.requests()
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(workload.params["trunk"]))
    context = np.mean([len(request) for request in requests]) + useful / len(requests) / 2
    return useful * (parameters / min(slots, len(requests)) + context * _cache_bytes(model))


def _cache_bytes(model: ModelConfig) -> int:
    """Bytes of the keys and values of one token."""
    return 2 * model.layers * model.kv_heads * model.head_features * model.compute_dtype.itemsize
