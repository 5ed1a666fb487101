"""Arms are hashable, and combinations that cannot be meant are refused with what to do."""

import pytest

from prm_jax.errors import UserError
from prm_jax.ppo import rewards
from prm_jax.ppo.arms import Arm, PrmRefreshConfig
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.quality import Plus, Quality


def test_arms_are_hashable():
    online = Arm("prm_online", rewards.PrmMean(), "prm", exact_labels=True, refresh=PrmRefreshConfig())
    assert len({online, Arm(), Arm("first_error_exact", rewards.FirstErrorExact(), exact_labels=True)}) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"reward": rewards.PrmMean()},
        {"reward": rewards.Orm(), "scorer": "prm"},
        {"reward": rewards.FirstErrorExact()},
        {"reward": rewards.OutcomeLocated()},
        {"reward": rewards.PrmMean(), "scorer": "prm", "refresh": PrmRefreshConfig()},
        {"critic": "prm"},
        {"critic": "trunk"},
        {"control": "more"},
    ],
)
def test_impossible_arms_are_refused(fields):
    with pytest.raises(UserError, match="Arm x: "):
        Arm("x", **fields)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
def test_a_name_that_is_no_folders_is_refused(name):
    with pytest.raises(UserError, match=r"^Arm\.name is '.*give one that a folder can have"):
        Arm(name)


def test_quality_is_off_by_default_and_added_to_any_rule():
    assert Arm().rule == rewards.Outcome()
    arm = Arm("x", rewards.PrmMean(), "prm", quality=Quality())
    assert arm.rule == Plus((rewards.PrmMean(), Quality()))


@pytest.mark.parametrize(
    "fields",
    [
        {"weight": 0.0},
        {"weight": 0.6},
        {"naming": -1.0},
        {"structure": 0, "naming": 0, "calls": 0},
        {"constraints": 1.0},
        {"domains": ("finance",)},
    ],
)
def test_impossible_quality_is_refused(fields):
    with pytest.raises(UserError, match="Quality"):
        Quality(**fields)


@pytest.mark.parametrize(
    "fields", [{"minibatches": 3}, {"kl_in": "both"}, {"temperature": 0.0}, {"updates": 0}, {"screening": 1}]
)
def test_impossible_runs_are_refused(fields):
    with pytest.raises(UserError, match="PpoConfig"):
        PpoConfig(**fields)
