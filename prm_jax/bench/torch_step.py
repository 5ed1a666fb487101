"""The SFT step of `transformers` on torch that `prm_jax bench training` measures beside ours: a shape in, seconds out.

It is imported only when it is measured. Called by `training.py`.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from prm_jax.models.config import ModelConfig


def installed() -> bool:
    """Whether torch and `transformers` are there."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def measure(model: ModelConfig, rows: int, tokens: int, steps: int) -> float:
    """Seconds of the fastest step but the first: loss, gradient, clipping and AdamW, in float32 as torch sets it up."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = LlamaConfig(
        vocab_size=model.vocab_size, hidden_size=model.width, num_hidden_layers=model.layers,
        num_attention_heads=model.heads, num_key_value_heads=model.kv_heads, head_dim=model.head_features,
        intermediate_size=model.mlp_width, tie_word_embeddings=model.tied_embeddings,
        attention_bias=model.attention_bias, max_position_embeddings=max(tokens, 2048),
    )  # fmt: skip
    torch.manual_seed(0)
    policy: Any = LlamaForCausalLM(shape)
    policy.to(device)
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-4)
    ids = torch.randint(model.vocab_size, (rows, tokens), device=device)
    seconds = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        policy(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
