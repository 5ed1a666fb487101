"""One PPO update: a scored rollout in, the next state out, in one jitted call.

Advantages are computed on the whole rollout; then one `lax.scan` runs over epochs x minibatches, each one step of both
optimisers. `loop.py` calls what `make_update` returns. B batch, T tokens, M rows of a minibatch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key

from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import whole
from prm_jax.models.policy import boxed_trainable_policy, policy_forward
from prm_jax.parallel.shardings import constrain_tree, init_shapes, shardings_in, split_rows, state_shardings
from prm_jax.ppo import advantages, critic, forward, losses
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.critic import CriticKind
from prm_jax.ppo.kl import adapt_coefficient
from prm_jax.ppo.rollout import Rollout

Metrics = dict[str, Float[Array, ""]]


class PpoState(flax.struct.PyTreeNode):
    """All that an update changes; what of the networks is frozen is not among it.

    Attributes:
      step: int32, updates made.
      params: the policy, or its adapters.
      opt_state: the policy's optimiser.
      critic: the critic's parameters, of the arm's kind.
      critic_opt_state: the critic's optimiser.
      kl_coefficient: float32, weight of the divergence from the reference.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: optax.OptState
    critic: Any
    critic_opt_state: optax.OptState
    kl_coefficient: Float[Array, ""]


@flax.struct.dataclass
class Minibatch:
    """Rows of a rollout with what the losses need; `mask` is True on the tokens that count.

    `weights` are the importance weights where an earlier policy sampled the rows, else None.
    """

    tokens: Int[Array, "M T"]
    segments: Int[Array, "M T"]
    positions: Int[Array, "M T"]
    mask: Bool[Array, "M T"]
    logprobs: Float[Array, "M T"]
    ref_logprobs: Float[Array, "M T"]
    values: Float[Array, "M T"]
    advantages: Float[Array, "M T"]
    returns: Float[Array, "M T"]
    weights: Float[Array, "M T"] | None = None


def make_optimizers(config: PpoConfig) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Adam behind a clip by global norm, for the policy and for the critic."""

    def adam(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(learning_rate))

    rising = config.warmup_updates * config.epochs * config.minibatches
    policy_rate = optax.linear_schedule(0.0, config.learning_rate, rising) if rising else config.learning_rate
    return adam(policy_rate), adam(config.critic.learning_rate)


def init_state(config: PpoConfig, params: Any, critic_params: Any) -> PpoState:
    """The state before the first update. The policy is copied: updates give their buffers away."""
    tx, critic_tx = make_optimizers(config)
    params = jax.tree.map(jnp.array, params)
    return PpoState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=tx.init(params),
        critic=critic_params,
        critic_opt_state=critic_tx.init(critic_params),
        kl_coefficient=jnp.float32(config.kl_coefficient),
    )


def shardings_of(
    state: PpoState, config: PpoConfig, model: ModelConfig, kind: CriticKind, mesh: Mesh | AbstractMesh
) -> PpoState:
    """Shardings of a state, or of its shapes: networks by their logical axes, moments like their parameters."""
    init_policy = functools.partial(boxed_trainable_policy, model)
    init_critic = functools.partial(critic.boxed_critic, kind, model, config.critic.width)
    policy, value = (shardings_in(init_shapes(init, mesh)) for init in (init_policy, init_critic))
    whole: Any = NamedSharding(mesh, PartitionSpec())
    return PpoState(
        step=whole,
        params=policy,
        opt_state=state_shardings(state.opt_state, policy, mesh),
        critic=value,
        critic_opt_state=state_shardings(state.critic_opt_state, value, mesh),
        kl_coefficient=whole,
    )


def prepare(config: PpoConfig, rollout: Rollout, kl_coefficient: Float[Array, ""]) -> tuple[Minibatch, Metrics]:
    """The whole rollout as one `Minibatch`: rewards with the KL penalty, advantages, returns.

    Returns:
      The rows, and `kl` (k3, per token), `explained_variance`, `advantage_std` (before whitening) and `mean_value`,
      and the metrics of `losses.importance_weights` where an earlier policy sampled the rollout.
    """
    mask = rollout.mask
    rewards = rollout.rewards
    if config.kl_in == "reward":
        rewards = rewards - kl_coefficient * losses.token_kl(rollout.logprobs, rollout.ref_logprobs, mask, "k1")
    advantage, returns = advantages.gae(rewards, rollout.values, mask, config.gamma, config.lam)
    if config.group_baseline:
        advantage = advantages.center_groups(advantage, mask, config.samples_per_prompt)
    mean = advantages.masked_mean(advantage, mask)
    spread = jnp.sqrt(advantages.masked_mean(jnp.square(advantage - mean), mask))
    metrics = {
        "kl": losses.kl_loss(rollout.logprobs, rollout.ref_logprobs, mask)[0],
        "explained_variance": advantages.explained_variance(rollout.values, returns, mask),
        "advantage_std": spread,
        "mean_value": advantages.masked_mean(rollout.values, mask),
    }
    weights = None
    if rollout.behaviour is not None:
        weights, of_weights = losses.importance_weights(
            rollout.logprobs, rollout.behaviour, mask, config.importance_cap
        )
        metrics |= of_weights
    rows = Minibatch(
        tokens=rollout.tokens,
        segments=rollout.segments,
        positions=rollout.positions,
        mask=mask,
        logprobs=rollout.logprobs,
        ref_logprobs=rollout.ref_logprobs,
        values=rollout.values,
        advantages=advantages.whiten(advantage, mask) if config.whiten else advantage,
        returns=returns,
        weights=weights,
    )
    return rows, metrics


def ppo_loss(
    params: Any,
    critic_params: Any,
    batch: Minibatch,
    kl_coefficient: Float[Array, ""],
    *,
    config: PpoConfig,
    model: ModelConfig,
    kind: CriticKind,
) -> tuple[Float[Array, ""], Metrics]:
    """Policy, value, KL and entropy terms from one forward of the policy.

    The value term's gradient reaches only the critic, so that one sum serves both optimisers.
    """
    rows = (batch.tokens, batch.segments, batch.positions)
    hidden, logprobs, entropy = policy_forward(params, model, *rows, config.temperature, batch.mask)
    value = critic.values(kind, critic_params, model, hidden, *rows)
    policy_term, policy_metrics = losses.policy_loss(
        logprobs, batch.logprobs, batch.advantages, batch.mask, config.clip, config.dual_clip, batch.weights
    )
    value_term, value_metrics = losses.value_loss(value, batch.values, batch.returns, batch.mask, config.value_clip)
    entropy_term, entropy_metrics = losses.entropy_loss(entropy, batch.mask)
    total = policy_term + value_term + config.entropy_coefficient * entropy_term
    if config.kl_in == "loss":
        total += kl_coefficient * losses.kl_loss(logprobs, batch.ref_logprobs, batch.mask, "k2")[0]
    metrics = {"policy_loss": policy_term, "value_loss": value_term}
    return total, metrics | policy_metrics | value_metrics | entropy_metrics


def make_gradient(config: PpoConfig, model: ModelConfig, kind: CriticKind) -> Callable[..., Any]:
    """`(params, critic, batch, kl_coefficient, frozen) -> ((policy gradient, critic gradient), metrics)`.

    `frozen` is what policy and critic share and nothing changes. The batch is cut to the narrowest of `config.widths`
    that holds its rows; what is cut off is padding.
    """

    def gradient(
        params: Any,
        critic_params: Any,
        batch: Minibatch,
        kl_coefficient: Float[Array, ""],
        frozen: dict[str, Any] | None = None,
    ) -> Any:
        """The function that is given back; one forward and one backward pass serve both networks."""

        def loss(params: Any, critic_params: Any, batch: Minibatch) -> tuple[Float[Array, ""], Metrics]:
            networks = whole(params, frozen), critic.with_frozen(kind, critic_params, frozen)
            return ppo_loss(*networks, batch, kl_coefficient, config=config, model=model, kind=kind)

        def run(batch: Minibatch) -> Any:
            (_, metrics), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
                params, critic_params, batch
            )
            return gradients, metrics

        return forward.at_narrowest_width(run, batch, batch.segments, config.widths)

    return gradient


@functools.cache
def make_update(config: PpoConfig, model: ModelConfig, kind: CriticKind) -> Callable[..., tuple[PpoState, Metrics]]:
    """The jitted update `(state, rollout, key, frozen=None) -> (state, metrics)`; the state's buffers are given away.

    `frozen` is what `lora.frozen` gives of the networks. The rollout comes scored: policy and reference log-
    probabilities, values, rewards. Metrics are those of `prepare`, the means over all minibatches of those of the
    losses and of both gradient norms (before clipping), and `kl_coefficient`. All arms of one configuration share what
    was compiled.
    """
    tx, critic_tx = make_optimizers(config)
    gradient = make_gradient(config, model, kind)

    def update(
        state: PpoState, rollout: Rollout, key: Key[Array, ""], frozen: dict[str, Any] | None = None
    ) -> tuple[PpoState, Metrics]:
        """Advantages of the whole rollout, then every minibatch of every epoch, then the KL coefficient."""
        rows, rollout_metrics = prepare(config, split_rows(rollout), state.kl_coefficient)
        policy_learns = state.step >= config.value_only_updates

        def step(carry: Any, indices: Int[Array, " M"]) -> tuple[Any, Metrics]:
            """One minibatch: a step of the critic, and of the policy once it learns."""
            params, opt_state, critic_params, critic_opt_state = carry
            batch = split_rows(jax.tree.map(lambda x: x[indices], rows))
            (policy_grad, critic_grad), metrics = gradient(params, critic_params, batch, state.kl_coefficient, frozen)
            changes, next_opt_state = tx.update(policy_grad, opt_state, params)
            moved = (optax.apply_updates(params, changes), next_opt_state)
            params, opt_state = jax.tree.map(
                lambda new, old: jnp.where(policy_learns, new, old), moved, (params, opt_state)
            )
            changes, critic_opt_state = critic_tx.update(critic_grad, critic_opt_state, critic_params)
            critic_params = optax.apply_updates(critic_params, changes)
            metrics |= {
                "policy_grad_norm": optax.tree.norm(policy_grad),
                "critic_grad_norm": optax.tree.norm(critic_grad),
            }
            return (params, opt_state, critic_params, critic_opt_state), metrics

        lengths = jnp.sum(rows.segments > 0, axis=1)
        order = forward.minibatch_rows(lengths, config.epochs, config.minibatches, key)
        start = (state.params, state.opt_state, state.critic, state.critic_opt_state)
        (params, opt_state, critic_params, critic_opt_state), metrics = jax.lax.scan(step, start, order)
        coefficient = state.kl_coefficient
        if config.kl_target > 0:
            coefficient = adapt_coefficient(coefficient, rollout_metrics["kl"], config.kl_target, config.kl_gain)
        metrics = jax.tree.map(jnp.mean, metrics) | rollout_metrics | {"kl_coefficient": state.kl_coefficient}
        state = PpoState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            critic=critic_params,
            critic_opt_state=critic_opt_state,
            kl_coefficient=coefficient,
        )
        return constrain_tree(state, lambda mesh: shardings_of(state, config, model, kind, mesh)), metrics

    return jax.jit(update, donate_argnums=0)
