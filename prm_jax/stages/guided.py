"""A trained policy, guided: by the PRM, the ORM, the majority of behaviour, or a beam of lines that the PRM scores.

Joins `guided` with `sampling`, `evaluation` and `execution`. The stage `evaluate` and the command `generate` take what
`guided_policy` gives for a policy like any other.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from prm_jax.batches import PromptBatch
from prm_jax.evaluation.samples import Complete
from prm_jax.evaluation.score import score_steps
from prm_jax.execution.sandbox import Sandbox
from prm_jax.guided.beam import Draft, Extend, ScoreDrafts, beam_search
from prm_jax.guided.behaviour import by_majority
from prm_jax.guided.best_of import ScoreSteps, best_of, by_steps, of_whole, program_score
from prm_jax.guided.config import check_method, check_varied
from prm_jax.problems.problem import Problem
from prm_jax.sampling.engine import sample_many
from prm_jax.sampling.stops import before_stop
from prm_jax.stages.experiment import Experiment
from prm_jax.stages.prm import SCORE_BATCH
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import SAMPLE_BATCH, Writer, load_scorer, token_scorer
from prm_jax.text.step_map import prompt_ids
from prm_jax.text.steps import split_steps

LINE_TOKENS = 64
"""Tokens sampled at a time for a line of a beam; a longer line goes on the next time."""


def guided_policy(
    experiment: Experiment,
    run: RunDirectory,
    writer: Writer,
    params: Any,
    method: str,
    sandbox: Sandbox,
    mesh: Mesh | None = None,
) -> Complete:
    """A policy that writes more programs than it gives.

    Args:
      experiment: the experiment; its `guided` says how many.
      run: the run with the scorer that the method needs.
      writer: how the policy writes.
      params: the policy's.
      method: one of `guided.config.METHODS`.
      sandbox: runs programs whose behaviour is compared.
      mesh: where the scorer is to lie; set by the caller.

    Raises:
      UserError: there is no such method, its scorer has not been trained here, or the writer is greedy.
    """
    check_method(method)
    check_varied(method, writer.sampling.greedy)
    config, scorer, complete = experiment.guided, scorer_of(method), writer.complete(params)
    if scorer is None:
        return best_of(complete, by_majority(sandbox.run, config.generated, experiment.seed), config.candidates)
    aggregate = "last" if scorer == "orm" else config.aggregate
    score = functools.partial(
        score_steps,
        token_scorer(load_scorer(experiment, run, scorer, writer.model, mesh), writer.model),
        tokenizer=writer.tokenizer,
        # The longest row that is written, eos included, though the scorer may have learnt from shorter ones: the end of
        # a program is what it is chosen by.
        max_length=max(experiment.text.max_length, writer.max_prompt + writer.sampling.max_new_tokens + 1),
        batch_size=SCORE_BATCH,
    )
    if method == "beam":
        return beam_search(extend_by_lines(writer, params), score_drafts(score, aggregate), config, writer.progress)
    return best_of(complete, by_steps(score, aggregate), config.candidates)


def scorer_of(method: str) -> str | None:
    """The stage whose network a method reads; None for the majority of behaviour."""
    return {"prm": "prm", "beam": "prm", "orm": "orm"}.get(method)


def score_drafts(score: ScoreSteps, aggregate: str) -> ScoreDrafts:
    """Scores drafts by the steps that are closed, and by the end of the program where it has ended.

    One that grows and has no such step that is scored has no score yet: NaN.
    """

    def scores(problems: Sequence[Problem], drafts: Sequence[Draft]) -> list[float]:
        pairs = [(problem.prompt, draft.text) for problem, draft in zip(problems, drafts, strict=True)]
        return [_draft_score(draft, steps, aggregate) for draft, steps in zip(drafts, score(pairs), strict=True)]

    return scores


def _draft_score(draft: Draft, scores: Sequence[float], aggregate: str) -> float:
    """The score of a draft, from those of its steps."""
    settled = _settled(draft, scores)
    unknown = not draft.ended and all(math.isnan(value) for value in settled)
    return math.nan if unknown else program_score(settled, aggregate)


def _settled(draft: Draft, scores: Sequence[float]) -> list[float]:
    """The scores of the steps that nothing can change any more."""
    if draft.ended:
        return of_whole(scores)
    steps = split_steps(draft.text)
    return [value for step, value in zip(steps, scores, strict=True) if step.closed]


def extend_by_lines(writer: Writer, params: Any) -> Extend:
    """Drafts grow by what the policy writes up to the end of a line; those whose prompt is too long end empty.

    What decoding needs is told before the first line, and again each time that the longest draft has grown by
    `LINE_TOKENS`.
    """
    told = 0  # Tokens of a row, up to which that has been told.

    def extend(problems: Sequence[Problem], drafts: Sequence[Draft], seed: int) -> list[Draft]:
        nonlocal told
        heads = [prompt_ids(problem.prompt, writer.tokenizer) for problem in problems]
        rows = [
            [*head, *draft.ids] for head, draft in zip(heads, drafts, strict=True) if len(head) <= writer.max_prompt
        ]
        say = None
        if (longest := max(map(len, rows), default=0)) > told:
            say, told = writer.say, longest + LINE_TOKENS
        lines = iter(_lines(writer, params, rows, seed, say) if rows else ())
        return [
            _longer(writer, draft, *next(lines))
            if len(head) <= writer.max_prompt
            else dataclasses.replace(draft, ended=True)
            for head, draft in zip(heads, drafts, strict=True)
        ]

    return extend


def _lines(
    writer: Writer, params: Any, rows: Sequence[list[int]], seed: int, say: Callable[[str], None] | None
) -> list[tuple[tuple[int, ...], bool]]:
    """What the policy writes behind each row up to the end of a line, and whether it has ended its program."""
    # Every number of rows would be a program to compile: the last row fills up to a power of two.
    rows = [*rows, *[rows[-1]] * ((1 << (len(rows) - 1).bit_length()) - len(rows))]
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), lengths.max()), np.int32)
    for filled, row in zip(tokens, rows, strict=True):
        filled[: len(row)] = row
    rule = writer.sampling
    written = sample_many(
        params,
        PromptBatch(tokens, lengths, np.arange(len(rows), dtype=np.int32)),
        np.random.default_rng(seed).integers(2**32, size=len(rows), dtype=np.uint32),
        model=writer.model,
        config=dataclasses.replace(rule, stop=("\n",), max_new_tokens=min(LINE_TOKENS, rule.max_new_tokens)),
        eos_id=writer.tokenizer.eos_id,
        batch_size=min(SAMPLE_BATCH, len(rows)),
        token_bytes=writer.tokenizer.token_bytes,
        say=say,
    )
    return [
        (tuple(ids[: length - finished].tolist()), bool(finished))
        for ids, length, finished in zip(written.tokens, written.lengths, written.finished, strict=True)
    ]


def _longer(writer: Writer, draft: Draft, line: tuple[int, ...], finished: bool) -> Draft:
    """The draft with one line more."""
    rule = writer.sampling
    ids = (*draft.ids, *line)[: rule.max_new_tokens]
    written = writer.tokenizer.decode(ids)
    text = before_stop(written, rule.stop)
    return Draft(ids, text, finished or text != written or len(ids) == rule.max_new_tokens)
