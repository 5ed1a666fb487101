"""What several stages do with a finished stage's outcome: find its tokenizer, its parameters, and let a policy write.

Joins `models`, `sampling`, `training` and `execution`; called by the stages only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from etils import epath
from jax.sharding import Mesh

from prm_jax.batches import PromptBatch, TokenBatch
from prm_jax.errors import UserError
from prm_jax.evaluation.samples import Complete
from prm_jax.execution.grade import grade, reference_limits
from prm_jax.execution.journal import Journal
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome
from prm_jax.models.config import ModelConfig
from prm_jax.models.lora import whole
from prm_jax.models.policy import boxed_policy, boxed_trainable_policy, boxed_trainable_scorer, scores
from prm_jax.parallel.hosts import divided
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.parallel.shardings import constrain, init_shapes, shapes_in, shardings_in, state_shardings
from prm_jax.problems.problem import Problem
from prm_jax.sampling.engine import sample_many
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import Completions
from prm_jax.sampling.stops import before_stop
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import problems_for
from prm_jax.stages.pretrained import first_policy, pretrained_config
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.text import pretrained
from prm_jax.text.pretrained import PretrainedTokenizer
from prm_jax.text.step_map import prompt_ids
from prm_jax.text.tokenizer import BpeTokenizer, Tokenizer
from prm_jax.training.checkpoint import Checkpointer, DamagedCheckpoint
from prm_jax.training.data import batches
from prm_jax.training.state import TrainState, create

_LOG = logging.getLogger(__name__)

BoxedInit = Callable[[jax.Array], Any]
"""From a key to parameters boxed with their logical axes."""

SAMPLE_BATCH = 256
"""Requests decoded together: one compiled shape for every caller."""


def load_tokenizer(run: RunDirectory) -> BpeTokenizer | PretrainedTokenizer:
    """The tokenizer of the run's tasks."""
    run.record_of("tasks")
    return pretrained.load_tokenizer(run.folder("tasks") / "tokenizer.json")


def check_tasks(experiment: Experiment, run: RunDirectory) -> None:
    """Refuses tasks that were made for rows of other lengths, or prompts of another form.

    Raises:
      UserError: they were.
    """
    run.check("tasks", text=experiment.text, pretrained={"chat": experiment.pretrained.chat})


def model_config(experiment: Experiment, tokenizer: Tokenizer) -> ModelConfig:
    """The experiment's model, or that of the checkpoint it starts from, with its tokenizer's vocabulary."""
    if experiment.pretrained.path:
        return pretrained_config(experiment, tokenizer)
    return dataclasses.replace(experiment.model, vocab_size=tokenizer.vocab_size)


def save_params(folder: epath.Path, params: Any) -> None:
    """Leaves what was trained where `load_policy` and `load_scorer` look."""
    with Checkpointer(folder / "params", keep=1) as checkpoints:
        checkpoints.save(0, params)


def load_policy(
    experiment: Experiment, run: RunDirectory, stage: str, model: ModelConfig, mesh: Mesh | None = None
) -> Any:
    """The finished policy of a stage, `sft` or `ppo/<arm>`, sharded over the mesh if there is one."""
    run.record_of(stage)
    still = frozen_parts(experiment, run, model, mesh)
    if still and stage == "sft" and not model.lora.sft:
        return still
    return whole(_load(run.folder(stage), functools.partial(boxed_trainable_policy, model), mesh), still)


def load_scorer(
    experiment: Experiment, run: RunDirectory, stage: str, model: ModelConfig, mesh: Mesh | None = None
) -> Any:
    """The finished scorer of a stage, `prm` or `orm`, sharded over the mesh if there is one."""
    run.record_of(stage)
    own = _load(run.folder(stage), functools.partial(boxed_trainable_scorer, model), mesh)
    return whole(own, frozen_parts(experiment, run, model, mesh))


def frozen_parts(experiment: Experiment, run: RunDirectory, model: ModelConfig, mesh: Mesh | None) -> dict[str, Any]:
    """What all networks of a run share, the same arrays in every call: the trunk where adapters are trained."""
    if not model.lora.rank:
        return {}
    return _shared_trunk(experiment, None if model.lora.sft else run.folder("sft"), model, mesh)


@functools.lru_cache(maxsize=1)  # Every stage asks for every network: this keeps the trunk one.
def _shared_trunk(
    experiment: Experiment, sft: epath.Path | None, model: ModelConfig, mesh: Mesh | None
) -> dict[str, Any]:
    """The policy that SFT left in a folder, or what it starts from."""
    if sft is None:
        return first_policy(experiment, model, mesh or make_mesh(MeshConfig(), jax.devices()[:1]))
    return _load(sft, functools.partial(boxed_policy, model.without_lora()), mesh)


def _load(folder: epath.Path, boxed_init: BoxedInit, mesh: Mesh | None) -> Any:
    if mesh is None:
        abstract = nn.unbox(jax.eval_shape(boxed_init, jax.random.key(0)))
    else:
        abstract = init_shapes(boxed_init, mesh)
    try:
        with Checkpointer(folder / "params", keep=1) as checkpoints:
            return checkpoints.restore(0, abstract)
    except DamagedCheckpoint as error:
        raise UserError(f"{error}; delete it and the done.json of its stage, and run that stage again") from error


@contextlib.contextmanager
def mesh_of(experiment: Experiment) -> Iterator[Mesh]:
    """The experiment's mesh, set for all that is traced inside."""
    mesh = make_mesh(experiment.mesh)
    with jax.set_mesh(mesh):
        yield mesh


def sharded_train_state(
    params: Any, boxed_init: BoxedInit, optimizer: optax.GradientTransformation, mesh: Mesh
) -> tuple[TrainState, TrainState]:
    """A training state on the mesh, with the shardings of its leaves.

    Args:
      params: the parameters to start from; copied.
      boxed_init: an initialiser of such parameters that names their logical axes.
      optimizer: what is to train them.
      mesh: where.
    """
    shardings = shardings_in(train_state_shapes(boxed_init, optimizer, mesh))
    return jax.jit(functools.partial(create, tx=optimizer), out_shardings=shardings)(params), shardings


def train_state_shapes(boxed_init: BoxedInit, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """The shapes of such a state, each with its sharding."""
    params = init_shapes(boxed_init, mesh)
    state = jax.eval_shape(functools.partial(create, tx=optimizer), params)
    return shapes_in(state, state_shardings(state, shardings_in(params), mesh))


def host_batches(rows: TokenBatch, batch_size: int, seed: int, start: int) -> Iterator[TokenBatch]:
    """This host's part of the batches of `batch_size` rows, from a step on."""
    return batches(rows, batch_size, seed, start, jax.process_index(), jax.process_count())


def host_journal(folder: epath.Path) -> Journal:
    """The verdicts that this host found, which a resumed run replays, so that it reaches the same bits."""
    host = jax.process_index()
    return Journal(folder / (f"verdicts-{host}.jsonl" if host else "verdicts.jsonl"))


def prompt_batch(problems: Sequence[Problem], tokenizer: Tokenizer, max_prompt: int) -> PromptBatch:
    """The prompts of problems as the policy reads them, `[len(problems), max_prompt]`.

    Raises:
      UserError: if a prompt is longer than `max_prompt` tokens.
    """
    rows = [prompt_ids(problem.prompt, tokenizer) for problem in problems]
    tokens = np.zeros((len(rows), max_prompt), np.int32)
    for index, (problem, row) in enumerate(zip(problems, rows, strict=True)):
        if len(row) > max_prompt:
            raise UserError(
                f"the prompt of {problem.id} has {len(row)} tokens and TextConfig.max_prompt is {max_prompt}: raise it"
            )
        tokens[index, : len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    return PromptBatch(tokens, lengths, np.arange(len(rows), dtype=np.int32))


@dataclasses.dataclass(frozen=True)
class Writer:
    """A way to let policies of one shape write programs.

    Attributes:
      model: the policies' shape.
      tokenizer: the policies' tokenizer.
      sampling: how to sample.
      max_prompt: tokens of a prompt, padding included.
      say: takes a line that tells what decoding needs of each device, before it begins.
      progress: called with the number of programs that have ended since its last call.
    """

    model: ModelConfig
    tokenizer: Tokenizer
    sampling: SamplingConfig
    max_prompt: int
    say: Callable[[str], None] | None = None
    progress: Callable[[int], None] | None = None

    def completions(
        self, params: Any, problems: Sequence[Problem], samples: int, seed: int
    ) -> tuple[PromptBatch, Completions]:
        """`samples` completions for each problem, those of a problem together, with the prompts they go with.

        Stop sequences are not read: these are rows to train on.
        """
        return self._sample(params, problems, samples, seed, dataclasses.replace(self.sampling, stop=()))

    def _sample(
        self, params: Any, problems: Sequence[Problem], samples: int, seed: int, sampling: SamplingConfig
    ) -> tuple[PromptBatch, Completions]:
        repeated = [problem for problem in problems for _ in range(samples)]
        prompts = prompt_batch(repeated, self.tokenizer, self.max_prompt)
        seeds = np.random.default_rng(seed).integers(2**32, size=len(repeated), dtype=np.uint32)
        written = sample_many(
            params,
            prompts,
            seeds,
            model=self.model,
            config=sampling,
            eos_id=self.tokenizer.eos_id,
            batch_size=min(SAMPLE_BATCH, len(repeated)),
            token_bytes=self.tokenizer.token_bytes,
            progress=self.progress,
            say=self.say,
        )
        return prompts, written

    def texts(self, params: Any, problems: Sequence[Problem], samples: int, seed: int) -> list[list[str]]:
        """`samples` programs for each problem; empty ones where its prompt is longer than `max_prompt` tokens.

        They end before the first of the rule's stop sequences.
        An unread problem is an unsolved one: leaving it out would flatter the policy.
        """
        lengths = [len(prompt_ids(problem.prompt, self.tokenizer)) for problem in problems]
        readable = [problem for problem, length in zip(problems, lengths, strict=True) if length <= self.max_prompt]
        if len(readable) < len(problems):
            unread = [problem.id for problem, length in zip(problems, lengths, strict=True) if length > self.max_prompt]
            _LOG.warning("prompts longer than %d tokens count as failed: %s", self.max_prompt, ", ".join(unread[:8]))
        if not readable:
            return [[""] * samples for _ in problems]
        _, written = self._sample(params, readable, samples, seed, self.sampling)
        texts = (
            before_stop(self.tokenizer.decode(tokens[: length - finished]), self.sampling.stop)
            for tokens, length, finished in zip(written.tokens, written.lengths, written.finished, strict=True)
        )
        return [[next(texts) if length <= self.max_prompt else "" for _ in range(samples)] for length in lengths]

    def complete(self, params: Any) -> Complete:
        """`texts` of one policy, as evaluation asks for it."""
        return lambda problems, samples, seed: self.texts(params, problems, samples, seed)


def writer_of(experiment: Experiment, tokenizer: Tokenizer, temperature: float | None = None) -> Writer:
    """The experiment's writer, at its own temperature or at another one."""
    sampling = experiment.sampling
    if temperature is not None:
        greedy = temperature == 0
        sampling = dataclasses.replace(sampling, temperature=1.0 if greedy else temperature, greedy=greedy)
    return Writer(model_config(experiment, tokenizer), tokenizer, sampling, experiment.text.max_prompt)


class PassRate:
    """pass@1 of a policy on fixed problems, as training's evaluation hook: always the same seeds, all tests."""

    def __init__(self, writer: Writer, problems: Sequence[Problem], samples: int, sandbox: Sandbox, seed: int) -> None:
        self._writer, self._problems, self._samples = writer, problems, samples
        self._sandbox, self._seed = sandbox, seed
        self._limits = reference_limits(problems, sandbox)

    def __call__(self, params: Any, step: int) -> dict[str, float]:
        """The metric `pass_at_1` over all samples whose verdict is known."""
        del step
        texts = self._writer.texts(params, self._problems, self._samples, self._seed)
        pairs = [(problem, text) for problem, group in zip(self._problems, texts, strict=True) for text in group]
        verdicts = divided(lambda own: grade(pairs[own], self._sandbox, hidden=True, limits=self._limits), len(pairs))
        known = [verdict for verdict in verdicts if verdict.outcome != Outcome.UNKNOWN]
        return {"pass_at_1": sum(verdict.outcome == Outcome.PASSED for verdict in known) / max(len(known), 1)}


def validation_pass_rate(experiment: Experiment, run: RunDirectory, sandbox: Sandbox, samples: int = 1) -> PassRate:
    """pass@1 on the validation problems: what learning curves and checkpoints go by."""
    problems = problems_for(experiment, run, "validation")
    return PassRate(writer_of(experiment, load_tokenizer(run)), problems, samples, sandbox, experiment.seed)


def token_scorer(params: Any, model: ModelConfig) -> Callable[[TokenBatch], np.ndarray]:
    """A scorer's raw scores `[B, T]` of a batch, as `evaluation.score` asks for it."""
    return lambda batch: np.asarray(_scores(params, model, batch.tokens, batch.segments, batch.positions))


@functools.partial(jax.jit, static_argnums=1)
def _scores(params: Any, model: ModelConfig, *rows: jax.Array) -> jax.Array:
    # Whole on every device, so that each host can read them.
    return constrain(scores(params, model, *rows), None, None)
