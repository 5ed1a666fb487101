"""Screening: which problems are left, that PPO's rollouts hold no others, and that it is done once for all arms."""

import json
import shutil

import pytest

SOME_PASS = """
from prm_jax.execution.verdict import Outcome
from prm_jax.ppo.verify import Verified
from prm_jax.stages import attempts

def verdicts(problems, texts, *_, **__):
    # Of every third problem both programs pass, of every third one, of every third none.
    order = {problem.id: index for index, problem in enumerate(dict.fromkeys(problems))}
    seen = {}
    for problem in problems:
        turn = seen[problem.id] = seen.get(problem.id, 0) + 1
        passed = turn > order[problem.id] % 3
        yield Verified(Outcome.PASSED if passed else Outcome.WRONG_ANSWER)

attempts.verify = lambda *given, **named: list(verdicts(*given, **named))
"""
DRAWN = """
import numpy as np
from prm_jax.ppo import collect
draw = collect.Collector._draw
def drawn(self, index):
    prompts, seeds = draw(self, index)
    print("drawn", *(self.problems[row].id for row in np.asarray(prompts.problem)))
    return prompts, seeds
collect.Collector._draw = drawn
"""
ARMS = ("--gin_file=gin/ablations/outcome.gin", "--gin_file=gin/ablations/outcome_located.gin")
BOTH = "--gin.Experiment.arms=(@outcome/arms.Arm(), @outcome_located/arms.Arm())"


@pytest.mark.slow
def test_ppo_draws_from_the_problems_that_are_solved_at_times(command, tiny, run_without):
    folder = run_without("ppo", "evaluate")
    arguments = ("ppo", *tiny, *ARMS, BOTH, "--gin.PpoConfig.screening=2", f"--run_dir={folder}")
    # Hardly trained, the tiny policy solves nothing.
    _, told = command(*arguments, status=2)
    assert f"delete {folder}/screening and raise PpoConfig.screening" in told and not (folder / "ppo").exists()
    shutil.rmtree(folder / "screening")
    out, _ = command(*arguments, before=SOME_PASS + DRAWN)
    summary = json.loads((folder / "screening/done.json").read_text())["summary"]
    left = json.loads((folder / "screening/problems.json").read_text())
    each = summary["problems"] // 3
    assert summary["left"] == len(left) and abs(len(left) - each) <= 1
    assert abs(summary["never_solved"] - each) <= 1 and abs(summary["always_solved"] - each) <= 1
    drawn = {name for line in out.splitlines() if line.startswith("drawn") for name in line.split()[1:]}
    assert drawn and drawn <= set(left)
    assert out.count("screening: starting") == 1 and "ppo/outcome_located: done in" in out
    # What is left is counted against every configuration that goes on from it.
    _, told = command(*arguments, f"--gin.PpoConfig.prompts_per_update={len(left) + 1}", status=2)
    assert f"PpoConfig.prompts_per_update = {len(left) + 1}: lower that" in told
