"""Command `compile`: an experiment and the name of a TPU slice in, what each stage needs of it out.

Every program of the run is compiled for the slice with libtpu, on a machine that needs no TPU. Standard output gets a
table or JSON; the exit status is 1 where a stage does not fit. For such a stage changes of the configuration are
compiled, the cheapest first, until one fits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json as plain_json
import sys
from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import Mesh

from prm_jax.ahead.forecast import Forecast, forecast
from prm_jax.ahead.hlo import KINDS
from prm_jax.ahead.slices import GIB, Slice, parse_slice, slice_devices
from prm_jax.errors import UserError
from prm_jax.parallel.mesh import make_mesh
from prm_jax.stages.experiment import Experiment, LearningConfig
from prm_jax.stages.programs import Program, programs


@dataclasses.dataclass(frozen=True)
class Change:
    """Another configuration of the same run.

    Attributes:
      flags: the overrides that make it.
      experiment: the experiment with them.
    """

    flags: tuple[str, ...]
    experiment: Experiment


def compile(experiment: Experiment, run_dir: str, topology: str, json: bool = False) -> int:
    """Compiles an experiment's programs for a slice and prints what they need.

    Args:
      experiment: the experiment.
      run_dir: not read; every command has one.
      topology: the slice, such as `v5e:4x4` or `v5p-64`.
      json: print JSON in place of the table.

    Returns:
      The exit status: 0 if all fits, else 1.
    """
    del run_dir
    wanted = parse_slice(topology)
    devices = slice_devices(wanted)
    mesh = make_mesh(experiment.mesh, devices)
    found: list[Forecast] = []
    remedies: dict[str, Change | None] = {}
    for program in programs(experiment, mesh):
        _tell(f"compiling {program.name}")
        parts = _forecast(program, mesh, wanted)
        found += parts
        if not parts[0].fits:
            remedies[program.name] = _remedy(program, experiment, devices, wanted)
    if json:
        print(plain_json.dumps(as_json(wanted, mesh, found, remedies), indent=2))
    else:
        print("\n".join([*as_table(wanted, mesh, found), *(_advice(*pair) for pair in remedies.items())]))
    return 0 if all(each.fits for each in found) else 1


def _forecast(program: Program, mesh: Mesh, wanted: Slice) -> list[Forecast]:
    with jax.set_mesh(mesh):
        return forecast(program.name, program.trace, program.beside, program.steps, wanted.chip.memory)


def _remedy(program: Program, experiment: Experiment, devices: Any, wanted: Slice) -> Change | None:
    """The first of `changes` with which the program fits."""
    for change in changes(experiment, program.name, wanted.chips):
        try:
            mesh = make_mesh(change.experiment.mesh, devices)
            (changed,) = (each for each in programs(change.experiment, mesh) if each.name == program.name)
        except UserError:  # The batch does not split over so many devices.
            continue
        _tell(f"compiling {program.name} with {' '.join(change.flags)}")
        if _forecast(changed, mesh, wanted)[0].fits:
            return change
    return None


def changes(experiment: Experiment, name: str, chips: int) -> Iterator[Change]:
    """What could make a program fit, the cheapest first.

    Rematerialisation costs a third more arithmetic in the backward pass; a larger `fsdp` axis, collectives; smaller
    parts of a batch, one after the other, leave the devices idle. Each of them is tried on top of those before it,
    and `fsdp` by itself too.

    Args:
      experiment: the configuration that does not fit.
      name: the program's.
      chips: devices of the slice.
    """
    backward = not name.startswith(("sample", "score"))
    bases = [Change((), experiment)]
    if backward and not experiment.model.remat:
        model = dataclasses.replace(experiment.model, remat=True)
        bases.append(Change(("--gin.ModelConfig.remat=True",), dataclasses.replace(experiment, model=model)))
        yield bases[-1]
    meshes = [split for base in bases for split in _larger_fsdp(base, chips)]
    yield from sorted(meshes, key=lambda change: (change.experiment.mesh.fsdp, len(change.flags)))
    for parts in (2, 4, 8):
        yield from _smaller_parts(max([*bases, *meshes], key=_saving), name, parts)


def _saving(change: Change) -> tuple[int, bool]:
    return change.experiment.mesh.fsdp, change.experiment.model.remat


def _larger_fsdp(base: Change, chips: int) -> Iterator[Change]:
    mesh = base.experiment.mesh
    most = chips // max(mesh.tensor, 1)
    size = 2 * mesh.fsdp
    while 0 < size <= most:
        if most % size == 0:
            split = dataclasses.replace(mesh, data=-1, fsdp=size)
            flags = (*base.flags, "--gin.MeshConfig.data=-1", f"--gin.MeshConfig.fsdp={size}")
            yield Change(flags, dataclasses.replace(base.experiment, mesh=split))
        size *= 2


def _smaller_parts(base: Change, name: str, parts: int) -> Iterator[Change]:
    """A batch in `parts` of what it was: the same gradient, or the same rollouts, in more calls."""
    experiment = base.experiment
    stage, ppo = name.split()[0], experiment.ppo
    if stage in ("sft", "prm") and name.endswith("step"):
        learning: LearningConfig = getattr(experiment, stage)
        size, calls = learning.batch_size // parts, learning.optimizer.accumulate * parts
        if size * parts == learning.batch_size:
            optimizer = dataclasses.replace(learning.optimizer, accumulate=calls)
            learning = dataclasses.replace(learning, batch_size=size, optimizer=optimizer)
            scope = f"--gin.{stage}"
            flags = (f"{scope}/LearningConfig.batch_size={size}", f"{scope}/OptimizerConfig.accumulate={calls}")
            smaller: dict[str, Any] = {stage: learning}
            yield Change((*base.flags, *flags), dataclasses.replace(experiment, **smaller))
        return
    field, size = {
        "ppo": ("minibatches", ppo.minibatches * parts),
        "score": ("score_batch", ppo.score_batch // parts),
        "sample": ("prompts_per_update", ppo.prompts_per_update // parts),
    }.get(stage, ("", 0))
    if size:
        with contextlib.suppress(UserError):  # The minibatches do not divide the rollout.
            smaller = {field: size}
            yield Change(
                (*base.flags, f"--gin.PpoConfig.{field}={size}"),
                dataclasses.replace(experiment, ppo=dataclasses.replace(ppo, **smaller)),
            )


def as_table(wanted: Slice, mesh: Mesh, found: list[Forecast]) -> list[str]:
    """The forecasts as lines of text."""
    sizes = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    chips = f"{wanted.chips} chip{'s' if wanted.chips > 1 else ''}"
    head = f"{wanted.name} ({wanted.paid_name}): {chips} of {wanted.chip.memory / GIB:.2f} GiB; mesh {sizes}"
    rows = [("program", "GiB/chip", "of memory", "TFLOP", *(f"{kind}, MiB" for kind in KINDS), "")]
    for each in found:
        moved = [
            "?" if each.traffic is None
            else f"{each.traffic[kind].bytes / 2**20:.1f} ({each.traffic[kind].count})" if kind in each.traffic
            else "-"
            for kind in KINDS
        ]  # fmt: skip
        share = f"{each.bytes / each.memory:.0%}"
        verdict = "fits" if each.fits else "DOES NOT FIT"
        rows.append((each.name, f"{each.bytes / GIB:.2f}", share, f"{each.flops / 1e12:.3g}", *moved, verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [head, "", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)]


def as_json(wanted: Slice, mesh: Mesh, found: list[Forecast], remedies: dict[str, Change | None]) -> dict[str, Any]:
    """The forecasts as what JSON can hold: bytes and FLOPs as numbers."""
    return {
        "slice": wanted.name,
        "ordered_as": wanted.paid_name,
        "chips": wanted.chips,
        "memory_per_chip": wanted.chip.memory,
        "mesh": dict(mesh.shape),
        "programs": [dataclasses.asdict(each) | {"fits": each.fits} for each in found],
        "remedies": {name: None if change is None else list(change.flags) for name, change in remedies.items()},
        "fits": all(each.fits for each in found),
    }


def _advice(name: str, change: Change | None) -> str:
    if change is None:
        return f"{name}: nothing that was tried makes it fit; take a larger slice, or a smaller model or batch"
    return f"{name} fits with {' '.join(change.flags)}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
