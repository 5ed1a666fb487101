import pytest

from prm_jax.errors import UserError
from prm_jax.guided.config import GuidedConfig


def test_a_configuration_is_hashable_and_refuses_what_makes_no_sense():
    assert hash(GuidedConfig(evaluated=["prm", "beam"])) == hash(GuidedConfig(evaluated=("prm", "beam")))
    for wrong, told in (
        ({"evaluated": ("rpm",)}, "'rpm'"),
        ({"aggregate": "max"}, "'max'"),
        ({"candidates": 0}, "candidates is 0"),
        ({"candidates": 2, "beam_width": 3}, "below beam_width 3"),
        ({"generated": -1}, "generated is -1"),
    ):
        with pytest.raises(UserError, match=told):
            GuidedConfig(**wrong)
