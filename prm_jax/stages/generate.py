"""Command `generate`: a problem's id in, programs of a trained policy with their verdicts out, on the terminal.

The policy may be guided: then it writes more programs, and those that a PRM, an ORM or the majority prefers are shown.
"""

from __future__ import annotations

from prm_jax.errors import UserError
from prm_jax.execution.grade import grade, reference_limits
from prm_jax.execution.sandbox import Sandbox
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.guided import guided_policy
from prm_jax.stages.problem_sets import find_problem
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import load_policy, load_tokenizer, mesh_of, writer_of


def generate(
    experiment: Experiment,
    run_dir: str,
    problem: str,
    samples: int = 4,
    seed: int = 0,
    arm: str = "sft",
    guided: str | None = None,
) -> None:
    """Writes programs for one problem and runs them on all its tests.

    Args:
      experiment: the experiment.
      run_dir: its run directory.
      problem: id of a problem of the experiment.
      samples: number of programs.
      seed: of the sampling.
      arm: the policy: `"sft"` or the name of a trained arm.
      guided: what chooses the programs, see `guided.config.METHODS`; None for nothing.

    Raises:
      UserError: there are no samples, the seed is negative, there is no such problem, policy or method, or no scorer
        for it.
    """
    if samples < 1 or seed < 0:
        raise UserError(f"--samples is {samples} and --seed {seed}: give 1 or more programs and a seed of 0 or more")
    run = RunDirectory(run_dir)
    found = find_problem(experiment.problems, problem)
    writer = writer_of(experiment, load_tokenizer(run))
    with mesh_of(experiment) as mesh, Sandbox(experiment.sandbox) as sandbox:
        params = load_policy(experiment, run, arm if arm == "sft" else f"ppo/{arm}", writer.model, mesh)
        complete = writer.complete(params)
        if guided is not None:
            complete = guided_policy(experiment, run, writer, params, guided, sandbox, mesh)
        (texts,) = complete([found], samples, seed)
        limits = reference_limits([found], sandbox)
        verdicts = grade([(found, text) for text in texts], sandbox, hidden=True, limits=limits)
    print(f"{found.id}: {found.prompt}")
    for index, (text, verdict) in enumerate(zip(texts, verdicts, strict=True), start=1):
        why = f": {verdict.exception}" if verdict.exception else ""
        print(f"\n# {index}: {verdict.outcome}, {verdict.tests_passed} of {len(found.tests)} tests{why}")
        print(text.rstrip())
