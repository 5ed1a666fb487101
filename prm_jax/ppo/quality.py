"""`+quality`: a bounded reward for how passing programs are written, which any arm can have.

`arms.py` adds `Quality` to an arm's own rule with `Plus`; `integrity.py` measures programs for it. Letters as in
`rewards.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from prm_jax.errors import UserError
from prm_jax.ppo.rewards import RewardInputs, RewardRule, at_last, success

MEASURES = ("structure", "naming", "calls", "cost", "constraints")
"""What `quality/` says of a program, in the order of `RewardInputs.integrity`."""


@dataclasses.dataclass(frozen=True)
class Quality(RewardRule):
    """r[last] = weight O q, with q = sum_m a_m x_m / sum_m a_m in [0, 1]: how well a passing program is written.

    x_m are the measures of `quality/`, a_m their shares, the fields named as they are. A program that fails earns
    nothing, and no style is worth more than `weight`, so it decides between passing programs only. `Arm.quality` adds
    it to the arm's own rule.

    Attributes:
      weight: of the whole term; at most `MOST`, so that a passing program's style never weighs more than its passing.
      structure: share of nesting, complexity, length and dead code.
      naming: share of the names.
      calls: share of names that do not resolve, wrong arity, banned calls.
      cost: share of executed lines against the reference; costs two traced runs for each passing program.
      constraints: share of the rules of `domains`.
      domains: folders of domains, see `problems/domain.py`; their rules apply to the problems that come from them, and
        any other problem breaks none.
    """

    MOST: ClassVar[float] = 0.5

    weight: float = 0.1
    structure: float = 1.0
    naming: float = 1.0
    calls: float = 1.0
    cost: float = 0.0
    constraints: float = 0.0
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        object.__setattr__(self, "domains", tuple(self.domains))
        if not 0 < self.weight <= self.MOST:
            raise UserError(f"Quality.weight is {self.weight}; give more than 0 and at most {self.MOST}")
        if min(self.shares) < 0 or not sum(self.shares):
            raise UserError(
                f"Quality: the shares of {', '.join(MEASURES)} are {self.shares}; give one above, none below 0"
            )
        if (self.constraints > 0) != bool(self.domains):
            raise UserError("Quality: constraints and domains need each other; give both or neither")

    @property
    def shares(self) -> tuple[float, ...]:
        """One share per entry of `MEASURES`."""
        return tuple(getattr(self, measure) for measure in MEASURES)

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        shares = jnp.asarray(self.shares, jnp.float32)
        quality = inputs.integrity @ shares / shares.sum()
        return at_last(self.weight * success(inputs) * quality, inputs)


@dataclasses.dataclass(frozen=True)
class Plus(RewardRule):
    """The sum of several rules."""

    rules: tuple[RewardRule, ...]

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        return functools.reduce(operator.add, (rule(inputs) for rule in self.rules))

    def judged(self, inputs: RewardInputs) -> Bool[Array, "B T"]:
        """The tokens that every rule can judge."""
        return functools.reduce(operator.and_, (rule.judged(inputs) for rule in self.rules))
