"""The SFT step of `transformers` on torch that `prm_jax bench training` measures beside ours: a shape in, seconds out.

It is imported only when it is measured. Called by `training.py`.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

from prm_jax.models.config import ModelConfig


def installed() -> bool:
    """Whether torch and `transformers` are there."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def measure(model: ModelConfig, rows: int, tokens: int, steps: int) -> Iterator[tuple[str, float]]:
    """What is measured and the seconds of its fastest step but the first: loss, gradient, clipping and AdamW.

    Parameters are float32, the products in the model's dtype. On a GPU `torch.compile` is measured as well, and what is
    float32 is multiplied in TF32, as by JAX.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    shape = LlamaConfig(
        vocab_size=model.vocab_size, hidden_size=model.width, num_hidden_layers=model.layers,
        num_attention_heads=model.heads, num_key_value_heads=model.kv_heads, head_dim=model.head_features,
        intermediate_size=model.mlp_width, tie_word_embeddings=model.tied_embeddings,
        attention_bias=model.attention_bias, max_position_embeddings=max(tokens, 2048),
    )  # fmt: skip
    torch.manual_seed(0)
    policy: Any = LlamaForCausalLM(shape)
    policy.to(device)
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-4, fused=True)
    ids = torch.randint(model.vocab_size, (rows, tokens), device=device)

    def fastest(forward: Any) -> float:
        seconds = []
        for _ in range(1 + steps):
            start = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=model.dtype == "bfloat16"):
                loss = forward(input_ids=ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return min(seconds[1:])

    yield "transformers", fastest(policy)
    if device == "cuda":
        yield "torch.compile", fastest(torch.compile(policy))
