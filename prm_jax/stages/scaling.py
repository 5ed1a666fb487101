"""Command `scaling`: an experiment and several slices in, how its programs grow with them out.

Each program is compiled for each slice, as the command `compile` does; the table adds what bounds it there. The mesh
is the experiment's, with -1 for the axis that is to take the chips. A forecast: no time in it was measured.
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
from prm_jax.ahead.roofline import Roofline, roofline
from prm_jax.ahead.slices import GIB, Slice, parse_slice, slice_devices
from prm_jax.errors import UserError
from prm_jax.parallel.mesh import make_mesh
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.programs import Program, programs_named

Row = tuple[Slice, Forecast, Roofline]


def scaling(
    experiment: Experiment,
    run_dir: str,
    topology: Sequence[str],
    program: Sequence[str] = (),
    weak: bool = False,
    json: bool = False,
) -> int:
    """Compiles an experiment's programs for slices of several sizes and prints what each needs and what bounds it.

    Args:
      experiment: the experiment.
      run_dir: not read; every command has one.
      topology: the slices, the smallest first.
      program: what the names of the programs to compile begin with; all of them where it is empty.
      weak: whether batches grow with the slice, from the experiment's own on the first; else they stay.
      json: print JSON in place of the table.

    Returns:
      The exit status: 0.

    Raises:
      UserError: no program has such a name, a batch does not split over a slice, or a batch that is to grow would
        grow by a part.
    """
    del run_dir
    slices = [parse_slice(each) for each in topology]
    grown = [enlarged(experiment, _times(wanted, slices[0])) if weak else experiment for wanted in slices]
    # Of all slices before the first is compiled for: minutes are lost else where a batch does not split over the last.
    tasks = [_programs(*pair, program) for pair in zip(grown, slices, strict=True)]
    rows: list[Row] = []
    for wanted, (mesh, found) in zip(slices, tasks, strict=True):
        for each in found:
            rows += _rows(each, mesh, wanted)
    print(plain_json.dumps([as_json(*row) for row in rows], indent=2) if json else "\n".join(as_table(rows)))
    return 0


def enlarged(experiment: Experiment, times: int) -> Experiment:
    """The experiment with `times` as many rows in every batch, and as many batches."""

    def learning(config: Any) -> Any:
        return dataclasses.replace(config, batch_size=times * config.batch_size)

    ppo = experiment.ppo
    ppo = dataclasses.replace(
        ppo, prompts_per_update=times * ppo.prompts_per_update, score_batch=times * ppo.score_batch
    )
    return dataclasses.replace(experiment, sft=learning(experiment.sft), prm=learning(experiment.prm), ppo=ppo)


def _times(wanted: Slice, first: Slice) -> int:
    times, rest = divmod(wanted.chips, first.chips)
    if rest or not times:
        raise UserError(
            f"--weak: {wanted.name} has {wanted.chips} chips, the first slice {first.chips}: give the smallest first, "
            "and multiples of it"
        )
    return times


def _programs(experiment: Experiment, wanted: Slice, names: Sequence[str]) -> tuple[Mesh, list[Program]]:
    mesh = make_mesh(experiment.mesh, slice_devices(wanted))
    return mesh, programs_named(names, experiment, mesh)


def _rows(program: Program, mesh: Mesh, wanted: Slice) -> list[Row]:
    """Compiles a program; a line to each of its parts, told at once: what is interrupted has not been for nothing."""
    _tell(f"compiling {program.name} for {wanted.name}")
    with jax.set_mesh(mesh):
        found = forecast(program.name, program.trace, program.beside, program.steps, wanted.chip.memory)
    rows = [(wanted, each, roofline(each, wanted)) for each in found]
    _tell("\n".join(_joined(_line(*row)) for row in rows))
    return rows


def as_table(rows: list[Row]) -> list[str]:
    """Lines of Markdown, program by program."""
    head = ("program", "slice", "chips", "GiB/chip", "TFLOP/chip", "MiB sent/chip", "FLOP/byte", "arithmetic, ms")
    lines: list[tuple[str, ...]] = [(*head, "transfer, ms", "bound by")]
    lines.append(("---",) * len(lines[0]))
    for name in dict.fromkeys(each.name for _, each, _ in rows):
        lines += [_line(*row) for row in rows if row[1].name == name]
    return [_joined(line) for line in lines]


def _joined(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(wanted: Slice, each: Forecast, line: Roofline) -> tuple[str, ...]:
    return (
        each.name,
        wanted.name,
        str(wanted.chips),
        f"{each.bytes / GIB:.2f}" + ("" if each.fits else " (does not fit)"),
        _shown(line.flops, 1e-12),
        _shown(line.sent, 2**-20),
        _shown(line.intensity),
        _shown(line.arithmetic, 1e3),
        _shown(line.transfer, 1e3),
        line.bound,
    )


def _shown(value: float | None, unit: float = 1.0) -> str:
    return "?" if value is None else f"{unit * value:.3g}" if value * unit < 1000 else f"{unit * value:,.0f}"


def as_json(wanted: Slice, each: Forecast, line: Roofline) -> dict[str, Any]:
    """One row as what JSON can hold."""
    return (
        {"slice": wanted.name, "chips": wanted.chips, "fits": each.fits, "bound": line.bound}
        | dataclasses.asdict(each)
        | {f"{name}_per_chip": value for name, value in dataclasses.asdict(line).items()}
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
