"""`Arm`: one way to reward the policy, as data. The presets are gin files under `gin/ablations/`.

| arm | reward | scorer | exact_labels | critic |
|---|---|---|---|---|
| `outcome` | `Outcome` | | | `head` |
| `outcome_graded` | `OutcomeGraded` | | | `head` |
| `orm` | `Orm` | `orm` | | `head` |
| `prm_sum` | `PrmSum` | `prm` | | `head` |
| `prm_mean` | `PrmMean` | `prm` | | `head` |
| `prm_mean_critic` | `PrmMean` | `prm` | | `prm` |
| `prm_online` | `PrmMean`, with `refresh` | `prm` | yes | `head` |
| `prm_min` | `PrmMin` | `prm` | | `head` |
| `prm_delta` | `PrmDelta` | `prm` | | `head` |
| `prm_gated` | `PrmGated` | `prm` | | `head` |
| `first_error` | `FirstError` | `prm` | | `head` |
| `first_error_exact` | `FirstErrorExact` | | yes | `head` |
| `outcome_located` | `OutcomeLocated` | | yes | `head` |
| `random` | `Random` | | | `head` |
| `sft_more`, `rft` | none: `control` | | | |

Any of them with `quality` is the arm `+quality`: `outcome_quality` is `outcome` with `Quality`.

`loop.train` runs an arm; the stage runs a control that is no PPO.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from prm_jax.errors import UserError
from prm_jax.ppo import rewards
from prm_jax.ppo.critic import CriticKind
from prm_jax.ppo.quality import Plus, Quality
from prm_jax.ppo.rewards import RewardRule


@dataclasses.dataclass(frozen=True)
class PrmRefreshConfig:
    """How a PRM follows the policy: it is trained on the policy's own programs with the interpreter's labels.

    Attributes:
      every: updates between refreshes.
      steps: gradient steps of a refresh.
      learning_rate: Adam's rate, constant.
      batch_size: programs to a step, drawn from the buffer.
      buffer_rollouts: latest rollouts that are kept.
      max_grad_norm: gradients are clipped to this global norm.
    """

    every: int = 1
    steps: int = 8
    learning_rate: float = 3e-4
    batch_size: int = 64
    buffer_rollouts: int = 4
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if min(self.every, self.steps, self.batch_size, self.buffer_rollouts) < 1:
            raise UserError("PrmRefreshConfig: every, steps, batch_size and buffer_rollouts are at least 1")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm of an experiment.

    Attributes:
      name: names its directory and its row in the result table.
      reward: the reward rule.
      scorer: the learned model that the rule reads: `"prm"`, `"orm"` or None.
      exact_labels: whether every program is labelled by the interpreter against the reference (costs traces).
      refresh: how the PRM follows the policy; None leaves it frozen. Needs `scorer="prm"` and `exact_labels`.
      critic: `"head"` on the policy's features, or `"prm"`, a copy of the PRM.
      quality: the bounded term that tells well-written passing programs from others; None leaves it out.
      control: instead of PPO, SFT goes on: `"sft_more"` on the demonstrations, `"rft"` on the policy's own passing
        programs; else `""`.
    """

    name: str = "outcome"
    reward: RewardRule = rewards.Outcome()
    scorer: Literal["prm", "orm"] | None = None
    exact_labels: bool = False
    refresh: PrmRefreshConfig | None = None
    critic: CriticKind = "head"
    quality: Quality | None = None
    control: Literal["", "sft_more", "rft"] = ""

    @property
    def rule(self) -> RewardRule:
        """All that the arm rewards."""
        return self.reward if self.quality is None else Plus((self.reward, self.quality))

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be meant."""
        if self.name in ("", ".", "..") or "/" in self.name:
            raise UserError(f"Arm.name is {self.name!r}; give one that a folder can have, without slashes")
        if self.scorer not in (None, "prm", "orm"):
            raise UserError(f'Arm {self.name}: scorer is {self.scorer!r}; give "prm", "orm" or None')
        if self.critic not in ("head", "prm"):
            raise UserError(f'Arm {self.name}: critic is {self.critic!r}; give "head" or "prm"')
        if self.control not in ("", "sft_more", "rft"):
            raise UserError(f'Arm {self.name}: control is {self.control!r}; give "sft_more", "rft" or ""')
        if self.refresh is not None and not (self.scorer == "prm" and self.exact_labels):
            raise UserError(f'Arm {self.name}: refresh needs scorer="prm" and exact_labels=True')
        if self.critic == "prm" and self.scorer != "prm":
            raise UserError(f'Arm {self.name}: critic="prm" needs scorer="prm"')
        if isinstance(self.reward, _READS_LABELS) and not self.exact_labels:
            raise UserError(f"Arm {self.name}: {type(self.reward).__name__} needs exact_labels=True")
        if isinstance(self.reward, rewards.Orm) and self.scorer != "orm":
            raise UserError(f'Arm {self.name}: Orm needs scorer="orm"')
        if isinstance(self.reward, _READS_PRM) and self.scorer != "prm":
            raise UserError(f'Arm {self.name}: {type(self.reward).__name__} needs scorer="prm"')


_READS_LABELS = (rewards.FirstErrorExact, rewards.OutcomeLocated)
_READS_PRM = (
    rewards.PrmSum,
    rewards.PrmMean,
    rewards.PrmGated,
    rewards.PrmMin,
    rewards.PrmDelta,
    rewards.FirstError,
)
