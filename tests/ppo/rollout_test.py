"""Rows from prompts and completions, and where the steps of given ids end."""

import types

import numpy as np

from prm_jax.batches import PromptBatch
from prm_jax.ppo import rollout
from prm_jax.text.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()


def make(prompts: list[str], programs: list[tuple[str, bool]], width: int = 24):
    """Prompts and completions as the sampler gives them; the flag says whether `eos` was reached."""
    rows = [[TOKENIZER.bos_id, *TOKENIZER.encode(prompt)] for prompt in prompts]
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), lengths.max()), np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    sampled = np.zeros((len(programs), width), np.int32)
    counts = []
    for i, (text, finished) in enumerate(programs):
        ids = TOKENIZER.encode(text) + [TOKENIZER.eos_id] * finished
        sampled[i, : len(ids)] = ids
        counts.append(len(ids))
    logprobs = np.where(sampled > 0, -1.0 - np.arange(width)[None, :], 0.0).astype(np.float32)
    completions = types.SimpleNamespace(
        tokens=sampled,
        logprobs=logprobs,
        lengths=np.array(counts, np.int32),
        finished=np.array([finished for _, finished in programs]),
    )
    return PromptBatch(tokens, lengths, np.arange(len(rows), dtype=np.int32)), completions


def test_rows_hold_prompt_and_completion_side_by_side():
    prompts, completions = make(["ab\n", "c\n"], [("x = 1\n", True), ("yy", False)])
    got = rollout.assemble(prompts, completions)
    length = prompts.tokens.shape[1] + completions.tokens.shape[1]
    assert got.tokens.shape == (2, length)
    row = [TOKENIZER.bos_id, *TOKENIZER.encode("ab\nx = 1\n"), TOKENIZER.eos_id]
    np.testing.assert_array_equal(got.tokens[0], row + [0] * (length - len(row)))
    np.testing.assert_array_equal(np.flatnonzero(got.completion[0]), range(4, 11))
    np.testing.assert_array_equal(np.flatnonzero(got.completion[1]), [3, 4])
    np.testing.assert_array_equal(got.logprobs[0, 4:11], -1.0 - np.arange(7))
    assert not got.logprobs[~got.completion].any()
    np.testing.assert_array_equal(got.segments.sum(axis=1), [11, 5])
    np.testing.assert_array_equal(got.positions[1], [0, 1, 2, 3, 4] + [0] * (length - 5))


def test_steps_end_where_the_given_ids_end_them():
    program = "x = 1\n# no\ny = 2\n"
    prompts, completions = make(["ab\n", "ab\n"], [(program, True), (program[:-2], False)])
    table = rollout.step_table(prompts, completions, TOKENIZER)
    assert table.texts == (program, program[:-2])
    start = 4
    kinds = [step.kind for step in table.steps[0]]
    assert kinds == ["code", "comment", "code", "end"]
    np.testing.assert_array_equal(table.ends[0, :4], [start + 5, start + 10, start + 16, start + 17])
    np.testing.assert_array_equal(table.scored[0, :4], [True, False, True, True])
    # Cut by length: the open line and the end of the program are not scored.
    np.testing.assert_array_equal(table.scored[1, :4], [True, False, False, False])
    assert not table.scored[:, 4:].any()


def test_an_empty_program_has_its_end_scored():
    prompts, completions = make(["a"], [("", True)])
    table = rollout.step_table(prompts, completions, TOKENIZER)
    assert table.scored[0].sum() == 1
    assert table.ends[0][table.scored[0]] == 2


def test_repeated_prompts_stay_in_groups():
    prompts, _ = make(["a", "bc"], [("", True)] * 2)
    got = rollout.repeat_prompts(prompts, 3)
    np.testing.assert_array_equal(got.problem, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(got.lengths, [2, 2, 2, 3, 3, 3])


def test_unknown_rows_are_outside_the_mask():
    prompts, completions = make(["a", "b"], [("x", True)] * 2)
    got = rollout.assemble(prompts, completions).replace(known=np.array([True, False]))
    assert got.mask[0].sum() == 2 and not got.mask[1].any()
