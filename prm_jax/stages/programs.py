"""What a run compiles, before there is anything to run: every stage's jitted functions on shapes alone.

An experiment and a mesh come in, one `Program` for each function goes out; no weights are made and no device is
touched. The command `compile` reads memory and collectives off them, tests read what is split.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from prm_jax.batches import TokenBatch
from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import frozen, whole
from prm_jax.models.policy import boxed_policy, boxed_trainable_policy, boxed_trainable_scorer
from prm_jax.parallel.shardings import check_rows, init_shapes, partition_spec, shapes_in, shardings_in
from prm_jax.ppo import online
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.critic import boxed_critic, with_frozen
from prm_jax.ppo.online import make_learn
from prm_jax.ppo.rollout import Rollout
from prm_jax.ppo.scoring import score_policy, score_steps
from prm_jax.ppo.update import PpoState, init_state, make_update, shardings_of
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import sample_arrays
from prm_jax.stages.experiment import Experiment, LearningConfig
from prm_jax.stages.pretrained import checkpoint_at, computed_as
from prm_jax.stages.prm import step_loss_of
from prm_jax.stages.sft import sft_loss_of
from prm_jax.stages.workbench import BoxedInit, train_state_shapes
from prm_jax.training.optimizer import make_optimizer
from prm_jax.training.step import LossFn, make_train_step

KEY = jax.eval_shape(jax.random.key, 0)


@dataclasses.dataclass(frozen=True)
class Program:
    """One jitted function of a run, on the shapes that it will meet.

    Attributes:
      name: what it is called in tables.
      trace: traces it, to be lowered; to be called where the mesh is set.
      beside: bytes on each device, while it runs, of what it neither takes nor gives.
      steps: how often, at most, its loops run whose end the data decide.
    """

    name: str
    trace: Callable[[], Any]
    beside: int
    steps: int = 0


def model_shape(experiment: Experiment) -> ModelConfig:
    """The experiment's model with its vocabulary, without a tokenizer: that of `TextConfig`, or of the checkpoint."""
    own = experiment.model
    if not experiment.pretrained.path:
        return dataclasses.replace(own, vocab_size=experiment.text.vocabulary_size)
    return computed_as(checkpoint_at(experiment.pretrained.path).config, own)


def programs(experiment: Experiment, mesh: Mesh) -> list[Program]:
    """The programs of SFT, of the reward models, and of PPO with every arm; what arms share stands once.

    Raises:
      UserError: a batch does not split over the mesh.
    """
    model = model_shape(experiment)
    first = model if model.lora.sft else model.without_lora()
    policy, scorer = functools.partial(boxed_trainable_policy, first), functools.partial(boxed_trainable_scorer, model)
    found = [
        _learning("sft step", experiment, experiment.sft, sft_loss_of(first), policy, _frozen(first, mesh), mesh),
        _learning("prm step", experiment, experiment.prm, step_loss_of(model), scorer, _frozen(model, mesh), mesh),
    ]
    most: dict[str, Program] = {}
    for arm in experiment.arms:
        for program in () if arm.control else _ppo(experiment, arm, model, mesh):
            if program.name not in most or program.beside > most[program.name].beside:
                most[program.name] = program
    return [*found, *most.values()]


def programs_named(names: Sequence[str], experiment: Experiment, mesh: Mesh) -> list[Program]:
    """Those of `programs` whose names begin with one of `names`; all where it is empty.

    Raises:
      UserError: there is none; and as `programs`.
    """
    known = programs(experiment, mesh)
    found = [each for each in known if not names or each.name.startswith(tuple(names))]
    if not found:
        raise UserError(f"no program begins with {' or '.join(names)}: there are {', '.join(p.name for p in known)}")
    return found


def bytes_per_device(tree: Any) -> int:
    """Bytes that a tree of placed shapes takes on one device."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _frozen(model: ModelConfig, mesh: Mesh) -> dict[str, Any]:
    return frozen(init_shapes(functools.partial(boxed_policy, model), mesh), model)


def _learning(
    name: str,
    experiment: Experiment,
    learning: LearningConfig,
    loss: LossFn,
    boxed_init: BoxedInit,
    still: dict[str, Any],
    mesh: Mesh,
) -> Program:
    """A step of `training`."""
    check_rows(learning.batch_size, mesh)
    optimizer = make_optimizer(learning.optimizer)
    state = train_state_shapes(boxed_init, optimizer, mesh)
    step: Any = make_train_step(loss, optimizer, seed=experiment.seed, state_shardings=shardings_in(state))
    batch = TokenBatch(*(_rows(mesh, jnp.int32, learning.batch_size, experiment.text.max_length) for _ in range(4)))
    # The best parameters so far, and those that the state was made from.
    return Program(name, lambda: step.trace(state, batch, still), 2 * bytes_per_device(state.params))


def _ppo(experiment: Experiment, arm: Arm, model: ModelConfig, mesh: Mesh) -> list[Program]:
    """What an arm's updates call. All networks and moments stay on the devices, whichever of them a program takes."""
    config, critic_name = experiment.ppo, "" if arm.critic == "head" else f", {arm.critic} critic"
    state, reference, scorer, moments = _networks(experiment, arm, model, mesh)
    still = _frozen(model, mesh)
    held = bytes_per_device((still, state, reference, scorer, moments))
    policy, critic = whole(state.params, still), with_frozen(arm.critic, state.critic, still)
    rollout = _rollout(mesh, config.batch_size, experiment.text.max_prompt + config.max_new_tokens)
    learnt_from = rollout.replace(behaviour=rollout.logprobs) if config.one_step_off else rollout
    scored: dict[str, Any] = {"model": model, "batch": config.score_batch, "widths": config.widths}
    rule = SamplingConfig(temperature=config.temperature, max_new_tokens=config.max_new_tokens)

    def program(name: str, function: Any, taken: Any, *others: Any, steps: int = 0, **static: Any) -> Program:
        beside = held - bytes_per_device(taken)
        return Program(name, lambda: function.trace(*taken, *others, **static), beside, steps)

    read = config.chunk_size // config.samples_per_prompt
    prompts = _whole(jnp.int32, read, experiment.text.max_prompt), _whole(jnp.int32, read)
    seeds = _whole(jnp.uint32, config.chunk_size)
    found = [
        program(
            "sample", sample_arrays, (policy,), *prompts, seeds, steps=config.max_new_tokens - 1,
            model=model, config=rule, eos_id=0,
        ),
        program(
            f"score policy{critic_name}", score_policy, (policy, whole(reference, still), critic), rollout,
            kind=arm.critic, temperature=config.temperature, **scored,
        ),
        program(f"ppo update{critic_name}", make_update(config, model, arm.critic), (state,), learnt_from, KEY, still),
    ]  # fmt: skip
    if arm.scorer is not None:
        found.insert(2, program(f"score steps, {arm.scorer}", score_steps, (whole(scorer, still),), rollout, **scored))
    if arm.refresh is not None:
        capacity = arm.refresh.buffer_rollouts * config.batch_size
        rows = TokenBatch(*(_rows(mesh, jnp.int32, capacity, rollout.tokens.shape[1]) for _ in range(4)))
        learn, available = make_learn(arm.refresh, model, config.widths), jax.ShapeDtypeStruct((), jnp.int32)
        found.append(program("prm refresh", learn, ((scorer, moments),), rows, available, KEY, still))
    return found


def _networks(experiment: Experiment, arm: Arm, model: ModelConfig, mesh: Mesh) -> tuple[PpoState, Any, Any, Any]:
    """The shapes of an arm's state, its reference, its scorer and the scorer's moments, `()` where there is none.

    Of each what is not frozen.
    """
    config = experiment.ppo
    reference = init_shapes(functools.partial(boxed_trainable_policy, model), mesh)
    critic = init_shapes(functools.partial(boxed_critic, arm.critic, model, config.critic.width), mesh)
    state = jax.eval_shape(functools.partial(init_state, config), reference, critic)
    state = shapes_in(state, shardings_of(state, config, model, arm.critic, mesh))
    if arm.scorer is None:
        return state, reference, (), ()
    scorer = init_shapes(functools.partial(boxed_trainable_scorer, model), mesh)
    if arm.refresh is None:
        return state, reference, scorer, ()
    moments = jax.eval_shape(online.make_optimizer(arm.refresh).init, scorer)
    return state, reference, scorer, shapes_in(moments, online.shardings_of(moments, model, mesh))


def _rollout(mesh: Mesh, rows: int, length: int) -> Rollout:
    """A rollout: what hosts read is whole, what scoring has filled is split."""
    ids, rewards, flags = (_whole(dtype, rows, length) for dtype in (jnp.int32, jnp.float32, bool))
    scored = _rows(mesh, jnp.float32, rows, length)
    return Rollout(
        tokens=ids,
        segments=ids,
        positions=ids,
        completion=flags,
        logprobs=scored,
        ref_logprobs=scored,
        values=scored,
        rewards=rewards,
        problem=_whole(jnp.int32, rows),
        known=_whole(bool, rows),
        judged=flags,
    )


def _rows(mesh: Mesh, dtype: Any, *shape: int) -> Any:
    """The shape of an array whose rows are split: `Any`, since it stands where an array does."""
    spec = partition_spec(("batch", *[None] * (len(shape) - 1)), shape, mesh)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


def _whole(dtype: Any, *shape: int) -> Any:
    """The shape of an array that is whole on every device, or on the host."""
    return jax.ShapeDtypeStruct(shape, dtype)
