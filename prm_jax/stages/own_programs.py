"""A policy's own programs as rows for a PRM: practice problems in, packed rows with step labels out.

The stage `prm` calls `own_rows`. Programs are labelled by trace against the reference, or by prefix search with the
policy that wrote them; their ids are those that were sampled. A card that audits the search stands beside the PRM, and
the verdicts, which a resumed run replays: another one would change the number of rows, and with it every batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Int

from prm_jax.batches import TokenBatch, pack_batch
from prm_jax.errors import UserError
from prm_jax.execution.sandbox import Sandbox
from prm_jax.labelling.card import card
from prm_jax.labelling.card_text import markdown
from prm_jax.labelling.label import label_samples
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.prefix_search import search_prefixes
from prm_jax.labelling.tally import Tally
from prm_jax.parallel.hosts import divided
from prm_jax.parallel.processes import is_first
from prm_jax.ppo.inputs import label_table
from prm_jax.ppo.online import labelled_rows
from prm_jax.ppo.rollout import assemble, step_table
from prm_jax.ppo.verify import from_labelled
from prm_jax.problems.problem import Problem
from prm_jax.stages.completions import complete_with
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.label import practice_problems
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.stages.workbench import Writer, host_journal, load_policy, load_tokenizer, mesh_of, writer_of
from prm_jax.text.step_map import prompt_ids
from prm_jax.text.tokenizer import Tokenizer

CARD = "own_programs"
"""The card of the programs that prefix search labelled, as JSON and as Markdown."""

_Programs = list[tuple[np.ndarray, np.ndarray]]
"""Ids and labels of each."""


def own_rows(experiment: Experiment, run: RunDirectory, length: int) -> tuple[TokenBatch, TokenBatch]:
    """The policies' own programs for practice problems, which they share, as packed rows of `length` tokens.

    Returns:
      The rows with their prompts, and without.

    Raises:
      UserError: nothing is known of any program.
    """
    config = experiment.prm_samples
    writer = writer_of(experiment, load_tokenizer(run))
    practice = practice_problems(experiment, run)
    chosen = np.random.default_rng(experiment.seed).permutation(len(practice))[: config.problems]
    programs: _Programs = []
    blind: _Programs = []
    judged: list[LabelledProgram] = []
    tally = Tally()
    with (
        mesh_of(experiment) as mesh,
        contextlib.closing(host_journal(run.folder("prm"))) as journal,
        Sandbox(experiment.sandbox, journal) as sandbox,
    ):
        for stage, share in zip(config.policies, np.array_split(chosen, len(config.policies)), strict=True):
            problems = [practice[index] for index in share]
            own, bare, rows = _written(experiment, run, stage, writer, problems, mesh, sandbox, tally)
            programs += own
            blind += bare
            judged += rows
    if config.search.completions and is_first():
        _write_card(run.folder("prm"), judged, tally)
    if not programs:
        raise UserError(
            "none of the policy's own programs could be labelled: raise PolicySamplesConfig.problems, or keep more of "
            "them with PrefixSearchConfig.revised_only = False"
        )
    return pack_batch(programs, length), pack_batch(blind, length)


def _written(
    experiment: Experiment,
    run: RunDirectory,
    stage: str,
    writer: Writer,
    problems: Sequence[Problem],
    mesh: Mesh,
    sandbox: Sandbox,
    tally: Tally,
) -> tuple[_Programs, _Programs, list[LabelledProgram]]:
    """What one policy wrote, with prompts, without, and as text; programs of which nothing is known are left out."""
    if not problems:
        return [], [], []
    config, tokenizer = experiment.prm_samples, writer.tokenizer
    params = load_policy(experiment, run, stage, writer.model, mesh)
    told = dataclasses.replace(writer, say=lambda line: print(f"prm, programs of {stage}: {line}", flush=True))
    prompts, written = told.completions(params, problems, config.samples_per_problem, experiment.seed)
    table = step_table(prompts, written, tokenizer)
    answered = (problems[i] for i in prompts.problem // config.samples_per_problem)
    pairs = list(zip(answered, table.texts, strict=True))
    if config.search.completions:
        complete = complete_with(writer, params)
        labelled = search_prefixes(pairs, complete, sandbox, config.search, experiment.labels, tally)
    else:
        labelled = divided(lambda own: label_samples(pairs[own], sandbox, experiment.labels), len(pairs))
    verified = [from_labelled(row) for row in labelled]
    rollout = assemble(prompts, written).replace(known=np.array([entry.known for entry in verified]))
    rows = labelled_rows(rollout, table.ends, label_table(verified, table.ends.shape[1]))
    sizes = (rows.segments > 0).sum(axis=1)
    kept = [row for row, entry in enumerate(verified) if entry.known]
    programs = [(rows.tokens[row, : sizes[row]], rows.labels[row, : sizes[row]]) for row in kept]
    blind = [
        without_prompt(tokens, labels, start, tokenizer)
        for (tokens, labels), start in zip(programs, prompts.lengths[kept], strict=True)
    ]
    return programs, blind, [row for row in labelled if row is not None]


def _write_card(folder: epath.Path, rows: Sequence[LabelledProgram], tally: Tally) -> None:
    audit = card(rows, tally)
    write_json(folder / f"{CARD}.json", audit)
    (folder / f"{CARD}.md").write_text(markdown(audit, "the policy's own programs"))


def without_prompt(
    tokens: Int[np.ndarray, " T"], labels: Int[np.ndarray, " T"], start: int, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """A program as the twin sees it: behind an empty prompt; `start` is the number of ids before the program."""
    before = prompt_ids("", tokenizer)
    neutral = [int(Label.NEUTRAL)] * len(before)
    return np.array([*before, *tokens[start:]], np.int32), np.array([*neutral, *labels[start:]], np.int32)
