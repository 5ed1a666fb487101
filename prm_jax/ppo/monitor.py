"""What a rollout looks like, as numbers for the log: above all, what betrays that a reward is being hacked.

`loop.py` writes them at every update. Rows whose verdict is unknown count only for `unknown_share`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from prm_jax.ppo.quality import MEASURES
from prm_jax.ppo.rewards import RewardInputs
from prm_jax.ppo.rollout import Rollout, StepTable
from prm_jax.ppo.verify import Verified


def _mean(x: np.ndarray) -> float:
    return float(np.mean(x)) if x.size else 0.0


def one_outcome_share(passed: Bool[np.ndarray, " B"], known: Bool[np.ndarray, " B"], group: int) -> float:
    """Share of groups of `group` neighbouring rows with one known outcome, which teach an outcome reward nothing.

    Groups without any known outcome are left out.
    """
    passed, known = passed.reshape(-1, group), known.reshape(-1, group)
    one = (passed | ~known).all(axis=1) | (~passed | ~known).all(axis=1)
    return _mean(one[known.any(axis=1)])


def rollout_metrics(
    rollout: Rollout, table: StepTable, verified: Sequence[Verified], inputs: RewardInputs, group: int
) -> dict[str, float]:
    """Shares and means over the rollout's programs.

    Args:
      rollout: with rewards.
      table: its steps.
      verified: its verdicts.
      inputs: what the reward rule saw.
      group: samples per prompt, which lie side by side.
    """
    known = np.asarray(rollout.known)
    passed = np.array([entry.passed for entry in verified]) & known
    tokens = np.asarray(rollout.completion).sum(axis=1)
    # The end of the program is no step that a policy could write more of.
    kinds = [[step.kind for step in steps if step.kind != "end"] for steps in table.steps]
    counts = np.array([len(row) for row in kinds])
    comments = np.array([row.count("comment") for row in kinds])
    metrics = {
        "pass_rate": _mean(passed[known]),
        "mean_reward": _mean(np.asarray(rollout.rewards).sum(axis=1)[known]),
        "steps_per_program": _mean(counts[known]),
        "comment_share": float(comments[known].sum() / max(int(counts[known].sum()), 1)),
        "tokens_per_program": _mean(tokens[known]),
        "tokens_per_step": float(tokens[known].sum() / max(int(counts[known].sum()), 1)),
        "truncated_share": _mean(np.asarray(inputs.truncated)[known]),
        "unknown_share": _mean(~known),
        "one_outcome_share": one_outcome_share(passed, known, group),
    }
    if any(entry.labels is not None for entry in verified):
        failed = known & ~passed
        metrics["located_error_share"] = _mean(np.asarray(inputs.first_wrong)[failed] >= 0)
    if measured := [entry.integrity for entry in verified if entry.integrity is not None]:
        metrics |= {
            f"integrity_{name}": _mean(values) for name, values in zip(MEASURES, np.array(measured).T, strict=True)
        }
    return metrics


def scorer_metrics(
    kind: str, inputs: RewardInputs, passed: Bool[np.ndarray, " B"], known: Bool[np.ndarray, " B"]
) -> dict[str, float]:
    """How loud the learned scorer is against the truth.

    Returns:
      `score`, the mean over programs of the mean step score (of the final score, for an ORM) in (-1, 1), and
      `score_minus_pass_rate`, the same as a probability minus the pass rate: a scorer that is being hacked drifts up.
    """
    score = _program_scores(kind, inputs)
    return {
        "score": _mean(score[known]),
        "score_minus_pass_rate": _mean((score[known] + 1) / 2) - _mean(passed[known]),
    }


def _program_scores(kind: str, inputs: RewardInputs) -> Float[np.ndarray, " B"]:
    if kind == "orm":
        return np.asarray(inputs.final_score)
    mask = np.asarray(inputs.step_scores.mask)
    total = np.where(mask, np.asarray(inputs.step_scores.scores), 0.0).sum(axis=1)
    return total / np.maximum(mask.sum(axis=1), 1)
