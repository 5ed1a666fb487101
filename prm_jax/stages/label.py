"""Stage `label`: problems in, step-labelled programs out: JSONL shards, a card that audits them, a TFDS data set.

Up to two families of programs are labelled: `demonstrations` and, where the reward models learn from further problems,
`others`. Variants of references are made in one of them: in `others` where there is that family. The held-out problems,
which only judge the PRM, are in that family too.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from prm_jax.errors import UserError
from prm_jax.labelling.card_text import summary as summary_of
from prm_jax.labelling.jsonl import TESTS, read_labelled, read_tests
from prm_jax.labelling.label import LabelConfig
from prm_jax.labelling.labelled_program import LabelledProgram
from prm_jax.labelling.splice import Edit
from prm_jax.problems.problem import Problem, Test
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.problem_record import as_recorded, write_record
from prm_jax.stages.problem_sets import held_out, problems_of
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.training.progress import Progress

SHARDS = 16
"""Files of a family: what an interrupted labelling loses is one of them."""


def label(experiment: Experiment, run_dir: str) -> None:
    """Labels every family of the experiment into `<run_dir>/label/<family>`, shards and a TFDS data set."""
    run = RunDirectory(run_dir)
    configuration = {"problems": experiment.problems, "labels": experiment.labels}
    run.stage("label", configuration, functools.partial(_label, experiment), alone=True)


def families(experiment: Experiment) -> dict[str, tuple[list[Problem], LabelConfig]]:
    """The problems of each family of labelled programs, and how to label them."""
    sets = experiment.problems
    demonstrations = problems_of(sets, "demonstrations")
    judging = held_out(sets)
    known = {problem.id for problem in demonstrations}
    others = [problem for problem in problems_of(sets, "labelled") if problem.id not in known]
    config = experiment.labels
    if not others:
        return {"demonstrations": ([*demonstrations, *judging], config)}
    bare = dataclasses.replace(
        config,
        steps=False,
        mutants_per_step=0,
        refactorings_per_step=0,
        rewrites_per_step=0,
        generated_inputs=0,
        compared_mutants=0,
    )
    return {"demonstrations": ([*demonstrations], bare), "others": ([*others, *judging], config)}


def problems_for(experiment: Experiment, run: RunDirectory, part: str) -> tuple[Problem, ...]:
    """The problems of one set.

    Where the run was labelled for the same sets, no problem of theirs serves two ends. To make thousands of others only
    to look for that again would take longer than all else that a stage starts with.
    """
    apart = run.is_done_for("label", problems=experiment.problems)
    return problems_of(experiment.problems, part, apart)


def practice_problems(experiment: Experiment, run: RunDirectory) -> tuple[Problem, ...]:
    """RL's problems, in the order that the exported prompts count in, with the generated tests that labelling found.

    Raises:
      UserError: as `labelled_programs`; or the problems are others than those of the exported prompts.
    """
    gained: dict[str, tuple[Test, ...]] = {}
    for path in _files(run, TESTS):
        gained |= read_tests(path)
    run.record_of("tasks")
    practice = as_recorded(run.folder("tasks"), problems_for(experiment, run, "practice"))
    return tuple(each.with_tests(gained.get(each.id, ())) for each in practice)


def labelled_programs(run: RunDirectory, split: str) -> list[LabelledProgram]:
    """The labelled programs of a split.

    Raises:
      UserError: if the run is not labelled, or the files are gone.
    """
    return [row for shard in _files(run, "labelled-*.jsonl") for row in read_labelled(shard) if row.split == split]


def judged_family(run: RunDirectory) -> str:
    """The family of a labelled run that reward models learn from."""
    return "others" if (run.folder("label") / "others").exists() else "demonstrations"


def dataset_folder(run: RunDirectory, family: str) -> epath.Path:
    """Where the TFDS data set of a family lies."""
    (version,) = (run.folder("label") / family / "tfds" / "prm_code").iterdir()
    return version


def _files(run: RunDirectory, pattern: str) -> list[epath.Path]:
    """Files that labelling left, of all families."""
    run.record_of("label")
    folder = run.folder("label")
    found = sorted(folder.glob(f"*/{pattern}"))
    if not found:
        raise UserError(
            f"{folder} is finished, but has no */{pattern}: copy the whole folder, or delete it and label again"
        )
    return found


def _label(experiment: Experiment, folder: epath.Path) -> dict[str, Any]:
    from prm_jax.labelling.beam import run_labelling
    from prm_jax.tasks.builder import build_dataset

    summary: dict[str, Any] = {}
    for family, (problems, config) in families(experiment).items():
        with Progress(f"label {family}", SHARDS) as progress:
            run_labelling(
                problems,
                folder / family,
                config,
                experiment.sandbox,
                shards=SHARDS,
                progress=lambda done, _: progress.update(done),
                rewrites=_rewrites(experiment, config, problems),
            )
        build_dataset(folder / family, folder / family / "tfds")
        card = json.loads((folder / family / "card.json").read_text())
        for line in summary_of(card):
            print(f"label {family}: {line}")
        for problem_id, reason in card["skipped"].items():
            print(f"label: {problem_id} left out: {reason}")
        summary |= {f"{family}_programs": card["programs"], f"{family}_problems": card["problems"]}
    write_record(folder, problems_of(experiment.problems, "practice"))
    return summary


def _rewrites(experiment: Experiment, config: LabelConfig, problems: Sequence[Problem]) -> Mapping[str, Sequence[Edit]]:
    """What the teacher writes in the place of the references' steps."""
    if not config.rewrites_per_step:
        return {}
    from prm_jax.labelling.teacher import rewrite_steps
    from prm_jax.stages.completions import complete_with
    from prm_jax.stages.workbench import load_policy, load_tokenizer, mesh_of, writer_of

    teacher = RunDirectory(config.teacher)
    writer = writer_of(experiment, load_tokenizer(teacher))
    with mesh_of(experiment) as mesh:
        policy = complete_with(writer, load_policy(experiment, teacher, "sft", writer.model, mesh))
        return rewrite_steps(problems, policy, config.rewrites_per_step, config.seed)
