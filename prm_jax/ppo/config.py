"""`PpoConfig`: everything that a PPO run decides besides its arm. gin binds it; `loop.py` and `update.py` read it."""

from __future__ import annotations

import dataclasses
from typing import Literal

from prm_jax.errors import UserError

_COUNTS = (
    "updates", "prompts_per_update", "samples_per_prompt", "max_new_tokens", "epochs", "minibatches", "score_batch",
    "checkpoint_every", "rollout_chunks",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """The value function. Which kind an arm uses is `Arm.critic`.

    Attributes:
      width: hidden width of the MLP on the policy's features (kind `"head"`).
      learning_rate: Adam's rate for the critic's own parameters, of either kind.
    """

    width: int = 128
    learning_rate: float = 1e-3


@dataclasses.dataclass(frozen=True)
class PpoConfig:
    """One PPO run.

    Attributes:
      updates: rollouts, each followed by one update.
      prompts_per_update: problems drawn for a rollout.
      samples_per_prompt: programs sampled for each of them.
      screening: programs that the SFT policy writes for each practice problem before the first rollout; problems of
        which none or all of them pass are not practised. A rollout of one outcome teaches an outcome reward nothing
        (DAPO, Yu et al. 2025, section 3.2). 0 practises all problems.
      temperature: of sampling, and of every log-probability.
      max_new_tokens: a program that has not ended by then is cut, and fails.
      learning_rate: Adam's rate for the policy, constant after the warm-up.
      warmup_updates: the policy's first updates, over which its rate rises linearly from 0: Adam's first steps go as
        far in the directions of noise as in that of the signal.
      max_grad_norm: gradients of policy and critic are clipped to this global norm, each on its own.
      critic: the value function.
      clip: of the probability ratio.
      dual_clip: bound of the ratio where the advantage is negative, see `losses.policy_loss`; 0 turns it off.
      value_clip: how far a value may move from the rollout's within one update; 0 turns it off.
      gamma: discount per token.
      lam: lambda of GAE.
      group_baseline: whether the mean advantage of all samples of a prompt is taken from each of them: what is
        common to them says how hard the problem is, not how good the program.
      whiten: whether advantages are whitened over the rollout.
      kl_coefficient: weight of the divergence from the SFT reference.
      kl_in: `"loss"` (k2, a term of the loss) or `"reward"` (k1, taken from each token's reward).
      kl_target: nats per token that the coefficient is steered to; 0 keeps the coefficient fixed.
      kl_gain: gain of that steering, see `kl.adapt_coefficient`.
      entropy_coefficient: weight of the entropy bonus.
      epochs: passes over a rollout.
      minibatches: parts into which a pass cuts it; each is one step of the optimiser.
      widths: tokens that rows are cut to, beside their full length. Rows of similar length go together and are cut to
        the narrowest width that holds them, which changes nothing but the time; each width is compiled.
      value_only_updates: first updates in which only the critic learns.
      score_batch: rows of one forward when a rollout is scored.
      max_unknown_share: share of unknown verdicts in a rollout past which the run stops.
      in_child_tests: whether tests count for rewards whose comparison runs beside the program (`Test.in_child`); a
        policy can learn to cheat those.
      checkpoint_every: updates between checkpoints.
      evaluate_every: updates between calls of the stage's evaluation, which is called before the first update and after
        the last one too; 0 leaves it at these.
      rollout_chunks: parts into which a rollout's prompts are cut. While the devices sample a part, each host verifies
        the part before it; the programs are the same, up to near ties.
      one_step_off: whether a rollout is sampled before the update before it, so that all of its verification runs
        beside that update. The loss then corrects for the older policy, see `losses.policy_loss`.
      importance_cap: at which the importance weights of that correction are truncated.
      seed: of prompts, sampling and minibatches.
    """

    updates: int = 40
    prompts_per_update: int = 64
    samples_per_prompt: int = 4
    screening: int = 0
    temperature: float = 1.0
    max_new_tokens: int = 96
    learning_rate: float = 3e-4
    warmup_updates: int = 0
    max_grad_norm: float = 1.0
    critic: CriticConfig = CriticConfig()
    clip: float = 0.2
    dual_clip: float = 3.0
    value_clip: float = 0.2
    gamma: float = 1.0
    lam: float = 0.95
    group_baseline: bool = False
    whiten: bool = True
    kl_coefficient: float = 0.02
    kl_in: Literal["loss", "reward"] = "loss"
    kl_target: float = 0.0
    kl_gain: float = 0.1
    entropy_coefficient: float = 0.0
    epochs: int = 2
    minibatches: int = 4
    widths: tuple[int, ...] = ()
    value_only_updates: int = 1
    score_batch: int = 64
    max_unknown_share: float = 0.2
    in_child_tests: bool = False
    checkpoint_every: int = 10
    evaluate_every: int = 0
    rollout_chunks: int = 1
    one_step_off: bool = False
    importance_cap: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        object.__setattr__(self, "widths", tuple(self.widths))
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise UserError(f"PpoConfig.{name} is {getattr(self, name)}; give 1 or more")
        if self.kl_in not in ("loss", "reward"):
            raise UserError(f'PpoConfig.kl_in is {self.kl_in!r}; give "loss" or "reward"')
        if self.batch_size % self.minibatches:
            raise UserError(
                f"PpoConfig.minibatches is {self.minibatches}, which does not divide the rollout's {self.batch_size} "
                "programs (prompts_per_update x samples_per_prompt); give a divisor"
            )
        if self.prompts_per_update % self.rollout_chunks:
            raise UserError(
                f"PpoConfig.rollout_chunks is {self.rollout_chunks}, which does not divide the rollout's "
                f"{self.prompts_per_update} prompts; give a divisor"
            )
        if self.importance_cap < 1:
            raise UserError(f"PpoConfig.importance_cap is {self.importance_cap}; give 1 or more")
        if self.group_baseline and self.samples_per_prompt < 2:
            raise UserError("PpoConfig.group_baseline needs samples_per_prompt of at least 2: one sample has no group")
        if self.screening < 0 or self.screening == 1:
            raise UserError(
                f"PpoConfig.screening is {self.screening}; give 0, or 2 or more: one program passes always or never"
            )
        if self.warmup_updates < 0:
            raise UserError(f"PpoConfig.warmup_updates is {self.warmup_updates}; give 0 or more")
        if self.temperature <= 0:
            raise UserError(f"PpoConfig.temperature is {self.temperature}; PPO samples, so give a number above 0")
        if min(self.widths, default=1) < 1:
            raise UserError(f"PpoConfig.widths are {self.widths}; give numbers of tokens, 1 or more")
        if self.kl_target > 0 and self.kl_coefficient <= 0:
            raise UserError(
                f"PpoConfig.kl_target is {self.kl_target} and kl_coefficient {self.kl_coefficient}: the controller "
                "multiplies the coefficient, so give one above 0"
            )
        if self.seed < 0:
            raise UserError(f"PpoConfig.seed is {self.seed}; give 0 or more")

    @property
    def batch_size(self) -> int:
        """Programs of a rollout."""
        return self.prompts_per_update * self.samples_per_prompt

    @property
    def chunk_size(self) -> int:
        """Programs that are sampled together."""
        return self.batch_size // self.rollout_chunks
