"""What could make a program of a run fit a slice: other configurations, the cheapest first.

Most are the same run: as many updates, on as many rows. Of the others it is said what differs. The command `compile`
compiles them, one after the other, until one fits. Nothing here compiles.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from prm_jax.errors import UserError
from prm_jax.models.config import LoraConfig
from prm_jax.stages.experiment import Experiment, LearningConfig

_CALLS_OF_THE_OPTIMIZER = ("accumulate", "warmup_steps", "total_steps")
_CALLS_OF_THE_FIT = ("steps", "evaluate_every", "checkpoint_every")
"""The fields that count calls of the train step."""

_RANK = 16
"""Of adapters that are tried: that of `gin/lora.gin`."""


@dataclasses.dataclass(frozen=True)
class Change:
    """Another configuration.

    Attributes:
      flags: the overrides that make it.
      experiment: the experiment with them.
      differs: what of the run is another for it; empty where it is the same run.
    """

    flags: tuple[str, ...]
    experiment: Experiment
    differs: str = ""


def changes(experiment: Experiment, name: str, chips: int) -> Iterator[Change]:
    """What could make a program fit, the cheapest first: the kinds of `_KINDS`, one after the other.

    Args:
      experiment: the configuration that does not fit.
      name: the program's.
      chips: devices of the slice.
    """
    tried = [Change((), experiment)]
    for kind in _KINDS:
        most = max(tried, key=_saving)
        bases = [tried[0], most] if kind.by_itself and most is not tried[0] else [most]
        made = [change for base in bases for change in kind.changes(base, name, chips)]
        made.sort(key=lambda change: (change.experiment.mesh.fsdp, len(change.flags)))
        yield from made
        tried += made if kind.by_itself else []


def _saving(change: Change) -> tuple[int, bool]:
    return change.experiment.mesh.fsdp, change.experiment.model.remat


def _rematerialised(base: Change, name: str, chips: int) -> Iterator[Change]:
    """A third more arithmetic in the backward pass."""
    del chips
    model = base.experiment.model
    if not name.startswith(("sample", "score")) and not model.remat:
        experiment = dataclasses.replace(base.experiment, model=dataclasses.replace(model, remat=True))
        yield Change((*base.flags, "--gin.ModelConfig.remat=True"), experiment)


def _larger_fsdp(base: Change, name: str, chips: int) -> Iterator[Change]:
    """More devices to a copy of the model: more collectives."""
    del name
    mesh = base.experiment.mesh
    most = chips // max(mesh.tensor, 1)
    size = 2 * mesh.fsdp
    while 0 < size <= most:
        if most % size == 0:
            split = dataclasses.replace(mesh, data=-1, fsdp=size)
            # The overlay makes the mesh known to files that set none. It sets the tensor axis to 1.
            flags = (*base.flags, "--gin_file=gin/meshes/fsdp.gin", "--gin.MeshConfig.data=-1")
            flags += (f"--gin.MeshConfig.fsdp={size}", f"--gin.MeshConfig.tensor={mesh.tensor}")
            yield Change(flags, dataclasses.replace(base.experiment, mesh=split))
        size *= 2


def _in_parts(base: Change, name: str, chips: int) -> Iterator[Change]:
    """Smaller parts of a batch, one after the other: devices that wait for each other more often."""
    del chips
    for parts in (2, 4, 8):
        yield from _smaller_parts(base, name, parts)


def _smaller_parts(base: Change, name: str, parts: int) -> Iterator[Change]:
    """What a program takes at once, in `parts` of what it was."""
    experiment = base.experiment
    stage, ppo = name.split()[0], experiment.ppo
    if stage in ("sft", "prm") and name.endswith("step"):
        learning: LearningConfig = getattr(experiment, stage)
        if learning.batch_size % parts == 0:
            divided, flags = _in_more_calls(learning, stage, parts)
            smaller: dict[str, Any] = {stage: divided}
            yield Change((*base.flags, *flags), dataclasses.replace(experiment, **smaller))
        return
    field, size, differs = {
        "ppo": ("minibatches", ppo.minibatches * parts, f"{parts} times as many steps of PPO's optimisers"),
        "score": ("score_batch", ppo.score_batch // parts, ""),
        "sample": ("rollout_chunks", ppo.rollout_chunks * parts, ""),
    }.get(stage, ("", 0, ""))
    if size:
        with contextlib.suppress(UserError):  # They do not divide the rollout.
            smaller = {field: size}
            yield Change(
                (*base.flags, f"--gin.PpoConfig.{field}={size}"),
                dataclasses.replace(experiment, ppo=dataclasses.replace(ppo, **smaller)),
                differs,
            )


def _in_more_calls(learning: LearningConfig, stage: str, parts: int) -> tuple[LearningConfig, tuple[str, ...]]:
    """A batch in parts whose gradients are averaged: as many updates on as many rows, and the flags that make it so.

    What counts calls of the train step counts `parts` times as many; a line of metrics is of one part.
    """
    optimizer, fit = learning.optimizer, learning.fit
    more: dict[str, dict[str, Any]] = {
        "OptimizerConfig": {name: parts * getattr(optimizer, name) for name in _CALLS_OF_THE_OPTIMIZER},
        "FitConfig": {name: parts * getattr(fit, name) for name in _CALLS_OF_THE_FIT},
    }
    smaller = dataclasses.replace(
        learning,
        batch_size=learning.batch_size // parts,
        optimizer=dataclasses.replace(optimizer, **more["OptimizerConfig"]),
        fit=dataclasses.replace(fit, **more["FitConfig"]),
    )
    bindings = {"LearningConfig": {"batch_size": smaller.batch_size}, **more}
    return smaller, tuple(
        f"--gin.{stage}/{kind}.{name}={value}" for kind, values in bindings.items() for name, value in values.items()
    )


def _adapters(base: Change, name: str, chips: int) -> Iterator[Change]:
    """Low-rank adapters in the place of whole networks: less to train, and less that can be learnt."""
    del name, chips
    model = base.experiment.model
    if not model.lora.rank:
        adapted = dataclasses.replace(model, lora=LoraConfig(rank=_RANK))
        flags = (*base.flags, "--gin_file=gin/lora.gin", f"--gin.RANK={_RANK}")
        differs = "adapters are trained, not whole networks"
        yield Change(flags, dataclasses.replace(base.experiment, model=adapted), differs)


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of change.

    Attributes:
      changes: those of this kind that can be made to another change, given the program's name and the number of chips.
      by_itself: whether it is tried alone too, or only on top of the change that saves most before it.
    """

    changes: Callable[[Change, str, int], Iterator[Change]]
    by_itself: bool


# From cheap to dear.
_KINDS = (
    _Kind(_rematerialised, True),
    _Kind(_larger_fsdp, True),
    _Kind(_in_parts, False),
    _Kind(_adapters, True),
)
