import pytest

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig, RopeScaling


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 0},
        {"heads": 4, "kv_heads": 3},
        {"width": 30},
        {"head_width": 5},
        {"dtype": "float16"},
        {"scan_layers": False, "scan_decoding": True},
    ],
)
def test_refuses_impossible_shapes(wrong):
    with pytest.raises(UserError):
        ModelConfig(**wrong)


def test_head_width_overrides_the_quotient():
    assert ModelConfig(width=64, heads=4).head_features == 16
    assert ModelConfig(width=64, heads=4, head_width=8).head_features == 8


@pytest.mark.parametrize("wrong", [{"kind": "ntk"}, {"factor": 0.5}, {"low_freq_factor": 4.0}])
def test_refuses_impossible_scalings(wrong):
    with pytest.raises(UserError):
        RopeScaling(**({"kind": "llama3", "factor": 2.0} | wrong))
