"""Which practice problems PPO draws from: those that the SFT policy solves now and then.

The stage `ppo` screens once for all arms, where `PpoConfig.screening` asks for it, and takes from the prompts what is
left.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
from etils import epath

from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.parallel.processes import is_first
from prm_jax.stages.attempts import attempts
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import practice_problems
from prm_jax.stages.problem_sets import sources_of
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.training.data import load_prompts

_STAGE = "screening"
_FILE = "problems.json"
"""The ids of the problems that are left, in the order of `practice_problems`."""


def screen(experiment: Experiment, run: RunDirectory) -> None:
    """Finds the problems of which some of the SFT policy's programs pass, and not all, into `<run_dir>/screening`.

    Raises:
      UserError: they are fewer than a rollout draws.
    """
    config = experiment.ppo
    configuration = {
        "sft": run.fingerprint_of("sft"),
        "samples": config.screening,
        "temperature": config.temperature,
        "in_child_tests": config.in_child_tests,
        "practice": sources_of(experiment.problems, "practice"),
        "labels": experiment.labels,
        "sampling": experiment.sampling,
        "text": experiment.text,
        "dtype": experiment.model.dtype,
        "seed": experiment.seed,
    }
    run.stage(_STAGE, configuration, functools.partial(_screen, experiment, run))
    found, least = run.record_of(_STAGE)["summary"], config.prompts_per_update
    if found["left"] < least:
        raise UserError(
            f"{found['left']} of {found['problems']} practice problems are solved by some of {config.screening} "
            f"programs of the SFT policy and not by all, fewer than PpoConfig.prompts_per_update = {least}: "
            f"lower that; or delete {run.folder(_STAGE)} and raise PpoConfig.screening, or train SFT for longer; or "
            "practise all problems with PpoConfig.screening = 0"
        )


def screened_prompts(experiment: Experiment, run: RunDirectory) -> PromptBatch:
    """The prompts of PPO: all that the tasks serve, or those whose problems are left after screening.

    Raises:
      UserError: the problems are to be screened and have not been.
    """
    prompts = load_prompts(run.folder("tasks") / "prompts")
    if not experiment.ppo.screening:
        return prompts
    run.record_of(_STAGE)
    left = set(json.loads((run.folder(_STAGE) / _FILE).read_text()))
    practice = practice_problems(experiment, run)
    rows = np.array([practice[index].id in left for index in prompts.problem])
    return PromptBatch(*(field[rows] for field in prompts))


def _screen(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    samples = experiment.ppo.screening
    practice = practice_problems(experiment, run)
    served = load_prompts(run.folder("tasks") / "prompts").problem
    problems = [practice[index] for index in sorted(served)]
    tried = attempts(experiment, run, problems, samples, folder, _STAGE)
    known, passed = (
        np.array([getattr(entry, name) for entry in tried.verified]).reshape(-1, samples).sum(axis=1)
        for name in ("known", "passed")
    )
    left = [problem.id for problem, wrote, won in zip(problems, known, passed, strict=True) if 0 < won < wrote]
    if is_first():
        write_json(folder / _FILE, left)
    return {
        "problems": len(problems),
        "never_solved": int((passed == 0).sum()),
        "always_solved": int((passed == known).sum() - (known == 0).sum()),
        "left": len(left),
        "pass_rate": float(passed.sum() / max(known.sum(), 1)),
    }
