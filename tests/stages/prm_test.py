"""What the blind twin learns from: the PRM's own programs, behind an empty prompt."""

import numpy as np

from prm_jax.labelling.labelled_program import Label
from prm_jax.stages.prm import _without_prompt
from prm_jax.text.step_map import program_row
from prm_jax.text.tokenizer import ByteTokenizer


def test_the_twin_sees_the_same_program_and_labels_behind_an_empty_prompt():
    tokenizer = ByteTokenizer()
    text = "def f(x):\n    return x\n"
    ids, start = program_row("Give x back.", text, tokenizer)
    blind_ids, blind_start = program_row("", text, tokenizer)
    labels = np.arange(len(ids)) % 3 + int(Label.NEUTRAL)
    tokens, kept = _without_prompt(np.array(ids, np.int32), labels, start, tokenizer)
    assert tokens.tolist() == blind_ids and tokens.dtype == np.int32
    assert kept[blind_start:].tolist() == labels[start:].tolist()
    assert set(kept[:blind_start]) == {int(Label.NEUTRAL)}
