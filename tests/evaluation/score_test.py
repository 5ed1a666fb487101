"""Scores land on the steps that they were given for."""

import math

import numpy as np
import pytest

from prm_jax.evaluation.score import score_programs
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.text.step_map import program_row
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()
TEXTS = ["def f(x):\n    # é\n    y = [\n        x]\n    return y\n", "x = 1\n", "def f(x): return x"]


def labelled(text, prompt="Add one."):
    steps = split_steps(text)
    ends, labels = tuple(step.end for step in steps), tuple(Label.RIGHT for _ in steps)
    return LabelledProgram("p", "s", "test", prompt, text, ends, labels, True, "sample", "trace", "passed")


def position_scores(batch):
    """z = place in the row / 100, so that a score tells from which token it came."""
    return np.broadcast_to(np.arange(batch.tokens.shape[1]) / 100, batch.tokens.shape)


def places(scored):
    return [None if math.isnan(p) else round(100 * math.log(p / (1 - p))) for p in scored.scores]


@pytest.mark.parametrize("prompt", [True, False])
def test_each_step_has_the_score_of_its_last_token(prompt):
    rows = [labelled(text) for text in TEXTS]
    for row, scored in zip(rows, score_programs(position_scores, rows, TOKENIZER, 128, 2, prompt), strict=True):
        assert scored.labelled is row
        ids, before = program_row("Add one." if prompt else "", row.text, TOKENIZER)
        expected = [None if s.neutral else before + s.end - 1 for s in split_steps(row.text)[:-1]] + [len(ids) - 1]
        assert places(scored) == expected


def test_the_scorer_sees_whole_rows_in_few_shapes_and_no_prompt_when_blind():
    batches = []

    def scorer(batch):
        batches.append(batch)
        return position_scores(batch)

    score_programs(scorer, [labelled(text, "SECRET") for text in TEXTS * 3], TOKENIZER, 96, 4, prompt=False)
    assert {batch.tokens.shape[0] for batch in batches} == {4}
    assert {batch.tokens.shape[1] for batch in batches} <= {32, 64, 96}
    seen = [TOKENIZER.decode(row) for batch in batches for row in batch.tokens]
    assert sorted(filter(None, seen)) == sorted("\n" + text for text in TEXTS * 3)
    for batch in batches:
        lengths = (batch.tokens > 0).sum(axis=1)
        assert (batch.segments.sum(axis=1) == lengths).all()
        assert (batch.positions.max(axis=1) == np.maximum(lengths - 1, 0)).all()


def test_steps_beyond_the_longest_row_are_not_scored():
    row = labelled(TEXTS[0])
    before = program_row(row.prompt, "", TOKENIZER)[1]
    cut = before + split_steps(row.text)[2].end
    (scored,) = score_programs(position_scores, [row], TOKENIZER, cut, 1)
    assert places(scored) == [before + 9, None, cut - 1, None, None]
    (hidden,) = score_programs(position_scores, [row], TOKENIZER, before - 2, 1)
    assert places(hidden) == [None] * 5


def test_scores_are_probabilities_however_sure_the_head_is():
    for z in (-1e4, 1e4):
        (scored,) = score_programs(lambda b, z=z: np.full(b.tokens.shape, z), [labelled("x = 1\n")], TOKENIZER, 64, 1)
        assert set(scored.scores) == {0.0 if z < 0 else 1.0}


def test_labels_of_another_text_are_refused():
    row = labelled("x = 1\n")
    broken = LabelledProgram(**{**vars(row), "labels": row.labels[:1]})
    with pytest.raises(ValueError, match="1 labels for a program of 2 steps"):
        score_programs(position_scores, [broken], TOKENIZER, 64, 1)
