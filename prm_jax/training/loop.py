"""The training loop of every supervised stage: steps, metrics, evaluation, early stopping, checkpoints.

The SFT, PRM and ORM stages call `fit` with a train step from `step.py`, an iterator of numpy batches from `data.py`
and a function that evaluates. `fit` resumes from what it finds in its directory and reaches the same bits as a run
that nobody interrupted: nothing that it decides depends on time, and all that it decides from is in the checkpoint.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from prm_jax.ahead.memory import check_fits
from prm_jax.errors import Interrupted, UserError
from prm_jax.training.checkpoint import Checkpointer
from prm_jax.training.finite import first_not_finite, leaf_name
from prm_jax.training.interrupt import StopRequest
from prm_jax.training.metrics import MetricsWriter
from prm_jax.training.progress import Progress
from prm_jax.training.state import TrainState
from prm_jax.training.step import NOT_FINITE, TrainStep

Evaluate = Callable[[Any, int], dict[str, float]]

SMALLER = (
    "set ModelConfig.remat=True, or give gin/meshes/fsdp.gin (several devices) or gin/lora.gin (adapters), or divide "
    "sft/LearningConfig.batch_size (prm/ of a reward model) by K and multiply sft/OptimizerConfig.accumulate, "
    "warmup_steps and total_steps and sft/FitConfig.steps, evaluate_every and checkpoint_every by K"
)
"""What makes a step fit."""


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How long to train, and how often to look.

    Attributes:
      steps: calls of the train step in all.
      evaluate_every: steps between evaluations; there is one after the last step too.
      checkpoint_every: steps between checkpoints; there is one after the last step too.
      log_every: steps between rows of metrics.
      patience: evaluations in a row without improvement after which training stops; 0 never stops early.
      min_delta: by how much the monitored metric must rise to count as an improvement.
      seed: seed of the run. A checkpoint of another seed is refused, since it could not be continued to the bits of
        any run.
    """

    steps: int = 1000
    evaluate_every: int = 100
    checkpoint_every: int = 100
    log_every: int = 10
    patience: int = 0
    min_delta: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("steps", "evaluate_every", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"FitConfig.{name} is {getattr(self, name)}; give 1 or more")
        if self.patience < 0 or self.min_delta < 0:
            raise UserError(
                f"FitConfig.patience is {self.patience}, min_delta {self.min_delta}; give 0 or more of each"
            )


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What training gave.

    Attributes:
      state: the state after the last step.
      best_params: parameters at the best evaluation of the monitored metric; the last ones where none is monitored, or
        where it never was a number.
      best: that evaluation's metric; NaN where there is none.
      history: the evaluations, each with its `step`.
      steps: steps made in all, those before a resume included.
      stopped_early: whether patience ran out.
    """

    state: TrainState
    best_params: Any
    best: float
    history: tuple[dict[str, float], ...]
    steps: int
    stopped_early: bool


@dataclasses.dataclass
class _Course:
    """What the loop decides from, beside the state; kept in the checkpoint's JSON."""

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: float | None = None
    failures: int = 0
    stopped_early: bool = False

    def improves(self, value: float, min_delta: float) -> bool:
        """Note an evaluation; NaN never improves, and is no failure before there is a number to fall behind.

        Gives whether it is the best so far.
        """
        better = not math.isnan(value) and (self.best is None or value > self.best + min_delta)
        self.best = value if better else self.best
        self.failures = 0 if self.best is None or better else self.failures + 1
        return better


def _place(batch: Any) -> Any:
    return jax.tree.map(jnp.asarray, batch)


def _copy(tree: Any) -> Any:
    # The train step gives its state's buffers away, so what is to be kept needs buffers of its own.
    return jax.tree.map(jnp.copy, tree)


class _Fit:
    """One run of `fit`: the loop's variables, and what happens at its occasions."""

    def __init__(
        self,
        config: FitConfig,
        state: TrainState,
        evaluate: Evaluate | None,
        monitor: str | None,
        checkpoints: Checkpointer,
        label: str,
    ) -> None:
        self.config, self.evaluate, self.monitor, self.checkpoints = config, evaluate, monitor, checkpoints
        self.state, self.course, self.label = state, _Course(), label
        self.best_params = None if monitor is None else _copy(state.params)
        self.saved_step: int | None = None
        # Metrics on the device, by step, whose values nobody has looked at yet.
        self.unseen: dict[int, dict[str, Any]] = {}
        self.finite_step = 0  # The latest at which all parameters were seen to be finite.

    def resume(self) -> int:
        """Take up the latest checkpoint; the step from which to go on, 0 where there is none."""
        found = self.checkpoints.resume(self._tree())
        if found is None:
            return 0
        step, tree, extra = found
        if extra.get("seed") != self.config.seed:
            raise UserError(
                f"the checkpoint in {self.checkpoints.directory} was made with seed {extra.get('seed')}, the "
                f"configuration says {self.config.seed}; give that seed, or another directory"
            )
        self.state, self.best_params = tree["state"], tree.get("best_params")
        self.course = _Course(**extra["course"])
        self.saved_step = step
        return step

    def save(self, step: int) -> None:
        """Save all that a resumed run needs; once per step."""
        if self.saved_step == step:
            return
        self.check_finite()
        extra = {"seed": self.config.seed, "course": dataclasses.asdict(self.course)}
        self.checkpoints.save(step, self._tree(), extra)
        self.saved_step = step

    def check_start(self, step: int) -> None:
        """Raise UserError where the parameters before the first step of this session are not finite."""
        if (name := self._bad_parameter()) is not None:
            raise UserError(f"{self.label}: {name} is not finite before step {step + 1}; start from other parameters")
        self.finite_step = step

    def check_finite(self) -> dict[str, float]:
        """Fetch the metrics not looked at, give the last; raise UserError at the first thing that is not finite.

        Steps give their parameters away, and one bad gradient ruins all of them: what can be told of a bad step are its
        gradients, and at which step the parameters were finite. They are looked at here, not in the step.
        """
        fetched, self.unseen = jax.device_get(self.unseen), {}
        for step, metrics in fetched.items():
            gradient = int(metrics.pop(NOT_FINITE, -1))
            of = "" if gradient < 0 else f"; the first bad gradient by name is that of {self._name(gradient)}"
            for name in ("loss", "grad_norm"):
                if not math.isfinite(metrics.get(name, 0.0)):
                    raise self._ruined(
                        f"{name} is {float(metrics[name])} at step {step} (all parameters were finite at step "
                        f"{self.finite_step}{of})"
                    )
        if fetched:
            if (bad := self._bad_parameter()) is not None:
                raise self._ruined(f"{bad} is not finite after step {max(fetched)}, whose loss and gradients are")
            self.finite_step = max(fetched)
        return {name: float(value) for name, value in fetched[max(fetched)].items()} if fetched else {}

    def _name(self, number: int) -> str:
        return leaf_name(self.state.params, number)

    def _bad_parameter(self) -> str | None:
        """The name of the first parameter that is not finite."""
        number = int(first_not_finite(self.state.params))
        return None if number < 0 else self._name(number)

    def _ruined(self, told: str) -> UserError:
        return UserError(
            f"{self.label}: {told}; {self.checkpoints.last_good()}: lower the learning rate or look at the data, and "
            "run again"
        )

    def evaluate_at(self, step: int, writer: MetricsWriter) -> dict[str, float]:
        """Evaluate, note it, and keep the parameters if they are the best so far."""
        if self.evaluate is None:
            return {}
        metrics = {name: float(value) for name, value in self.evaluate(self.state.params, step).items()}
        self.course.history.append({"step": step, **metrics})
        writer.write(step, {f"evaluation/{name}": value for name, value in metrics.items()})
        if self.monitor is None:
            return metrics
        if self.monitor not in metrics:
            raise UserError(f"monitor is {self.monitor!r}, but evaluation gives {', '.join(sorted(metrics))}")
        if self.course.improves(metrics[self.monitor], self.config.min_delta):
            self.best_params = _copy(self.state.params)
        self.course.stopped_early = 0 < self.config.patience <= self.course.failures
        return metrics

    def result(self, step: int) -> FitResult:
        best = math.nan if self.course.best is None else self.course.best
        # Where nothing was the best, `best_params` are those that training began with.
        params = self.state.params if math.isnan(best) else self.best_params
        return FitResult(self.state, params, best, tuple(self.course.history), step, self.course.stopped_early)

    def _tree(self) -> dict[str, Any]:
        best = {} if self.best_params is None else {"best_params": self.best_params}
        return {"state": self.state, **best}


def fit(
    config: FitConfig,
    state: TrainState,
    train_step: TrainStep,
    batches_from: Callable[[int], Iterator[Any]],
    *,
    directory: epath.PathLike,
    evaluate: Evaluate | None = None,
    monitor: str | None = None,
    place: Callable[[Any], Any] = _place,
    label: str = "training",
    keep: int = 2,
) -> FitResult:
    """Train, from the latest checkpoint in `directory` or from `state`.

    Args:
      config: how long, how often.
      state: the state before the first step; its buffers are given away. Its shapes and shardings are those of the
        checkpoint that is resumed.
      train_step: from `step.make_train_step`.
      batches_from: gives the batches from a step on (0 is the first), always the same ones for the same step.
      directory: checkpoints go to `<directory>/checkpoints`, metrics to `<directory>`.
      evaluate: `(params, step) -> metrics`; must not keep the parameters, whose buffers are given away after it.
      monitor: the metric of `evaluate` to maximise: it chooses `best_params` and stops early.
      place: puts a numpy batch onto the devices; under a mesh, `parallel.shardings.shard_batch`.
      label: what the progress bar is called.
      keep: number of checkpoints kept.

    Returns:
      The `FitResult`; at once where the directory holds a finished run.

    Raises:
      Interrupted: asked to stop by SIGINT or SIGTERM; saved.
      UserError: the loss or a parameter is not finite, the batches end early, a step does not fit into the devices'
        memory, or the checkpoint is of another shape or seed.
    """
    if monitor is not None and evaluate is None:
        raise UserError(f"monitor is {monitor!r}, but nothing evaluates; give evaluate, or no monitor")
    directory = epath.Path(directory)
    with Checkpointer(directory / "checkpoints", keep) as checkpoints:
        run = _Fit(config, state, evaluate, monitor, checkpoints, label)
        start = run.resume()
        if start >= config.steps or run.course.stopped_early:
            return run.result(start)
        run.check_start(start)
        progress, batches = Progress(label, config.steps, start), batches_from(start)
        if hasattr(train_step, "trace") and (first := next(batches, None)) is not None:
            # Before anything is written here, so that where the stage has written nothing either, a corrected
            # configuration may have the directory.
            check_fits(f"{label} step", train_step.trace(run.state, place(first)), SMALLER, progress.say)
            batches = itertools.chain([first], batches)
        with (
            StopRequest() as stop,
            MetricsWriter(directory, start, enabled=jax.process_index() == 0) as writer,
            progress,
        ):
            if start:
                progress.say(f"{label}: going on from step {start}")
            step = _steps(run, train_step, batches, start, place, stop, writer, progress)
            if monitor is not None and run.course.best is None:
                progress.say(
                    f"{label}: {monitor} never was a number, so the last parameters are kept, not the best ones"
                )
        return run.result(step)


def _steps(
    run: _Fit,
    train_step: TrainStep,
    batches: Iterator[Any],
    start: int,
    place: Callable[[Any], Any],
    stop: StopRequest,
    writer: MetricsWriter,
    progress: Progress,
) -> int:
    """The steps from `start` on, until the last, an early stop or a request to stop; gives the step reached."""
    config, step, logged_at, logged_step = run.config, start, time.monotonic(), start
    for step in range(start + 1, config.steps + 1):
        batch = next(batches, None)
        if batch is None:
            raise UserError(f"the batches end before step {step} of {config.steps}; give fewer steps or more data")
        run.state, run.unseen[step] = train_step(run.state, place(batch))
        last = step == config.steps
        logs = last or step % config.log_every == 0
        if logs:
            # The only wait for the device between evaluations: all other steps are handed over unseen.
            metrics = run.check_finite()
            rate = (step - logged_step) / (time.monotonic() - logged_at)
            named = {f"train/{name}": value for name, value in metrics.items()}
            writer.write(step, named, timings={"train/steps_per_second": rate})
            progress.update(step, metrics if "loss" not in metrics else {"loss": metrics["loss"]})
            logged_at, logged_step = time.monotonic(), step
        if last or step % config.evaluate_every == 0:
            progress.update(step, run.evaluate_at(step, writer))
        stopping = stop.agreed() if logs or jax.process_count() == 1 else False
        if last or stopping or run.course.stopped_early or step % config.checkpoint_every == 0:
            writer.flush()  # A resumed run goes on with the rows up to its checkpoint.
            run.save(step)
        if stopping:
            where = run.checkpoints.directory
            run.checkpoints.wait()
            raise Interrupted(
                f"Saved step {step} of {config.steps} in {where}; run the same command again to go on from there.",
                stop.preempted,
            )
        if run.course.stopped_early:
            break
    return step
