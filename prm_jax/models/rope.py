"""Rotary positions: from positions to angles, from angles to turned heads. `decoder.py` and `attention.py` call it.

B batch, T tokens, N heads, W features of a head.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from prm_jax.models.config import ModelConfig, RopeScaling

Rotary = tuple[Float[Array, "B T W/2"], Float[Array, "B T W/2"]]


def rotary_table(positions: Int[Array, "B T"], config: ModelConfig) -> Rotary:
    """Cosine and sine of each position's angles, float32 (Su et al. 2021, equation 34)."""
    angles = positions[..., None].astype(jnp.float32) * frequencies(config)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    scaling = config.rope_scaling
    if scaling is None or scaling.kind != "yarn":
        return cos, sin
    factor = scaling.attention_factor
    factor = 0.1 * math.log(scaling.factor) + 1 if factor is None else factor
    return cos * factor, sin * factor


def rotate(x: Float[Array, "B T N W"], rotary: Rotary) -> Float[Array, "B T N W"]:
    """Turns the pairs (i, i + W/2) of each head by the angles of its position."""
    cos, sin = (table[:, :, None, :].astype(x.dtype) for table in rotary)
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)


def frequencies(config: ModelConfig) -> Float[Array, " W/2"]:
    """Radians that each pair of features turns from one position to the next."""
    half = config.head_features // 2
    plain = config.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    stretched = plain / scaling.factor
    if scaling.kind == "linear":  # Chen et al. 2023, section 3.2.
        return stretched
    kept = _kept_by_llama3(plain, scaling) if scaling.kind == "llama3" else _kept_by_yarn(config, scaling)
    return kept * plain + (1 - kept) * stretched


def _kept_by_llama3(plain: Float[Array, " W/2"], scaling: RopeScaling) -> Float[Array, " W/2"]:
    """How much of each frequency stays: 1 for the fast ones, 0 for the slow, between them linear in the frequency.

    Grattafiori et al. 2024 (Llama 3) name the method, the model's published code (`apply_scaling`) its formula.
    """
    turns = scaling.original_context * plain / (2 * math.pi)
    return jnp.clip((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor), 0, 1)


def _kept_by_yarn(config: ModelConfig, scaling: RopeScaling) -> Float[Array, " W/2"]:
    """The same for YaRN, linear in the index of the pair (Peng et al. 2023, equations 20 to 23 and appendix A)."""
    half = config.head_features // 2

    def pair_that_turns(times: float) -> float:
        base = scaling.original_context / (times * 2 * math.pi)
        return half * math.log(base) / math.log(config.rope_theta)

    # The published implementation rounds outwards and bounds by the width, not the number of pairs.
    first = max(math.floor(pair_that_turns(scaling.beta_fast)), 0)
    last = min(math.ceil(pair_that_turns(scaling.beta_slow)), config.head_features - 1)
    return 1 - jnp.clip((jnp.arange(half) - first) / max(last - first, 1e-3), 0, 1)
