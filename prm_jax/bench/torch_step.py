"""The updates that `prm_jax bench training` measures beside ours, of `transformers` on torch: a shape in, seconds out.

They are the SFT, PRM and PPO updates as one would write them with that library: whole logits, torch's own gradients,
clipping by the global norm, fused AdamW. It is imported only when it is measured. Called by `training.py`.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from prm_jax.models.config import ModelConfig
from prm_jax.ppo.config import PpoConfig

Loss = Callable[[], Any]
"""One forward pass: to the loss whose gradient an update takes."""


def installed() -> bool:
    """Whether torch and `transformers` are there."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def measure(model: ModelConfig, rows: int, tokens: int, steps: int) -> Iterator[tuple[str, str, float]]:
    """What is measured, of which stage, and the seconds of the fastest update but the first.

    Parameters are float32, the products in the model's dtype. On a GPU `torch.compile` is measured as well, and what is
    float32 is multiplied in TF32, as by JAX.
    """
    import torch
    from transformers import LlamaConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    shape = LlamaConfig(
        vocab_size=model.vocab_size, hidden_size=model.width, num_hidden_layers=model.layers,
        num_attention_heads=model.heads, num_key_value_heads=model.kv_heads, head_dim=model.head_features,
        intermediate_size=model.mlp_width, tie_word_embeddings=model.tied_embeddings,
        attention_bias=model.attention_bias, max_position_embeddings=max(tokens, 2048), num_labels=1,
    )  # fmt: skip
    torch.manual_seed(0)
    ids = torch.randint(model.vocab_size, (rows, tokens), device=device)

    def fastest(networks: Any, loss: Loss) -> float:
        optimizers = [torch.optim.AdamW(network.parameters(), 1e-4, fused=True) for network in networks]
        seconds = []
        for _ in range(1 + steps):
            start = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=model.dtype == "bfloat16"):
                value = loss()
            value.backward()
            for network, optimizer in zip(networks, optimizers, strict=True):
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return min(seconds[1:])

    for stage, made in (("sft", _sft), ("prm", _prm), ("ppo", _ppo)):
        networks, loss = made(shape, ids)
        yield "transformers", stage, fastest(networks, loss)
        if device == "cuda":
            yield "torch.compile", stage, fastest(networks, torch.compile(loss))


def _sft(shape: Any, ids: Any) -> tuple[list[Any], Loss]:
    """The networks, and the library's own loss of the next token."""
    from transformers import LlamaForCausalLM

    policy: Any = LlamaForCausalLM(shape).to(ids.device)
    return [policy], lambda: policy(input_ids=ids, labels=ids).loss


def _prm(shape: Any, ids: Any) -> tuple[list[Any], Loss]:
    """The networks, and a cross-entropy of one score to a token; every other token is labelled wrong."""
    import torch
    from transformers import LlamaForTokenClassification

    scorer: Any = LlamaForTokenClassification(shape).to(ids.device)
    right = torch.ones_like(ids, dtype=torch.float32)
    right[:, ::2] = 0
    criterion = torch.nn.functional.binary_cross_entropy_with_logits
    return [scorer], lambda: criterion(scorer(input_ids=ids).logits[..., 0].float(), right)


def _ppo(shape: Any, ids: Any) -> tuple[list[Any], Loss]:
    """The networks, policy and critic, and their losses on advantages at random; the entropy has no gradient."""
    import torch
    from transformers import LlamaForCausalLM

    config = PpoConfig()
    policy: Any = LlamaForCausalLM(shape).to(ids.device)
    hidden = config.critic.width
    critic = torch.nn.Sequential(
        torch.nn.Linear(shape.hidden_size, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, 1)
    )
    critic.to(ids.device)
    advantages = torch.randn(ids[:, 1:].shape, device=ids.device)
    known = -math.log(shape.vocab_size)

    def loss() -> Any:
        states = policy.model(input_ids=ids).last_hidden_state[:, :-1]
        every = policy.lm_head(states).float().log_softmax(-1)
        logprobs = every.gather(-1, ids[:, 1:, None])[..., 0]
        with torch.no_grad():
            (every.exp() * every).sum(-1).mean()
        ratio = (logprobs - known).exp()
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        surrogate = torch.minimum(ratio * advantages, clipped * advantages)
        values = critic(states.detach())[..., 0].float()
        near = values.clamp(-config.value_clip, config.value_clip)
        error = torch.maximum((values - advantages) ** 2, (near - advantages) ** 2)
        divergence = (logprobs - known) ** 2 / 2
        return -surrogate.mean() + error.mean() / 2 + config.kl_coefficient * divergence.mean()

    return [policy, critic], loss
