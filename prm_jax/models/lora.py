"""LoRA: low-rank adapters beside a trunk that stays as it is (Hu et al. 2021, arXiv 2106.09685).

An adapter is two factors A and B to a kernel W, and the layer computes with W + (alpha / r) A B (their equation 3, with
inputs before outputs as our kernels have them). B starts at zero, so that the network starts as its trunk. Policy,
reference, PRM, ORM and critic then are one trunk in memory with adapters, and heads, of their own.

The kernel is added up within its block, where only one block's is held at a time. So attention and feed-forward
know nothing of it but the kernel, and what is computed is what the exported network computes.

A network's parameters are `{"trunk", "adapters"}`, and `"head"` for a scorer; `policy.py` makes them, the blocks call
`adapted`, sampling and export `merged`. r rank.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from prm_jax.models.config import ModelConfig

COLLECTION = "adapters"
"""Where the modules find them, and what they are called among a network's parameters."""
_INPUTS = {"attention": {"query": 1, "key": 1, "value": 1, "out": 2}, "mlp": {"gate": 1, "up": 1, "down": 1}}
"""How many of a kernel's axes are inputs."""


def trainable(params: Any, config: ModelConfig) -> Any:
    """The parts of a network that training changes, boxed or not: all, or with adapters all but the trunk."""
    return {name: part for name, part in params.items() if name != "trunk"} if config.lora.rank else params


def frozen(params: Any, config: ModelConfig) -> dict[str, Any]:
    """The parts that training leaves as they are; the arrays themselves, not copies."""
    return {"trunk": params["trunk"]} if config.lora.rank else {}


def whole(trainable: Any, frozen: dict[str, Any] | None) -> Any:
    """A network's parameters from what `trainable` and `frozen` gave."""
    return {**frozen, **trainable} if frozen else trainable


def boxed_adapters(boxed_trunk: Any, config: ModelConfig, key: Key[Array, ""]) -> dict[str, Any]:
    """New adapters, each factor boxed with its logical axes: those of its kernel, and `rank`.

    Args:
      boxed_trunk: a trunk's boxed parameters, or their shapes.
      config: the model.
      key: of A, which is normal with variance 1 / inputs. B is zero.

    Returns:
      `{"A": [inputs, r], "B": [r, outputs]}` in the place of each adapted kernel of a trunk, stacked where it is.
    """
    adapters: dict[str, Any] = {}
    for block, parts in boxed_trunk.items():
        for part, kernels in _INPUTS.items() if block.startswith("blocks") else ():
            for name in (name for name in kernels if name in config.lora.projections):
                own = jax.random.fold_in(key, len(jax.tree.leaves(adapters)))
                adapters.setdefault(block, {}).setdefault(part, {})[name] = _boxed(
                    parts[part][name], kernels[name], config.lora.rank, own
                )
    return adapters


def _boxed(kernel: Any, inputs: int, rank: int, key: Key[Array, ""]) -> dict[str, Any]:
    shape, axes = kernel.value.shape, kernel.names
    first = int(axes[0] == "layers")
    last = first + inputs
    spread = math.prod(shape[first:last]) ** -0.5
    low = spread * jax.random.normal(key, (*shape[:last], rank), jnp.float32)
    high = jnp.zeros((*shape[:first], rank, *shape[last:]), jnp.float32)
    return {
        "A": nn.LogicallyPartitioned(low, (*axes[:last], "rank")),
        "B": nn.LogicallyPartitioned(high, (*axes[:first], "rank", *axes[last:])),
    }


def adapted(module: nn.Module, name: str, kernel: Array) -> Array:
    """A kernel of a module as it computes with it: with what its adapter adds, where it has one.

    The backward pass adds it up once more: kept for it, the kernels of all blocks would be a second trunk.
    """
    if not module.has_variable(COLLECTION, name):
        return kernel
    config: ModelConfig = module.config  # type: ignore[attr-defined]
    kernel = _merged_kernel(kernel, module.get_variable(COLLECTION, name), config.lora.scale)
    return kernel.astype(config.compute_dtype)


def kept_for_backward(config: ModelConfig) -> Callable[..., bool]:
    """The policy, for `jax.checkpoint`, of what a block keeps for its backward pass: all but what adds kernels up.

    Such an operation is known by its operands: each has the shape of a kernel or of a factor, or is a number.
    """
    c, r = config, config.lora.rank
    heads = [(c.heads, c.head_features), (c.kv_heads, c.head_features)]
    kernels: set[tuple[int, ...]] = {(c.width, *head) for head in heads} | {(*heads[0], c.width)}
    kernels |= {(c.width, c.mlp_width), (c.mlp_width, c.width)}
    factors: set[tuple[int, ...]] = {(*head, r) for head in heads} | {(r, *head) for head in heads}
    factors |= {(n, r) for n in (c.width, c.mlp_width)} | {(r, n) for n in (c.width, c.mlp_width)}
    small = kernels | factors | {()}
    return lambda primitive, *operands, **_: not all(operand.shape in small for operand in operands)


def merged(params: Any, config: ModelConfig) -> tuple[Any, ModelConfig]:
    """The same network and its configuration without adapters: what they add is in its trunk."""
    if COLLECTION not in params:
        return params, config.without_lora()
    trunk = _merged(params["trunk"], params[COLLECTION], config.lora.scale)
    parts = {name: trunk if name == "trunk" else part for name, part in params.items() if name != COLLECTION}
    return parts, config.without_lora()


def _merged(part: Any, adapters: Any, scale: float) -> Any:
    if "A" in adapters:
        return _merged_kernel(part, adapters, scale)
    return {name: _merged(own, adapters[name], scale) if name in adapters else own for name, own in part.items()}


def _merged_kernel(kernel: Array, adapter: dict[str, Array], scale: float) -> Array:
    """W + scale A B, in float32."""
    product = functools.partial(jnp.tensordot, axes=1, precision="highest")
    if adapter["A"].ndim + adapter["B"].ndim - 2 > kernel.ndim:
        product = jax.vmap(product)  # Stacked layers.
    return kernel + scale * product(adapter["A"], adapter["B"])
