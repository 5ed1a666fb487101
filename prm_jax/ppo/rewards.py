"""Reward rules: from step scores, verdicts and masks to token rewards.

`loop.py` builds one `RewardInputs` per rollout and calls the rule of its arm; `token_rewards` also silences the rows
whose verdict is unknown. Every rule is a small frozen dataclass with weights as fields, so an arm is data.

In all equations s_i in (-1, 1) is the score of step i, written 2 sigmoid(z) - 1 on the step's last token; n is the
number of *scored* steps (closed and not neutral); O is the outcome, 1 or 0. Steps that are not scored earn nothing and
leave n. A completion cut by length is a terminal failure: O = 0, and its open step is not scored.
Letters: B batch, S steps, T tokens, M measures of integrity.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Grade(enum.IntEnum):
    """The four classes of CodeRL's graded outcome, from worst to best."""

    SYNTAX = 0
    RUNTIME = 1
    WRONG = 2
    RIGHT = 3


@flax.struct.dataclass
class StepScores:
    """One score per step.

    Attributes:
      scores: s_i; any value where `mask` is False.
      ends: index into the row of the step's last token; any value where `mask` is False.
      mask: True where the step is closed and not neutral.
    """

    scores: Float[Array, "B S"]
    ends: Int[Array, "B S"]
    mask: Bool[Array, "B S"]


@flax.struct.dataclass
class RewardInputs:
    """All that a reward rule may look at.

    Attributes:
      step_scores: the PRM's scores; zeros where the arm has no PRM.
      first_wrong: index of the first wrong step from exact labels, -1 where there is none or none is known.
      outcome: 1 where the program passed, else 0.
      graded: a `Grade` per row.
      final_score: the ORM's score in (-1, 1) at the last token; zeros where the arm has no ORM.
      last: index of the last token of the completion.
      truncated: True where the completion was cut by length.
      integrity: how well the program is written, by `quality.MEASURES`, each in [0, 1]; zeros where not measured.
      problem: index of the problem.
      update: number of the PPO update, for rules that draw.
      length: T.
    """

    step_scores: StepScores
    first_wrong: Int[Array, " B"]
    outcome: Float[Array, " B"]
    graded: Int[Array, " B"]
    final_score: Float[Array, " B"]
    last: Int[Array, " B"]
    truncated: Bool[Array, " B"]
    integrity: Float[Array, "B M"]
    problem: Int[Array, " B"]
    update: Int[Array, ""]
    length: int = flax.struct.field(pytree_node=False)


class RewardRule(Protocol):
    """A hashable rule from inputs to token rewards."""

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        ...

    def judged(self, inputs: RewardInputs) -> Bool[Array, "B T"]:
        """The tokens that the rule can judge; others are outside every loss, as if the episode ended before them."""
        return jnp.ones((inputs.outcome.shape[0], inputs.length), bool)


def score_from_logit(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """S = 2 sigmoid(z) - 1, in (-1, 1), float32."""
    return 2.0 * jax.nn.sigmoid(jnp.asarray(logits, jnp.float32)) - 1.0


def at_last(values: Float[Array, " B"], inputs: RewardInputs) -> Float[Array, "B T"]:
    """Places one value per row on the completion's last token; float32, zero elsewhere."""
    hot = jnp.arange(inputs.length)[None, :] == inputs.last[:, None]
    return jnp.where(hot, jnp.asarray(values, jnp.float32)[:, None], 0.0)


def at_steps(values: Float[Array, "B S"], inputs: RewardInputs) -> Float[Array, "B T"]:
    """Places one value per scored step on the step's last token; steps that share a token add up."""
    steps = inputs.step_scores
    values = jnp.where(steps.mask, jnp.asarray(values, jnp.float32), 0.0)
    # An index out of range is dropped, so that no unscored step can touch a token.
    columns = jnp.where(steps.mask, steps.ends, inputs.length)
    rows = jnp.arange(values.shape[0])[:, None]
    empty = jnp.zeros((values.shape[0], inputs.length), jnp.float32)
    return empty.at[rows, columns].add(values, mode="drop")


def _count(inputs: RewardInputs) -> Float[Array, "B 1"]:
    """n, at least 1 so that a program without steps divides by something."""
    return jnp.maximum(jnp.sum(inputs.step_scores.mask, axis=1, keepdims=True), 1).astype(jnp.float32)


def success(inputs: RewardInputs) -> Float[Array, " B"]:
    """O, with a cut completion counted as a failure whatever its verdict says."""
    return jnp.where(inputs.truncated, 0.0, jnp.asarray(inputs.outcome, jnp.float32))


def _until(first_wrong: Int[Array, " B"], inputs: RewardInputs) -> Bool[Array, "B T"]:
    """The tokens up to the end of the first wrong step; all of them where there is none."""
    ends = jnp.take_along_axis(inputs.step_scores.ends, jnp.maximum(first_wrong, 0)[:, None], axis=1)
    # A step that the completion does not close has no end: nothing stands behind it.
    last = jnp.where((first_wrong[:, None] >= 0) & (ends >= 0), ends, inputs.length)
    return jnp.arange(inputs.length)[None, :] <= last


def _up_to_error(first_wrong: Int[Array, " B"], inputs: RewardInputs, good: float, bad: float) -> Float[Array, "B T"]:
    """+good/n before the first wrong step, -bad/n on it, nothing later or where a failure's error is not found."""
    index = jnp.arange(inputs.step_scores.mask.shape[1])[None, :]
    wrong = first_wrong[:, None]
    passed = success(inputs)[:, None] > 0
    before = jnp.where(wrong >= 0, index < wrong, passed)
    values = good * before.astype(jnp.float32) - bad * ((wrong >= 0) & (index == wrong))
    return at_steps(values / _count(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class Outcome(RewardRule):
    """r[last] = weight O: the verdict and nothing else."""

    weight: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        return at_last(self.weight * success(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class OutcomeGraded(RewardRule):
    """r[last] = the value of the verdict's grade; defaults from CodeRL (Le et al. 2022, equation 5).

    A completion cut by length gets the value of the grade that its text earned, but never `right`.
    """

    syntax: float = -1.0
    runtime: float = -0.6
    wrong: float = -0.3
    right: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        table = jnp.asarray((self.syntax, self.runtime, self.wrong, self.right), jnp.float32)
        graded = jnp.where(inputs.truncated, jnp.minimum(inputs.graded, Grade.WRONG), inputs.graded)
        return at_last(table[graded], inputs)


@dataclasses.dataclass(frozen=True)
class Orm(RewardRule):
    """r[last] = weight s_ORM + outcome_weight O, with s_ORM = -1 for a completion cut by length."""

    weight: float = 1.0
    outcome_weight: float = 0.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        score = jnp.where(inputs.truncated, -1.0, inputs.final_score)
        return at_last(self.weight * score + self.outcome_weight * success(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class PrmSum(RewardRule):
    """r[end_i] = weight s_i: PRLCoder as published (Ye et al. 2025).

    Neither length normalisation nor outcome; known to be hacked by more lines.
    """

    weight: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        return at_steps(self.weight * inputs.step_scores.scores, inputs)


@dataclasses.dataclass(frozen=True)
class PrmMean(RewardRule):
    """r[end_i] = weight s_i / n, plus outcome_weight O at the last token (Dai et al. 2024, section 3.2).

    The process part lies within -weight to weight: with weight <= outcome_weight / 2 no failing program earns more than
    a passing one.
    """

    weight: float = 0.5
    outcome_weight: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        process = at_steps(self.weight * inputs.step_scores.scores / _count(inputs), inputs)
        return process + at_last(self.outcome_weight * success(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class PrmGated(RewardRule):
    """r[end_i] = 1[O = 1] weight s_i / n, plus outcome_weight O at the last token (ReCode, Posterior-GRPO)."""

    weight: float = 1.0
    outcome_weight: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        gate = (success(inputs) > 0)[:, None]
        process = at_steps(self.weight * inputs.step_scores.scores / _count(inputs), inputs)
        return jnp.where(gate, process, 0.0) + at_last(self.outcome_weight * success(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class PrmMin(RewardRule):
    """r[end_i] = weight w_i s_i, w = softmax(-s / temperature) over scored steps, plus outcome_weight O at the end.

    PURE (Cheng et al. 2025, equation 5): the worst step carries nearly all of the credit.
    """

    weight: float = 0.5
    outcome_weight: float = 1.0
    temperature: float = 0.1

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        steps = inputs.step_scores
        share = jax.nn.softmax(-steps.scores / self.temperature, axis=1, where=steps.mask)
        process = at_steps(self.weight * share * steps.scores, inputs)
        return process + at_last(self.outcome_weight * success(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class PrmDelta(RewardRule):
    """r[end_i] = weight (s_i - s_j), j the scored step before i, plus outcome_weight O at the last token.

    Before the first step s = 0, even odds. Progress (PAV, Setlur et al. 2024; Gao et al. 2024): the sum telescopes to
    the last score, so more steps earn no more.
    """

    weight: float = 0.5
    outcome_weight: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        steps = inputs.step_scores
        index = jnp.where(steps.mask, jnp.arange(steps.mask.shape[1])[None, :], -1)
        newest = jax.lax.cummax(index, axis=1)
        before = jnp.pad(newest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        previous = jnp.take_along_axis(steps.scores, jnp.maximum(before, 0), axis=1)
        previous = jnp.where(before >= 0, previous, 0.0)
        process = at_steps(self.weight * (steps.scores - previous), inputs)
        return process + at_last(self.outcome_weight * success(inputs), inputs)


@dataclasses.dataclass(frozen=True)
class FirstError(RewardRule):
    """+good/n before the first wrong step, -bad/n on it, 0 later, plus outcome_weight O; the PRM finds the wrong step.

    VPPO ("Save the Good Prefix", 2601.18984). Only failing programs are searched: the first scored step with
    s < threshold is the wrong one; where no step is below it, the program earns no process reward. Every step of a
    passing program is good. What stands behind the wrong step is not judged.
    """

    good: float = 1.0
    bad: float = 1.0
    outcome_weight: float = 1.0
    threshold: float = 0.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        process = _up_to_error(self._found(inputs), inputs, self.good, self.bad)
        return process + at_last(self.outcome_weight * success(inputs), inputs)

    def judged(self, inputs: RewardInputs) -> Bool[Array, "B T"]:
        """The tokens up to the end of the wrong step."""
        return _until(self._found(inputs), inputs)

    def _found(self, inputs: RewardInputs) -> Int[Array, " B"]:
        steps = inputs.step_scores
        below = steps.mask & (steps.scores < self.threshold) & (success(inputs) == 0)[:, None]
        return jnp.where(jnp.any(below, axis=1), jnp.argmax(below, axis=1), -1)


@dataclasses.dataclass(frozen=True)
class FirstErrorExact(RewardRule):
    """+good/n before the first wrong step, -bad/n on it, 0 later, plus outcome_weight O; found by the interpreter.

    EGCA's credit assignment from the execution trace, without a PRM: the baseline that a PRM must beat. What stands
    behind the wrong step is not judged: it may be right, and the verdict cannot tell.
    """

    good: float = 1.0
    bad: float = 1.0
    outcome_weight: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        process = _up_to_error(inputs.first_wrong, inputs, self.good, self.bad)
        return process + at_last(self.outcome_weight * success(inputs), inputs)

    def judged(self, inputs: RewardInputs) -> Bool[Array, "B T"]:
        """The tokens up to the end of the wrong step."""
        return _until(inputs.first_wrong, inputs)


@dataclasses.dataclass(frozen=True)
class OutcomeLocated(RewardRule):
    """r[last] = weight O; a failure loses `blame` on its first wrong step, found by the interpreter, else on the last.

    What a program earns in all is a matter of its outcome alone, so that no way of writing lines pays: the trace
    decides where the blame falls, not how much there is. What stands behind the wrong step is not judged.
    """

    weight: float = 1.0
    blame: float = 1.0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        wrong = self._found(inputs)
        on_step = jnp.arange(inputs.step_scores.mask.shape[1])[None, :] == wrong[:, None]
        unlocated = (success(inputs) == 0) & (wrong < 0)
        at_end = self.weight * success(inputs) - self.blame * unlocated
        return at_steps(-self.blame * on_step, inputs) + at_last(at_end, inputs)

    def judged(self, inputs: RewardInputs) -> Bool[Array, "B T"]:
        """The tokens up to the end of the wrong step."""
        return _until(self._found(inputs), inputs)

    def _found(self, inputs: RewardInputs) -> Int[Array, " B"]:
        """The first wrong step of a program that fails, -1 where there is none that could be blamed."""
        first = inputs.first_wrong
        scored = jnp.take_along_axis(inputs.step_scores.mask, jnp.maximum(first, 0)[:, None], axis=1)[:, 0]
        return jnp.where((first >= 0) & scored & (success(inputs) == 0), first, -1)


@dataclasses.dataclass(frozen=True)
class Random(RewardRule):
    """r[last] = 1 with `probability`, else 0, drawn from seed, update, problem and row: a control without knowledge."""

    probability: float = 0.5
    seed: int = 0

    def __call__(self, inputs: RewardInputs) -> Float[Array, "B T"]:
        """Gives float32 rewards, zero on every token that earns nothing."""
        base = jax.random.fold_in(jax.random.key(self.seed), inputs.update)

        def draw(problem: Int[Array, ""], row: Int[Array, ""]) -> Bool[Array, ""]:
            return jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(base, problem), row), self.probability)

        rows = jnp.arange(inputs.problem.shape[0])
        return at_last(jax.vmap(draw)(inputs.problem, rows).astype(jnp.float32), inputs)


@functools.partial(jax.jit, static_argnames="rule")
def token_rewards(
    rule: RewardRule, inputs: RewardInputs, known: Bool[Array, " B"]
) -> tuple[Float[Array, "B T"], Bool[Array, "B T"]]:
    """Applies a rule; rows whose verdict is unknown earn nothing (`Rollout.mask` also takes them out of every loss).

    Returns:
      Float32 rewards, and the tokens that the rule judges.
    """
    judged = rule.judged(inputs)
    return jnp.where(known[:, None] & judged, jnp.asarray(rule(inputs), jnp.float32), 0.0), judged
