"""Labelling as an Apache Beam pipeline: problems in, shards of labelled programs and a card out.

The stage `label` calls `run_labelling`. A shard is a fixed part of the problems (every n-th), labelled by a worker
that owns one sandbox and written whole; a shard that is there for the same configuration is not done again, which
is how interrupted work resumes. Beam is imported here only, since that takes seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from etils import epath

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.card import card
from prm_jax.labelling.card_text import markdown
from prm_jax.labelling.jsonl import TESTS, read_labelled, write_labelled, write_tests, write_text
from prm_jax.labelling.label import LabelConfig, label_problems
from prm_jax.labelling.splice import Edit
from prm_jax.labelling.tally import Tally
from prm_jax.problems.problem import Problem

Progress = Callable[[int, int], None]
_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Shard:
    """One part of the work.

    Attributes:
      path: the file of rows; the tally stands beside it.
      fingerprint: hash of all that the rows depend on.
      problems: the problems to label.
      rewrites: what a teacher wrote for them.
    """

    path: str
    fingerprint: str
    problems: tuple[Problem, ...]
    rewrites: Mapping[str, Sequence[Edit]]

    @property
    def tally_path(self) -> epath.Path:
        """Where the tally and the fingerprint are kept."""
        path = epath.Path(self.path)
        return path.with_name(path.name.replace("labelled-", "tally-").replace(".jsonl", ".json"))

    def read_tally(self) -> Tally | None:
        """The tally of a finished shard; None where the shard is not done for this fingerprint."""
        if not epath.Path(self.path).exists() or not self.tally_path.exists():
            return None
        data = json.loads(self.tally_path.read_text())
        if data["fingerprint"] != self.fingerprint:
            return None
        return Tally.from_json(data["tally"])


class LabelShard(beam.DoFn):
    """Labels and writes shards, with one sandbox for the worker's life; gives the path of each."""

    def __init__(self, config: LabelConfig, sandbox: SandboxConfig) -> None:
        """Takes configurations only, since a sandbox cannot be sent to a worker."""
        self._config = config
        self._sandbox_config = sandbox
        self._sandbox: Sandbox | None = None

    def setup(self) -> None:
        """Makes the sandbox; it starts at the first program."""
        self._sandbox = Sandbox(self._sandbox_config)

    def process(self, element: Shard) -> Iterator[str]:  # type: ignore[override]
        """Labels one shard."""
        assert self._sandbox is not None
        tally = Tally()
        rows = label_problems(element.problems, self._sandbox, self._config, tally, element.rewrites)
        path = epath.Path(element.path)
        # The rows of another configuration go first: a fingerprint never stands beside rows that are not its own.
        path.unlink(missing_ok=True)
        write_text(element.tally_path, json.dumps({"fingerprint": element.fingerprint, "tally": tally.as_json()}))
        write_labelled(path, rows)
        yield element.path

    def teardown(self) -> None:
        """Ends the sandbox."""
        if self._sandbox is not None:
            self._sandbox.close()


class LabelShards(beam.PTransform):
    """A collection of `Shard`s to the paths of the files written."""

    def __init__(self, config: LabelConfig, sandbox: SandboxConfig) -> None:
        """Takes how to label and how to run programs."""
        super().__init__()
        self._config = config
        self._sandbox = sandbox

    def expand(self, input_or_inputs: beam.PCollection) -> beam.PCollection:
        """Spreads the shards over the workers and labels them."""
        return input_or_inputs | beam.Reshuffle() | beam.ParDo(LabelShard(self._config, self._sandbox))


def run_labelling(
    problems: Sequence[Problem],
    output_dir: epath.PathLike,
    label_config: LabelConfig,
    sandbox_config: SandboxConfig,
    *,
    shards: int = 8,
    runner: str = "DirectRunner",
    workers: int = 1,
    progress: Progress | None = None,
    rewrites: Mapping[str, Sequence[Edit]] | None = None,
) -> epath.Path:
    """Labels problems and writes `labelled-00000-of-….jsonl`, `generated_tests.jsonl` and the card.

    Args:
      problems: the problems of all splits; the rows keep the split.
      output_dir: where to write; any path that `epath` knows.
      label_config: how to label.
      sandbox_config: how to run programs.
      shards: number of files, at most one per problem.
      runner: `"DirectRunner"` for this machine, or the name of another Beam runner.
      workers: threads of the DirectRunner, each with a sandbox, which itself uses all cores unless told otherwise.
      progress: called with the number of finished shards and of all shards.
      rewrites: by problem id what a teacher wrote in the place of steps of the reference, see `teacher.py`.

    Returns:
      The output directory.

    Raises:
      UserError: where a file cannot be written.
    """
    directory = epath.Path(output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    parts = _shards(problems, directory, label_config, max(1, min(shards, len(problems))), rewrites or {})
    _remove_others(directory, parts)
    missing = [part for part in parts if part.read_tally() is None]
    with _watched(parts, progress), _interruptible():
        if missing:
            with beam.Pipeline(runner=_runner(runner), options=_options(runner, workers)) as pipeline:
                _ = pipeline | beam.Create(missing) | LabelShards(label_config, sandbox_config)
    _write_card(directory, parts)
    return directory


def _shards(
    problems: Sequence[Problem],
    directory: epath.Path,
    config: LabelConfig,
    count: int,
    rewrites: Mapping[str, Sequence[Edit]],
) -> list[Shard]:
    parts = []
    for i in range(count):
        own = tuple(problems[i::count])
        taught = {problem.id: rewrites[problem.id] for problem in own if rewrites.get(problem.id)}
        path = directory / f"labelled-{i:05d}-of-{count:05d}.jsonl"
        parts.append(Shard(str(path), _fingerprint(own, config, taught), own, taught))
    return parts


def _fingerprint(problems: Sequence[Problem], config: LabelConfig, rewrites: Mapping[str, Sequence[Edit]]) -> str:
    taught = {name: [dataclasses.astuple(edit) for edit in edits] for name, edits in rewrites.items()}
    parts = [dataclasses.asdict(config), [dataclasses.asdict(problem) for problem in problems], taught]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _remove_others(directory: epath.Path, parts: Sequence[Shard]) -> None:
    """Removes the shards of another partition, which readers of `labelled-*.jsonl` would take in."""
    own = {epath.Path(part.path).name for part in parts} | {part.tally_path.name for part in parts}
    for path in [*directory.glob("labelled-*.jsonl"), *directory.glob("tally-*.json")]:
        if path.name not in own:
            path.unlink()


def _runner(name: str) -> Any:
    # Beam's own DirectRunner would first try to download and start the Prism runner, a Go program.
    return FnApiRunner() if name == "DirectRunner" else name


def _options(name: str, workers: int) -> PipelineOptions:
    if name != "DirectRunner":
        return PipelineOptions()  # A distributed runner takes its options from the command line.
    mode = "multi_threading" if workers > 1 else "in_memory"
    return PipelineOptions([f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"])


@contextlib.contextmanager
def _watched(parts: Sequence[Shard], progress: Progress | None) -> Iterator[None]:
    """Reports finished shards while the body runs. It looks at the files, so it serves any runner."""
    if progress is None:
        yield
        return
    report, ended = progress, threading.Event()

    def watch() -> None:
        done = -1
        while not ended.wait(_POLL_SECONDS if done >= 0 else 0):
            now = sum(part.read_tally() is not None for part in parts)
            if now != done:
                done = now
                report(done, len(parts))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        ended.set()
        thread.join()
        report(len(parts), len(parts))
    finally:
        ended.set()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Gives back the KeyboardInterrupt that Beam turns into a RuntimeError of the step that was running."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            cause = cause.__cause__ or cause.__context__
        raise


def _write_card(directory: epath.Path, parts: Sequence[Shard]) -> None:
    tally = Tally()
    for part in parts:
        tally.add(part.read_tally() or Tally())
    rows = (row for part in parts for row in read_labelled(part.path))
    audit = card(rows, tally)
    write_text(directory / "card.json", json.dumps(audit, indent=2) + "\n")
    write_text(directory / "card.md", markdown(audit, directory.name))
    write_tests(directory / TESTS, tally.tests)
