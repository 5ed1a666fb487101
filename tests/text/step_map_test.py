"""The map from given ids to steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_jax.labelling.labelled_program import Label
from prm_jax.text.step_map import program_row, render_prompt, step_end_tokens, token_labels
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import BpeTokenizer, ByteTokenizer

PROGRAM = 'def f(x):\n    # é\n\n    y = "漢"\n    return y'
BPE = BpeTokenizer.train([PROGRAM] * 5, 300)
N, W, R = Label.NEUTRAL, Label.WRONG, Label.RIGHT


@pytest.mark.parametrize("tokenizer", [BPE, ByteTokenizer()])
def test_each_step_ends_on_the_token_that_holds_its_last_byte(tokenizer):
    ids = [*tokenizer.encode(PROGRAM), tokenizer.eos_id]
    steps = split_steps(PROGRAM)
    ends = step_end_tokens(ids, tokenizer, steps)
    assert ends[-1] == len(ids) - 1
    assert ends[-2] == len(ids) - 2
    for step, end in zip(steps[:-1], ends, strict=False):
        before = sum(len(tokenizer.token_bytes(i)) for i in ids[:end])
        assert before < step.end <= before + len(tokenizer.token_bytes(ids[end]))


def test_a_cut_program_has_no_end_for_what_is_not_closed():
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode("a\nb\nf(\n")
    assert step_end_tokens(ids, tokenizer, split_steps("a\nb\nf(\n")) == [1, 3, -1, -1]
    assert step_end_tokens([*ids, tokenizer.eos_id, 0], tokenizer, split_steps("a\nb\nf(\n")) == [1, 3, 6, 7]
    assert step_end_tokens(ids[:3], tokenizer, split_steps("a\nb\n")) == [1, -1, -1]
    assert step_end_tokens([tokenizer.eos_id], tokenizer, split_steps("")) == [0]
    assert step_end_tokens([], tokenizer, split_steps("")) == [-1]


@given(st.lists(st.integers(2, BPE.vocab_size - 1), max_size=30), st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_ends_of_closed_steps_hold_for_any_sampled_ids_and_every_prefix(ids, cut):
    ids = [i for i in ids if i != BPE.eos_id]
    steps = split_steps(BPE.decode(ids))
    ends = step_end_tokens(ids, BPE, steps)
    prefix = ids[:cut]
    prefix_ends = [end for end in step_end_tokens(prefix, BPE, split_steps(BPE.decode(prefix))) if end >= 0]
    # A broken character at the cut decodes otherwise once it is whole, but holds no newline in either form.
    assert prefix_ends == ends[: len(prefix_ends)]
    assert all(-1 <= end < len(ids) for end in ends)


def test_rows_have_one_form():
    tokenizer = ByteTokenizer()
    ids, prompt_length = program_row("Add up. \n\n", "a\n", tokenizer)
    assert render_prompt("Add up. \n\n") == "Add up.\n"
    assert tokenizer.decode(ids[:prompt_length]) == "Add up.\n"
    assert ids[0] == tokenizer.bos_id
    assert ids[prompt_length:] == [*tokenizer.encode("a\n"), tokenizer.eos_id]


def test_labels_of_tokens():
    assert token_labels(5, [1, 3, 4], [R, N, W]) == [N, R, N, N, W]
    assert token_labels(3, [0, 0, 1, 1, 2, 2], [R, N, N, W, W, R]) == [R, W, W]
    assert token_labels(2, [0, -1], [R, W]) == [R, N]
    with pytest.raises(ValueError):
        token_labels(2, [0], [R, W])
