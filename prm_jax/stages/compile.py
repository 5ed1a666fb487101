"""Command `compile`: an experiment and the name of a TPU slice in, what each stage needs of it out.

Every program of the run is compiled for the slice with libtpu, on a machine that needs no TPU. Standard output gets a
table or JSON; the exit status is 1 where a stage does not fit. For such a stage changes of the configuration are
compiled, the cheapest first, until one fits.
"""

from __future__ import annotations

import dataclasses
import json as plain_json
import sys
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from prm_jax.ahead.forecast import Forecast, forecast
from prm_jax.ahead.hlo import KINDS
from prm_jax.ahead.slices import GIB, Slice, parse_slice, slice_devices
from prm_jax.errors import UserError
from prm_jax.parallel.mesh import make_mesh
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.programs import Program, programs, programs_named
from prm_jax.stages.remedies import Change, changes


def compile(
    experiment: Experiment, run_dir: str, topology: str, program: Sequence[str] = (), json: bool = False
) -> int:
    """Compiles an experiment's programs for a slice and prints what they need.

    Args:
      experiment: the experiment.
      run_dir: not read; every command has one.
      topology: the slice, such as `v5e:4x4` or `v5p-64`.
      program: what the names of the programs to compile begin with; all of them where it is empty.
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
    for each in programs_named(program, experiment, mesh):
        _tell(f"compiling {each.name}")
        parts = _forecast(each, mesh, wanted)
        found += parts
        for part in parts:  # Told at once: what is interrupted has not been for nothing.
            _tell(f"{part.name}: {part.bytes / GIB:.2f} of {part.memory / GIB:.2f} GiB")
        if not parts[0].fits:
            remedies[each.name] = _remedy(each, experiment, devices, wanted)
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
    differs = f" (another run: {change.differs})" if change.differs else ""
    return f"{name} fits with {' '.join(change.flags)}{differs}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
