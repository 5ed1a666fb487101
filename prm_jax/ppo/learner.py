"""`Learner`: one PPO update after another, from prompts to a better policy.

`one_update` is the story of an update: sample, verify, score, reward, learn, refresh the PRM. `loop.py` decides how
often, and keeps checkpoints and logs. All that an update draws depends on the seed and its number. B batch, T tokens.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.ahead.memory import check_fits
from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import frozen, trainable, whole
from prm_jax.parallel.shardings import split_rows
from prm_jax.ppo import advantages, critic, inputs, monitor, online, scoring
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.collect import Collected, Collector, Pending
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.rewards import RewardInputs, token_rewards
from prm_jax.ppo.rollout import Rollout, StepTable
from prm_jax.ppo.timeline import HIDDEN, PHASES, Span, Timeline, seconds_by_phase
from prm_jax.ppo.update import PpoState, init_state, make_update
from prm_jax.ppo.verify import Verified, Verify
from prm_jax.problems.problem import Problem
from prm_jax.text.tokenizer import Tokenizer
from prm_jax.training.finite import NotFinite, first_not_finite, leaf_name

SMALLER = (
    "set ModelConfig.remat=True, PpoConfig.rollout_chunks higher (sampling), score_batch lower (scoring) or more "
    "minibatches (update; also more steps of the optimiser), or give gin/meshes/fsdp.gin (several devices) or "
    "gin/lora.gin (adapters), and run again in another directory"
)
"""What makes the programs of an update fit."""


class Learner:
    """Makes one update after another: what is learnt, and the steps of the story."""

    def __init__(
        self,
        config: PpoConfig,
        arm: Arm,
        model: ModelConfig,
        reference: Any,
        prompts: PromptBatch,
        problems: Sequence[Problem],
        tokenizer: Tokenizer,
        verify: Verify,
    ) -> None:
        self.config, self.arm, self.model, self.reference = config, arm, model, reference
        self.prompts = prompts
        self.timeline = Timeline()
        self.collector = Collector(config, model, prompts, problems, tokenizer, verify, arm.exact_labels, self.timeline)
        self.update = make_update(config, model, arm.critic)
        self.refresh = None if arm.refresh is None else online.make_refresh(arm.refresh, model, config.widths)
        self.state: PpoState
        self.refreshed: online.RefreshState | None = None
        self.frozen_scorer: Any = None
        # The trunk of all networks, where adapters are all that is trained.
        self.frozen = frozen(reference, model)
        self.pending: Pending | None = None
        self.seconds = dict.fromkeys((*PHASES, HIDDEN), 0.0)

    def close(self) -> None:
        """Ends the thread that verifies."""
        self.collector.close()

    def start(self, policy_params: Any, scorer_params: Any | None) -> None:
        """The state before the first update."""
        scorer = None if scorer_params is None else trainable(scorer_params, self.model)
        if self.arm.critic == "prm":
            critic_params = critic.init_from_prm(scorer)
        else:
            key = jax.random.fold_in(jax.random.key(self.config.seed), 0)
            critic_params = critic.init_head(self.model, self.config.critic.width, key)
        self.state = init_state(self.config, trainable(policy_params, self.model), critic_params)
        self.frozen_scorer = scorer if self.arm.scorer else None
        if self.arm.refresh is not None:
            longest = self.prompts.tokens.shape[1] + self.config.max_new_tokens
            size = self.config.batch_size
            self.refreshed = online.init_refresh(self.arm.refresh, scorer, size, longest)
            self.frozen_scorer = None

    @property
    def policy(self) -> Any:
        """The policy as it is now."""
        return whole(self.state.params, self.frozen)

    @property
    def scorer(self) -> Any:
        """The PRM or ORM as it is now, None where the arm has none."""
        scorer = self.frozen_scorer if self.refreshed is None else self.refreshed.params
        return None if scorer is None else whole(scorer, self.frozen)

    def tree(self) -> dict[str, Any]:
        """All arrays that the next update depends on."""
        tree: dict[str, Any] = {"state": self.state}
        if self.refreshed is not None:
            tree["refresh"] = self.refreshed
        if self.config.one_step_off:
            tree["ahead"] = self.collector.empty() if self.pending is None else self.pending.completions
        return tree

    def take(self, tree: dict[str, Any]) -> None:
        """Takes up what `tree` gave."""
        self.state, self.refreshed = tree["state"], tree.get("refresh")
        if self.config.one_step_off and (done := int(self.state.step)) < self.config.updates:
            self.pending = self.collector.again(tree["ahead"], done)

    def check_fits(self) -> None:
        """Tells what each program of an update needs of each device, before any of them runs.

        Raises:
          UserError: one does not fit.
        """
        for name, traced in self._programs():
            check_fits(f"ppo {self.arm.name}: {name}", traced, SMALLER, functools.partial(print, flush=True))

    def one_update(self, index: int) -> tuple[dict[str, float], tuple[Span, ...]]:
        """Update number `index`, from 0: one rollout and what is learnt from it.

        Returns:
          Metrics, and when each part of the work was done.
        """
        self.timeline.begin()
        collected = self._collect(index)
        rollout, table, verified = collected.rollout, collected.table, collected.verified
        known = np.array([entry.known for entry in verified])
        self._check_unknown(known, index)
        learning = {"policy": self.state.params, "critic": self.state.critic}
        # Looked at before the update gives their buffers away; what is found is read only if the update is not finite.
        bad = first_not_finite(learning)
        with self.timeline.span("scoring"):
            rollout, token_scores, gap = self._score(rollout.replace(known=jnp.asarray(known)))
            seen = inputs.gather(rollout, table, verified, collected.finished, token_scores, index)
            rewards, judged = token_rewards(self.arm.rule, seen, rollout.known)
            rollout = rollout.replace(rewards=rewards, judged=judged)
            if self.arm.critic == "prm" and index == 0:
                rollout = self._fit_critic(rollout)
            jax.block_until_ready(rollout)
        metrics = self._describe(rollout, table, verified, seen) | {"rollout/logprob_gap": float(gap)}
        with self.timeline.span("update"):
            self.state, learnt = self.update(self.state, rollout, self._key(index, 0), self.frozen)
            metrics |= {f"update/{name}": float(value) for name, value in jax.device_get(learnt).items()}
        self._check_finite(metrics, (learning, bad), rollout, index)
        if self.refreshed is not None:
            with self.timeline.span("refresh"):
                metrics |= self._follow(rollout, table, verified, token_scores, index)
            self._check_scorer(metrics, index)
        if self.pending is not None:
            self.collector.wait(self.pending)  # What comes between two updates may need the sandbox.
        spans = self.timeline.take()
        for phase, seconds in seconds_by_phase(spans).items():
            self.seconds[phase] += seconds
        return metrics, spans

    def _collect(self, index: int) -> Collected:
        """The update's rollout; one step off the policy, the next update's is sampled first."""
        pending = self.pending or self.collector.begin(self.policy, index)
        self.pending = None
        if self.config.one_step_off and index + 1 < self.config.updates:
            self.pending = self.collector.begin(self.policy, index + 1)
        return self.collector.finish(pending)

    def _key(self, index: int, purpose: int) -> jax.Array:
        # Offset by one: `start` has used number 0 for the critic.
        key = jax.random.fold_in(jax.random.key(self.config.seed), index + 1)
        return jax.random.fold_in(key, purpose)

    def _networks(self) -> tuple[Any, Any, Any]:
        """Policy, reference and critic, as they are scored with."""
        return self.policy, self.reference, critic.with_frozen(self.arm.critic, self.state.critic, self.frozen)

    @property
    def _scoring(self) -> dict[str, Any]:
        return {"model": self.model, "batch": self.config.score_batch, "widths": self.config.widths}

    @property
    def _policy_scoring(self) -> dict[str, Any]:
        return {"kind": self.arm.critic, "temperature": self.config.temperature}

    def _score(self, rollout: Rollout) -> tuple[Rollout, np.ndarray | None, jax.Array]:
        logprobs, ref_logprobs, values, gap = scoring.score_policy(
            *self._networks(), rollout, **self._scoring, **self._policy_scoring
        )
        scores = None
        if self.scorer is not None:
            scores = np.asarray(scoring.score_steps(self.scorer, rollout, **self._scoring))
        if self.config.one_step_off:
            rollout = rollout.replace(behaviour=rollout.logprobs)
        # What the hosts read stays as it is, whole on each of them.
        return rollout.replace(logprobs=logprobs, ref_logprobs=ref_logprobs, values=values), scores, gap

    def _fit_critic(self, rollout: Rollout) -> Rollout:
        """Sets a and b of a critic that comes from a PRM, on the returns of the first rollout."""
        # Lambda 1 makes the returns plain sums of rewards, which the unfitted values do not touch.
        _, returns = advantages.gae(
            rollout.rewards, jnp.zeros_like(rollout.values), rollout.mask, self.config.gamma, 1.0
        )
        fitted = critic.fit_scale(self.state.critic, rollout.values, returns, rollout.mask)
        self.state = self.state.replace(critic=fitted)
        # The critic starts with a = 1 and b = 0, so the values at hand are the PRM's scores.
        values = jnp.where(rollout.completion, fitted["scale"] * rollout.values + fitted["offset"], 0.0)
        return rollout.replace(values=values)

    def _describe(
        self, rollout: Rollout, table: StepTable, verified: Sequence[Verified], seen: RewardInputs
    ) -> dict[str, float]:
        metrics = monitor.rollout_metrics(rollout, table, verified, seen, self.config.samples_per_prompt)
        named = {f"rollout/{name}": value for name, value in metrics.items()}
        if self.arm.scorer is not None:
            passed = np.array([entry.passed for entry in verified])
            scorer = monitor.scorer_metrics(self.arm.scorer, seen, passed, np.asarray(rollout.known))
            named |= {f"scorer/{name}": value for name, value in scorer.items()}
        return named

    def _follow(
        self,
        rollout: Rollout,
        table: StepTable,
        verified: Sequence[Verified],
        token_scores: np.ndarray | None,
        index: int,
    ) -> dict[str, float]:
        """Measures the PRM on the rollout, which it has not seen, and then lets it learn from it."""
        assert self.arm.refresh is not None and self.refreshed is not None and self.refresh is not None
        assert token_scores is not None
        labels = inputs.label_table(verified, table.ends.shape[1])
        rows = online.labelled_rows(rollout, table.ends, labels)
        auc = online.step_auc(token_scores, rows)
        # A rollout of one class has no AUC.
        metrics = {} if math.isnan(auc) else {"scorer/auc_before_refresh": auc}
        self.refreshed = online.remember(self.refreshed, rows)
        if (index + 1) % self.arm.refresh.every == 0:
            self.refreshed, learnt = self.refresh(self.refreshed, self._key(index, 1), self.frozen)
            metrics |= {f"refresh/{name}": float(value) for name, value in jax.device_get(learnt).items()}
        return metrics

    def _programs(self) -> Iterator[tuple[str, Any]]:
        """What an update calls, traced on arrays like those that it will meet."""
        config, model = self.config, self.model
        score_policy: Any = scoring.score_policy
        score_steps: Any = scoring.score_steps
        update: Any = self.update
        yield "sampling", self.collector.trace(self.policy)
        rollout = self.collector.no_rollout()
        yield "scoring", score_policy.trace(*self._networks(), rollout, **self._scoring, **self._policy_scoring)
        if self.scorer is not None:
            yield f"scoring by the {self.arm.scorer}", score_steps.trace(self.scorer, rollout, **self._scoring)
        if config.one_step_off:
            rollout = rollout.replace(behaviour=rollout.logprobs)
        # As scoring leaves them.
        by_token = split_rows(jnp.zeros(rollout.tokens.shape))
        rollout = rollout.replace(logprobs=by_token, ref_logprobs=by_token, values=by_token)
        yield "update", update.trace(self.state, rollout, self._key(0, 0), self.frozen)
        if self.refreshed is not None and self.arm.refresh is not None:
            given = self.refreshed, self._key(0, 1), self.frozen
            yield "refresh", online.trace_refresh(*given, self.arm.refresh, model, config.widths)

    def _check_unknown(self, known: np.ndarray, index: int) -> None:
        share = 1.0 - float(known.mean())
        if share > self.config.max_unknown_share:
            raise UserError(
                f"{share:.0%} of the verdicts of update {index + 1} are unknown, more than "
                f"PpoConfig.max_unknown_share = {self.config.max_unknown_share:.0%}; see what troubles the sandbox "
                "and run again"
            )

    def _check_finite(
        self, metrics: dict[str, float], before: tuple[dict[str, Any], jax.Array], rollout: Rollout, index: int
    ) -> None:
        """Names the first bad tensor of what the update was given.

        Args:
          metrics: the update's.
          before: what learns, whose buffers may be gone, and what `first_not_finite` gave of it before the update.
          rollout: what the update learnt from.
          index: the update's number.
        """
        for name in ("policy_loss", "value_loss", "policy_grad_norm", "critic_grad_norm"):
            name = f"update/{name}"
            if not math.isfinite(metrics[name]):
                others = {"reference": self.reference, "scorer": self.scorer}, {"rollout": rollout}
                found = (before, *((tree, first_not_finite(tree)) for tree in others))
                first = next((leaf_name(tree, int(number)) for tree, number in found if number >= 0), "none")
                raise NotFinite(
                    f"ppo {self.arm.name}: {name} is {metrics[name]} at update {index + 1}, and the first tensor that "
                    f"was not finite before it is {first}"
                )

    def _check_scorer(self, metrics: dict[str, float], index: int) -> None:
        """A loss tells of the steps before it: the last step's parameters are looked at themselves."""
        assert self.refreshed is not None
        if (number := int(first_not_finite(self.refreshed.params))) >= 0:
            raise NotFinite(
                f"ppo {self.arm.name}: the refresh of update {index + 1} ruined the {self.arm.scorer}: its loss is "
                f"{metrics['refresh/loss']}, and the first tensor that is not finite is "
                f"{self.arm.scorer}.{leaf_name(self.refreshed.params, number)}"
            )
