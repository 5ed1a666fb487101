"""Beams of a policy and a scorer that are made up: what is sampled behind what, and which steps count."""

import dataclasses
import math
import types

import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.guided.beam import Draft, beam_search
from prm_jax.guided.config import GuidedConfig
from prm_jax.models.config import ModelConfig
from prm_jax.problems.problem import Problem
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import Completions
from prm_jax.stages import guided
from prm_jax.stages.experiment import TextConfig
from prm_jax.stages.workbench import Writer
from prm_jax.text.step_map import prompt_ids
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()
RULE = SamplingConfig(temperature=0.5, max_new_tokens=24, stop=("\nprint",))
WRITER = Writer(ModelConfig(vocab_size=TOKENIZER.vocab_size), TOKENIZER, RULE, max_prompt=12)
SHORT, LONG = (Problem(prompt, "hand", "test", prompt, "f", "", ()) for prompt in ("Add.", "Add it all up."))


@pytest.fixture
def sampled(monkeypatch):
    """Lines that the policy is to write, a row's the first of them, and the batches it was asked for."""
    lines, asked = [], []

    def sample(params, prompts, seeds, *, config, token_bytes, batch_size, say, **more):
        assert token_bytes == TOKENIZER.token_bytes and len(set(seeds.tolist())) == len(prompts.lengths) == batch_size
        asked.append((prompts, config))
        if say is not None:
            say(f"rows of {prompts.tokens.shape[1]}")
        ids = np.zeros((len(prompts.lengths), config.max_new_tokens), np.int32)
        lengths, finished = np.zeros(len(ids), np.int32), np.zeros(len(ids), bool)
        for row, line in enumerate([*lines, *[lines[-1]] * (len(ids) - len(lines))]):
            written = [*TOKENIZER.encode(line.removesuffix("$")), *[TOKENIZER.eos_id] * line.endswith("$")]
            ids[row, : len(written)], lengths[row], finished[row] = written, len(written), line.endswith("$")
        return Completions(ids, np.zeros(ids.shape, np.float32), lengths, finished)

    monkeypatch.setattr(guided, "sample_many", sample)
    return lines, asked


def _draft(text, ended=False):
    return Draft(tuple(TOKENIZER.encode(text)), text, ended)


def test_a_line_is_sampled_behind_the_prompt_and_the_draft(sampled):
    lines, asked = sampled
    lines[:] = ["x = 1\n", "y\n$", "  return"]
    extend = guided.extend_by_lines(WRITER, {})
    assert extend([SHORT] * 3, [Draft(), _draft("a\n"), _draft("b\n")], 0) == [
        _draft("x = 1\n"),
        _draft("a\ny\n", ended=True),
        _draft("b\n  return"),
    ]
    ((prompts, config),) = asked
    assert config == dataclasses.replace(RULE, stop=("\n",))
    rows = [row[:length].tolist() for row, length in zip(prompts.tokens, prompts.lengths, strict=True)]
    head = prompt_ids("Add.", TOKENIZER)
    # Filled up to a power of two.
    assert rows == [head] + [head + TOKENIZER.encode(text) for text in ("a\n", "b\n", "b\n")]


def test_a_draft_ends_at_a_stop_sequence_at_its_longest_and_where_its_prompt_is_too_long(sampled):
    lines, asked = sampled
    lines[:] = ["print(1)\n", "z" * 22]
    extend = guided.extend_by_lines(WRITER, {})
    stopped, unread, longest = extend([SHORT, LONG, SHORT], [_draft("a\n"), Draft(), _draft("b\n")], 0)
    assert (stopped.text, stopped.ended) == ("a", True)
    assert unread == Draft(ended=True)
    assert longest.ended and len(longest.ids) == 24
    lines[:] = ["print(1)\n", "z" * 24]
    _, longer, _ = extend([SHORT, SHORT, SHORT], [_draft("a\n"), _draft("b\n"), _draft("c\n")], 0)
    assert longer == _draft("b\n" + "z" * 22, ended=True)
    assert len(asked[0][0].lengths) == 2
    assert extend([LONG], [Draft()], 0) == [Draft(ended=True)] and len(asked) == 2


def test_what_decoding_needs_is_told_at_first_and_as_drafts_grow(sampled):
    lines, _ = sampled
    lines[:] = ["x\n"]
    told = []
    extend = guided.extend_by_lines(dataclasses.replace(WRITER, say=told.append), {})
    head = len(prompt_ids("Add.", TOKENIZER))
    assert extend([LONG], [Draft()], 0) == [Draft(ended=True)] and not told
    for length in (0, 1, guided.LINE_TOKENS, guided.LINE_TOKENS + 1, 3):
        extend([SHORT], [_draft("a" * length)], 0)
    assert told == [f"rows of {head}", f"rows of {head + guided.LINE_TOKENS + 1}"]


def test_a_beams_progress_adds_up_to_the_candidates_of_all_problems(sampled, monkeypatch):
    lines, _ = sampled
    lines[:] = ["x\n$", "y\n$"]
    monkeypatch.setattr(guided, "load_scorer", lambda *_: {})
    monkeypatch.setattr(guided, "token_scorer", lambda *_: lambda batch: np.zeros(batch.tokens.shape))
    experiment = types.SimpleNamespace(guided=GuidedConfig(candidates=2, beam_width=2), text=TextConfig(max_length=64))
    ended = []
    writer = dataclasses.replace(WRITER, progress=ended.append)
    complete = guided.guided_policy(experiment, None, writer, {}, "beam", None)
    assert complete([SHORT], 1, 0) == [["x\n"]]
    assert ended == [2]


def test_only_steps_that_nothing_can_change_are_scored():
    def score_steps(pairs):
        assert pairs == [("Add.", text) for text in ("a\nb", "a\nb", "a\n# c\n")]
        return [(0.9, 0.2, 0.1), (0.9, 0.2, 0.1), (0.7, math.nan, 0.1)]

    drafts = [_draft("a\nb"), _draft("a\nb", ended=True), _draft("a\n# c\n")]
    assert guided.score_drafts(score_steps, "min")([SHORT] * 3, drafts) == [0.9, 0.1, 0.7]


@pytest.mark.parametrize("text", ["# c\n", "\n", '"""d"""\n', "a = 1", "a = [\n"])
def test_a_draft_that_grows_has_no_score_before_a_step_of_code_is_closed(text):
    def score_steps(pairs):
        return [tuple(math.nan if step.neutral else 0.3 for step in split_steps(program)) for _, program in pairs]

    growing, ended = guided.score_drafts(score_steps, "min")([SHORT] * 2, [_draft(text), _draft(text, ended=True)])
    assert math.isnan(growing) and ended == 0.3


def test_a_beam_keeps_a_draft_that_opens_with_a_comment_until_its_code_is_scored():
    def extend(problems, drafts, seed):
        """One draft of the first sixteen opens with a comment; a program has two lines."""
        return [
            _draft(draft.text + ("# add\n" if not draft.text and number == 15 else f"a = {number}\n"), bool(draft.text))
            for number, draft in enumerate(drafts)
        ]

    def score_steps(pairs):
        """The PRM likes what follows the comment, and everything else as good as not at all."""
        return [
            tuple(
                math.nan if step.neutral else 0.99 if program.startswith("# add") else 0.05
                for step in split_steps(program)
            )
            for _, program in pairs
        ]

    search = beam_search(extend, guided.score_drafts(score_steps, "min"), GuidedConfig(candidates=16, beam_width=4))
    ((program,),) = search([SHORT], 1, 0)
    assert program.startswith("# add\na = ")


def test_a_draft_that_the_scorer_has_not_read_to_its_end_is_worth_nothing():
    def score_steps(pairs):
        return [(0.9, math.nan, math.nan)] * len(pairs)

    drafts = [_draft("a\nb", ended=True), _draft("a\nb")]
    assert guided.score_drafts(score_steps, "min")([SHORT] * 2, drafts) == [0.0, 0.9]


def test_a_greedy_policy_has_nothing_to_choose_from():
    greedy = dataclasses.replace(WRITER, sampling=dataclasses.replace(RULE, greedy=True))
    with pytest.raises(UserError, match="greedily"):
        guided.guided_policy(None, None, greedy, {}, "prm", None)


def test_unknown_methods_are_refused():
    with pytest.raises(UserError, match="'rpm'"):
        guided.guided_policy(None, None, WRITER, {}, "rpm", None)
