"""From scanned to unrolled layers: stacked parameters in, the same one by one out. `sampling/` decodes with them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from prm_jax.models.config import ModelConfig


def unroll(trunk: Any, config: ModelConfig) -> tuple[Any, ModelConfig]:
    """A trunk's parameters and configuration with unrolled layers; unchanged where they are unrolled already."""
    if not config.scan_layers:
        return trunk, config
    unrolled = {name: value for name, value in trunk.items() if name != "blocks"}
    for layer in range(config.layers):
        unrolled[f"blocks_{layer}"] = jax.tree.map(lambda stacked, i=layer: stacked[i], trunk["blocks"])
    return unrolled, dataclasses.replace(config, scan_layers=False, scan_decoding=False)
