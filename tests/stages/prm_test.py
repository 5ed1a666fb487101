"""What the PRM and its blind twin learn from: programs with and without prompts, with and without operators."""

import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.stages.own_programs import without_prompt
from prm_jax.stages.prm import rows_without
from prm_jax.text.step_map import program_row
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import ByteTokenizer


def test_the_twin_sees_the_same_program_and_labels_behind_an_empty_prompt():
    tokenizer = ByteTokenizer()
    text = "def f(x):\n    return x\n"
    ids, start = program_row("Give x back.", text, tokenizer)
    blind_ids, blind_start = program_row("", text, tokenizer)
    labels = np.arange(len(ids)) % 3 + int(Label.NEUTRAL)
    tokens, kept = without_prompt(np.array(ids, np.int32), labels, start, tokenizer)
    assert tokens.tolist() == blind_ids and tokens.dtype == np.int32
    assert kept[blind_start:].tolist() == labels[start:].tolist()
    assert set(kept[:blind_start]) == {int(Label.NEUTRAL)}


def labelled(text, operator, *labels):
    ends = tuple(step.end for step in split_steps(text))
    return LabelledProgram("p", "toy", "train", "Do.", text, ends, labels, True, operator, "mutation", "passed")


def test_rows_without_an_operator():
    tokenizer = ByteTokenizer()
    right, wrong, neutral = Label.RIGHT, Label.WRONG, Label.NEUTRAL
    programs = [
        labelled("a = 1\n", "reference", right, right),
        labelled("a = 2\n", "off_by_one", wrong, neutral),
        labelled("b = 12\n", "wrong_start", neutral, wrong),
        labelled("c = 3\n", "reference", neutral, neutral),
        labelled(f"d = {'1' * 80}\n", "reference", right, right),
    ]
    rows = rows_without(programs, ("off_by_one",), tokenizer, 40, prompt=True)
    kept = [tokenizer.decode(row[ids > 0]) for row, ids in zip(rows.tokens, rows.segments, strict=True)]
    assert "".join(kept) == "Do.\na = 1\nDo.\nb = 12\n"
    # Of each program the last two ids are the newline and `eos`; all others are neutral.
    ends = [label for label in rows.labels[rows.segments > 0] if label != neutral]
    assert ends == [right, right, wrong]
    bare = rows_without(programs, ("off_by_one", "wrong_start"), tokenizer, 40, prompt=False)
    assert tokenizer.decode(bare.tokens[bare.segments > 0]) == "\na = 1\n"
    with pytest.raises(UserError, match="no program of at most 40 tokens.*or leave fewer programs out"):
        rows_without(programs, ("off_by_one", "wrong_start", "reference"), tokenizer, 40, prompt=True)
    with pytest.raises(UserError, match="off_by_two.*off_by_one"):
        rows_without(programs, ("off_by_two",), tokenizer, 40, prompt=True)
