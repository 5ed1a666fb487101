"""Command `score`: a program and its problem in, the program with the PRM's score on each line out."""

from __future__ import annotations

import math

from etils import epath

from prm_jax.errors import UserError
from prm_jax.evaluation.score import ScoredProgram, score_programs
from prm_jax.execution.sandbox import Sandbox
from prm_jax.labelling.label import label_samples
from prm_jax.labelling.labelled_program import Label
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.problem_sets import find_problem
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import load_scorer, load_tokenizer, mesh_of, model_config, token_scorer
from prm_jax.text.steps import split_steps

MARKS = {Label.RIGHT: "right", Label.WRONG: "WRONG", Label.NEUTRAL: ""}


def score(experiment: Experiment, run_dir: str, file: str, problem: str) -> None:
    """Prints a program with, on each line, p(the program can still come right) and what the interpreter found.

    Args:
      experiment: the experiment.
      run_dir: its run directory, with a trained PRM.
      file: the program.
      problem: id of a problem of the experiment.

    Raises:
      UserError: the program cannot be read or judged, or there is no such problem or no PRM.
    """
    text = _read(file)
    run = RunDirectory(run_dir)
    found = find_problem(experiment.problems, problem)
    tokenizer = load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    with mesh_of(experiment) as mesh, Sandbox(experiment.sandbox) as sandbox:
        scorer = token_scorer(load_scorer(experiment, run, "prm", model, mesh), model)
        (row,) = label_samples([(found, text)], sandbox, experiment.labels)
        if row is None:
            raise UserError(
                f"the sandbox could not judge {file!r} twice alike: repeat the command, or mend the program"
            )
        (scored,) = score_programs(scorer, [row], tokenizer, experiment.text.max_length, batch_size=1)
    print(f"{found.id}: {found.prompt}\n")
    print("\n".join(_lines(scored)))
    print(f"\nverdict on the visible tests: {row.outcome}")


def _read(file: str) -> str:
    path = epath.Path(file)
    if not path.is_file():
        raise UserError(f"no program {file!r}: give the path of a Python file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file!r} cannot be read ({error}): give a Python file in UTF-8") from error


def _lines(scored: ScoredProgram) -> list[str]:
    """One line per physical line; a step's score and label stand on its last one."""
    lines = scored.labelled.text.split("\n")
    told = {}
    for step, label, value in zip(
        split_steps(scored.labelled.text), scored.labelled.labels, scored.scores, strict=True
    ):
        shown = "    " if math.isnan(value) else f"{value:.2f}"
        told[step.last_line if step.kind != "end" else len(lines)] = f"{shown}  {MARKS[label]:5}"
    return [f"{told.get(number, ''):12}| {text}" for number, text in enumerate(lines, start=1)]
