"""From a verified and scored rollout to `RewardInputs`: verdicts and labels of single programs become arrays.

`loop.py` calls `gather` after verification and scoring. B batch, T tokens, S steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from prm_jax.labelling.labelled_program import Label
from prm_jax.ppo.quality import MEASURES
from prm_jax.ppo.rewards import RewardInputs, StepScores
from prm_jax.ppo.rollout import Rollout, StepTable
from prm_jax.ppo.verify import Verified


def label_table(verified: Sequence[Verified], steps: int) -> Int[np.ndarray, "B S"]:
    """The `Label` of each step, `NEUTRAL` where a program has no labels or fewer steps."""
    table = np.full((len(verified), steps), int(Label.NEUTRAL), np.int32)
    for row, entry in enumerate(verified):
        labels = entry.labels or ()
        table[row, : len(labels)] = [int(label) for label in labels]
    return table


def executed(verified: Sequence[Verified], labels: Int[np.ndarray, "B S"]) -> Bool[np.ndarray, "B S"]:
    """False on the steps that the interpreter left neutral before the first wrong one: no test runs them.

    A policy could else earn by code that never runs. All True after the first wrong step, and in a row without a
    single right or wrong label, about which the interpreter knows nothing.
    """
    first = np.array([entry.first_wrong if entry.first_wrong >= 0 else labels.shape[1] for entry in verified])
    before = np.arange(labels.shape[1])[None, :] < first[:, None]
    judged = (labels != Label.NEUTRAL).any(axis=1)
    return ~((labels == Label.NEUTRAL) & before & judged[:, None])


def gather(
    rollout: Rollout,
    table: StepTable,
    verified: Sequence[Verified],
    finished: Bool[np.ndarray, " B"],
    token_scores: Float[np.ndarray, "B T"] | None,
    update: int,
) -> RewardInputs:
    """Builds what a reward rule looks at.

    Args:
      rollout: the rows.
      table: the steps of the rows' programs.
      verified: one entry per row.
      finished: whether `eos` was reached.
      token_scores: a PRM's or ORM's score in (-1, 1) on every token; None where the arm has neither.
      update: number of the update.
    """
    labels = label_table(verified, table.ends.shape[1])
    scored = table.scored & executed(verified, labels)
    completion = np.asarray(rollout.completion)
    length = completion.shape[1]
    last = length - 1 - np.argmax(completion[:, ::-1], axis=1)
    scores = np.zeros(completion.shape, np.float32) if token_scores is None else np.asarray(token_scores)
    return RewardInputs(
        step_scores=StepScores(
            scores=jnp.asarray(np.take_along_axis(scores, np.maximum(table.ends, 0), axis=1)),
            ends=jnp.asarray(table.ends),
            mask=jnp.asarray(scored),
        ),
        first_wrong=jnp.asarray([entry.first_wrong for entry in verified], jnp.int32),
        outcome=jnp.asarray([entry.passed for entry in verified], jnp.float32),
        graded=jnp.asarray([entry.grade for entry in verified], jnp.int32),
        final_score=jnp.asarray(np.take_along_axis(scores, last[:, None], axis=1)[:, 0]),
        last=jnp.asarray(last, jnp.int32),
        truncated=jnp.asarray(~np.asarray(finished)),
        integrity=jnp.asarray([entry.integrity or (0.0,) * len(MEASURES) for entry in verified], jnp.float32),
        problem=jnp.asarray(rollout.problem),
        update=jnp.asarray(update, jnp.int32),
        length=length,
    )
