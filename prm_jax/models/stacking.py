"""Between scanned and unrolled layers: the same parameters, stacked or one by one.

`sampling/` unrolls before it decodes; checkpoints of either kind can be turned into the other.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax.models.config import ModelConfig


def unroll(trunk: Any, config: ModelConfig) -> tuple[Any, ModelConfig]:
    """A trunk's parameters and configuration with unrolled layers; unchanged where they are unrolled already."""
    if not config.scan_layers:
        return trunk, config
    unrolled = {name: value for name, value in trunk.items() if name != "blocks"}
    for layer in range(config.layers):
        unrolled[f"blocks_{layer}"] = jax.tree.map(lambda stacked, i=layer: stacked[i], trunk["blocks"])
    return unrolled, dataclasses.replace(config, scan_layers=False, scan_decoding=False)


def stack(trunk: Any, config: ModelConfig) -> tuple[Any, ModelConfig]:
    """The inverse of `unroll`."""
    if config.scan_layers:
        return trunk, config
    names = [f"blocks_{layer}" for layer in range(config.layers)]
    stacked = {name: value for name, value in trunk.items() if name not in names}
    stacked["blocks"] = jax.tree.map(lambda *layers: jnp.stack(layers), *(trunk[name] for name in names))
    return stacked, dataclasses.replace(config, scan_layers=True)
