import math

import pytest

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig, RopeScaling


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 0},
        {"layers": 2.0},
        {"vocab_size": True},
        {"head_width": 0},
        {"head_width": -8},
        {"context": "2048"},
        {"heads": 4, "kv_heads": 3},
        {"width": 30},
        {"head_width": 5},
        {"dtype": "float16"},
        *({"rope_theta": theta} for theta in (0.0, -5.0, 1.0, math.nan, math.inf, "1e4", None)),
        *({"norm_eps": eps} for eps in (-1e-6, math.nan, "1e-6", None)),
        {"tied_embeddings": "no"},
        {"scan_layers": False, "scan_decoding": True},
    ],
)
def test_refuses_impossible_shapes(wrong):
    with pytest.raises(UserError, match="ModelConfig"):
        ModelConfig(**wrong)


def test_head_width_overrides_the_quotient():
    assert ModelConfig(width=64, heads=4).head_features == 16
    assert ModelConfig(width=64, heads=4, head_width=8).head_features == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "ntk"},
        {"factor": 0.5},
        {"factor": math.inf},
        {"factor": "4"},
        {"low_freq_factor": 4.0},
        {"low_freq_factor": 0.0},
        {"beta_fast": "32"},
        {"beta_slow": -1.0},
        {"attention_factor": 0.0},
        {"original_context": "16"},
        {"original_context": 0},
    ],
)
def test_refuses_impossible_scalings(wrong):
    with pytest.raises(UserError, match=r"RopeScaling\."):
        RopeScaling(**({"kind": "llama3", "factor": 2.0} | wrong))


def test_numbers_may_be_whole():
    assert ModelConfig(rope_theta=10_000, norm_eps=0).rope_theta == 10_000
    assert RopeScaling("yarn", factor=4, beta_fast=32, attention_factor=1).factor == 4
