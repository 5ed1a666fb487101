"""The engines that `prm_jax bench sampling` measures beside ours: a workload in, useful tokens and seconds out.

Each is imported only when it is measured. Both get batches of requests in the order of their prompts' lengths, padded
on the left. Called by `sampling.py`.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from prm_jax.bench.workload import Workload

Result = tuple[str, int, float]
"""A setting, the useful tokens written with it, and the seconds that they took."""

_WARM_UP_TOKENS = 4


class Rival(Protocol):
    """An engine of others."""

    def installed(self) -> bool:
        """Whether it can be measured here."""
        ...

    def measure(self, workload: Workload, folder: str) -> Iterator[Result]:
        """Writes the whole workload with each setting; the weights are those of a Hugging Face folder."""
        ...


class Transformers:
    """`generate` of `transformers` on torch, with its cache and its stop strings."""

    BATCHES = (32, 128)

    def installed(self) -> bool:
        """Whether torch and `transformers` are there."""
        return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))

    def measure(self, workload: Workload, folder: str) -> Iterator[Result]:
        """One result for each size of a batch."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda":
            torch.set_float32_matmul_precision("high")  # As JAX multiplies float32 there.
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = loaded.to(device).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        requests, rule = workload.requests(), workload.rule

        def generate(batch: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
            ids, mask = (torch.tensor(array, device=device) for array in padded(batch, tokenizer.pad_token_id))
            with torch.inference_mode():
                rows = model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, use_cache=True, do_sample=True,
                    temperature=rule.temperature, top_k=0, top_p=1.0,
                    stop_strings=list(rule.stop), tokenizer=tokenizer,
                )  # fmt: skip
            return rows[:, ids.shape[1] :].tolist()

        for size in dict.fromkeys(min(size, len(requests)) for size in self.BATCHES):
            torch.manual_seed(0)
            generate(requests[:size], _WARM_UP_TOKENS)
            start = time.perf_counter()
            rows = [row for batch in batches(requests, size) for row in generate(batch, rule.max_new_tokens)]
            yield f"batches of {size}", workload.useful(rows), time.perf_counter() - start


class Tunix:
    """The sampler of `google-tunix`, which knows no stop sequences."""

    BATCHES = (32, 128)

    def installed(self) -> bool:
        """Whether Tunix is there."""
        return importlib.util.find_spec("tunix") is not None

    def measure(self, workload: Workload, folder: str) -> Iterator[Result]:
        """One result for each size of a batch; every batch is filled up and padded alike: one program serves all."""
        from tunix.generate.sampler import CacheConfig, Sampler
        from tunix.models.llama3 import model as llama3
        from tunix.models.llama3.params import create_model_from_safe_tensors

        shape, requests, rule = workload.model, workload.requests(), workload.rule
        config = llama3.ModelConfig(
            num_layers=shape.layers, vocab_size=shape.vocab_size, embed_dim=shape.width, hidden_dim=shape.mlp_width,
            num_heads=shape.heads, head_dim=shape.head_features, num_kv_heads=shape.kv_heads,
            rope_theta=int(shape.rope_theta), norm_eps=shape.norm_eps, weight_tying=shape.tied_embeddings,
        )  # fmt: skip
        model = create_model_from_safe_tensors(folder, config, dtype=jnp.float32)
        longest = max(map(len, requests))
        cache = CacheConfig(longest + rule.max_new_tokens, shape.layers, shape.kv_heads, shape.head_features)
        sampler = Sampler(model, _Ids(workload), cache)

        def sample(batch: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
            out = sampler(
                [" ".join(map(str, ids)) for ids in batch], rule.max_new_tokens, longest,
                temperature=rule.temperature, top_p=1.0, seed=seed,
            )  # fmt: skip
            return [np.asarray(row).tolist() for row in out.tokens]

        for size in dict.fromkeys(min(size, len(requests)) for size in self.BATCHES):
            chunks = [filled(batch, size) for batch in batches(requests, size)]
            sample(chunks[0], 0)
            start = time.perf_counter()
            rows = [row for seed, batch in enumerate(chunks) for row in sample(batch, seed)][: len(requests)]
            yield f"batches of {size}", workload.useful(rows), time.perf_counter() - start


class _Ids:
    """A tokenizer for Tunix, which takes texts alone: a text is the ids that it stands for."""

    def __init__(self, workload: Workload) -> None:
        self._tokenizer = workload.tokenizer

    def encode(self, text: str) -> list[int]:
        return [int(number) for number in text.split()]

    def decode(self, ids: Sequence[int], **more: Any) -> str:
        del more
        return self._tokenizer.decode(int(token) for token in ids)

    def bos_id(self) -> int | None:
        return None  # The prompts are whole.

    def eos_id(self) -> int:
        return self._tokenizer.eos_id

    def pad_id(self) -> int:
        return self._tokenizer.pad_id


RIVALS: dict[str, Rival] = {"transformers": Transformers(), "google-tunix": Tunix()}


def batches(requests: Sequence[Sequence[int]], size: int) -> Iterator[Sequence[Sequence[int]]]:
    """The requests in batches of a size; the last one may be smaller."""
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


def filled(batch: Sequence[Sequence[int]], size: int) -> Sequence[Sequence[int]]:
    """A batch of that size: the last request again and again behind its own, for a shape that never changes."""
    return [*batch, *[batch[-1]] * (size - len(batch))]


def padded(batch: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch padded on the left, and 1 where there is a token."""
    width = max(map(len, batch))
    ids = np.array([[pad_id] * (width - len(row)) + list(row) for row in batch])
    mask = np.array([[0] * (width - len(row)) + [1] * len(row) for row in batch])
    return ids, mask
