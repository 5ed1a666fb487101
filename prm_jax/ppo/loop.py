"""The PPO loop: updates, evaluation, logs, checkpoints.

The PPO stage calls `train` once per arm. `verify` and `evaluate` come in as callables, so that the loop knows neither
sandbox nor evaluation. It resumes from what it finds in its directory and reaches the same bits as a run that nobody
interrupted: all that it draws depends on the seed and the update's number, and all that it carries on is in the
checkpoint. What an update does is in `learner.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from prm_jax.batches import PromptBatch
from prm_jax.errors import Interrupted, UserError
from prm_jax.models.config import ModelConfig
from prm_jax.parallel.processes import is_first
from prm_jax.ppo.arms import Arm
from prm_jax.ppo.config import PpoConfig
from prm_jax.ppo.learner import Learner
from prm_jax.ppo.timeline import FILE_NAME, Span, seconds_by_phase, to_row
from prm_jax.ppo.verify import Verify
from prm_jax.problems.problem import Problem
from prm_jax.text.tokenizer import Tokenizer
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.finite import NotFinite
from prm_jax.training.interrupt import StopRequest
from prm_jax.training.metrics import MetricsWriter, StepRows
from prm_jax.training.progress import Progress

Evaluate = Callable[[Any, int], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class PpoResult:
    """What a run gave.

    Attributes:
      params: the policy after the last update.
      scorer_params: the PRM or ORM at the end, refreshed or not; None where the arm has none.
      history: the evaluations, each with its `step`.
      seconds: wall seconds by phase (`timeline.seconds_by_phase`) over the whole run, resumed parts included.
    """

    params: Any
    scorer_params: Any
    history: tuple[dict[str, float], ...]
    seconds: dict[str, float]


def train(
    config: PpoConfig,
    arm: Arm,
    *,
    model: ModelConfig,
    policy_params: Any,
    reference_params: Any,
    scorer_params: Any | None,
    prompts: PromptBatch,
    problems: Sequence[Problem],
    tokenizer: Tokenizer,
    verify: Verify,
    directory: epath.PathLike,
    evaluate: Evaluate | None = None,
    before_save: Callable[[], None] | None = None,
    label: str = "ppo",
    keep: int = 2,
) -> PpoResult:
    """Trains a policy with PPO, from the latest checkpoint in `directory` or from `policy_params`.

    Args:
      config: the run.
      arm: how it rewards.
      model: configuration of policy, reference and scorer.
      policy_params: the policy to start from; not given away.
      reference_params: the SFT policy of the KL term. With adapters its trunk is that of all networks.
      scorer_params: the PRM or ORM that the arm reads; None where it reads none.
      prompts: all prompts; `problem` indexes `problems`.
      problems: the host's table of problems.
      tokenizer: the policy's.
      verify: `(problems, texts, exact) -> list[Verified]`, see `verify.verify`.
      directory: checkpoints go to `<directory>/checkpoints`, metrics to `<directory>`.
      evaluate: `(params, step) -> metrics`; must not keep the parameters. Called every `evaluate_every` updates and
        after the last one, before the first as step 0.
      before_save: called before each checkpoint; keeps what `verify` and `evaluate` have found.
      label: what the progress bar is called.
      keep: number of checkpoints kept.

    Returns:
      The `PpoResult`; at once where the directory holds a finished run.

    Raises:
      Interrupted: asked to stop by SIGINT or SIGTERM; saved.
      UserError: the arm is a control without PPO or lacks its scorer, a program of an update does not fit into the
        devices' memory, too many verdicts are unknown, the update is not finite, or the checkpoint is of another arm,
        seed or shape.
    """
    if arm.control:
        raise UserError(f"arm {arm.name} is the control {arm.control!r}, which is no PPO; run it as its own stage")
    if arm.scorer is not None and scorer_params is None:
        raise UserError(f"arm {arm.name} reads a {arm.scorer}, but none was given; train it first")
    directory = epath.Path(directory)
    with (
        Checkpointer(directory / "checkpoints", keep) as checkpoints,
        contextlib.closing(
            Learner(config, arm, model, reference_params, prompts, problems, tokenizer, verify)
        ) as learner,
    ):
        learner.start(policy_params, scorer_params)
        run = _Run(config, arm, learner, evaluate, checkpoints, before_save)
        start = run.resume()
        if start < config.updates:
            # Before the first rollout, and before metrics and checkpoints; the stage's journal is there by then.
            learner.check_fits()
            with (
                StopRequest() as stop,
                _Log(directory, start) as log,
                Progress(label, config.updates, start) as progress,
            ):
                if start:
                    progress.say(f"{label}: going on from update {start}")
                run.updates(start, stop, log, progress)
        return run.result()


class _Log:
    """What a run writes while it goes on, on the first host: metrics, and the timeline of each update."""

    def __init__(self, directory: epath.Path, start: int) -> None:
        self._metrics = MetricsWriter(directory, start, enabled=is_first())
        self._timeline = StepRows(directory / FILE_NAME, start) if is_first() else None

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()
        if self._timeline is not None:
            self._timeline.close()

    def metrics(self, step: int, metrics: dict[str, float]) -> None:
        self._metrics.write(step, metrics)

    def update(self, step: int, metrics: dict[str, float], spans: Sequence[Span]) -> None:
        seconds = {f"seconds/{phase}": value for phase, value in seconds_by_phase(spans).items()}
        self._metrics.write(step, metrics, timings=seconds)
        if self._timeline is not None:
            self._timeline.write(step, to_row(spans))

    def flush(self) -> None:
        self._metrics.flush()
        if self._timeline is not None:
            self._timeline.flush()


class _Run:
    """One run of `train`: evaluation, checkpoints, and the order of things."""

    def __init__(
        self,
        config: PpoConfig,
        arm: Arm,
        learner: Learner,
        evaluate: Evaluate | None,
        checkpoints: Checkpointer,
        before_save: Callable[[], None] | None,
    ) -> None:
        self.config, self.arm, self.learner = config, arm, learner
        self.evaluate, self.checkpoints, self.before_save = evaluate, checkpoints, before_save
        self.history: list[dict[str, float]] = []
        self.saved: int | None = None

    def resume(self) -> int:
        """Takes up the latest checkpoint; the number of updates done, 0 where there is none."""
        checkpoint = self.checkpoints.resume(self.learner.tree())
        if checkpoint is None:
            return 0
        step, tree, extra = checkpoint
        wanted = {"arm": self.arm.name, "seed": self.config.seed}
        found = {name: extra.get(name) for name in wanted}
        if found != wanted:
            raise UserError(
                f"the checkpoint in {self.checkpoints.directory} was made with {found}, the configuration says "
                f"{wanted}; give that configuration, or another directory"
            )
        self.learner.take(tree)
        self.learner.seconds |= extra["seconds"]
        self.history, self.saved = extra["history"], step
        return step

    def updates(self, start: int, stop: StopRequest, log: _Log, progress: Progress) -> None:
        """All updates from number `start` on, or up to a request to stop."""
        if start == 0:
            self._evaluate_at(0, log)
        for done in range(start + 1, self.config.updates + 1):
            try:
                metrics, spans = self.learner.one_update(done - 1)
            except NotFinite as error:
                raise UserError(
                    f"{error}; {self.checkpoints.last_good()}: lower the learning rate and run again in another "
                    "directory"
                ) from error
            log.update(done, metrics, spans)
            last, every = done == self.config.updates, self.config.evaluate_every
            if last or (every and done % every == 0):
                self._evaluate_at(done, log)
            progress.update(done, {"pass": metrics["rollout/pass_rate"], "kl": metrics["update/kl"]})
            stopping = stop.agreed()
            if last or stopping or done % self.config.checkpoint_every == 0:
                self._save(done, log)
            if stopping and not last:
                self.checkpoints.wait()
                raise Interrupted(
                    f"Saved update {done} of {self.config.updates} in {self.checkpoints.directory}; run the same "
                    "command again to go on from there.",
                    stop.preempted,
                )

    def result(self) -> PpoResult:
        """What `train` gives."""
        learner = self.learner
        return PpoResult(learner.policy, learner.scorer, tuple(self.history), dict(learner.seconds))

    def _evaluate_at(self, step: int, log: _Log) -> None:
        if self.evaluate is None:
            return
        metrics = {name: float(value) for name, value in self.evaluate(self.learner.policy, step).items()}
        self.history.append({"step": step, **metrics})
        log.metrics(step, {f"evaluation/{name}": value for name, value in metrics.items()})

    def _save(self, step: int, log: _Log) -> None:
        if self.saved == step:
            return
        # No checkpoint is there before the rows and the verdicts that it depends on.
        log.flush()
        if self.before_save is not None:
            self.before_save()
        extra = {
            "arm": self.arm.name,
            "seed": self.config.seed,
            "history": self.history,
            "seconds": self.learner.seconds,
        }
        self.checkpoints.save(step, self.learner.tree(), extra)
        self.saved = step
