"""What the SFT policy writes for practice problems, and what the interpreter says of it.

The control `rft` learns from it, screening counts what passes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence

from etils import epath

from prm_jax.batches import PromptBatch
from prm_jax.execution.grade import reference_limits
from prm_jax.execution.sandbox import Sandbox
from prm_jax.parallel.hosts import divided
from prm_jax.ppo.rollout import step_table
from prm_jax.ppo.verify import Verified, verify
from prm_jax.problems.problem import Problem
from prm_jax.sampling.sample import Completions
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import host_journal, load_policy, load_tokenizer, mesh_of, writer_of
from prm_jax.training.progress import Progress


@dataclasses.dataclass(frozen=True)
class Attempts:
    """Programs, those of a problem together, all fields with one entry for each program.

    Attributes:
      prompts: what they answer.
      written: what was sampled.
      texts: the same as text.
      problems: the problems.
      verified: what the interpreter says of them on the visible tests.
    """

    prompts: PromptBatch
    written: Completions
    texts: tuple[str, ...]
    problems: tuple[Problem, ...]
    verified: tuple[Verified, ...]


def attempts(
    experiment: Experiment, run: RunDirectory, problems: Sequence[Problem], samples: int, folder: epath.Path, label: str
) -> Attempts:
    """Lets the SFT policy write `samples` programs for each problem at the temperature of PPO, and runs them.

    Args:
      experiment: says how.
      run: where the SFT policy is.
      problems: as `practice_problems` gives them.
      samples: programs for each.
      folder: where the verdicts go, which a resumed run replays.
      label: what the progress bar is called.
    """
    tokenizer = load_tokenizer(run)
    writer = writer_of(experiment, tokenizer, experiment.ppo.temperature)
    with mesh_of(experiment) as mesh, Progress(label, len(problems) * samples) as progress:
        policy = load_policy(experiment, run, "sft", writer.model, mesh)

        def say(line: str) -> None:
            progress.say(f"{label}: {line}")

        writer = dataclasses.replace(writer, progress=progress.add, say=say)
        prompts, written = writer.completions(policy, problems, samples, experiment.seed)
    texts = step_table(prompts, written, tokenizer).texts
    answered = [problems[row // samples] for row in range(len(texts))]
    journal = host_journal(folder)
    with contextlib.closing(journal), Sandbox(experiment.sandbox, journal) as sandbox:
        judge = functools.partial(
            verify,
            exact=False,
            sandbox=sandbox,
            limits=reference_limits(problems, sandbox),
            config=experiment.labels,
            in_child=experiment.ppo.in_child_tests,
        )
        verified = divided(lambda own: judge(answered[own], texts[own]), len(texts))
    return Attempts(prompts, written, tuple(texts), tuple(answered), tuple(verified))
