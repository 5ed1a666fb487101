"""The controls: which of the policy's own programs `rft` learns from, and that it runs as an arm."""

import json

import numpy as np
import pytest

from prm_jax.batches import PromptBatch
from prm_jax.errors import UserError
from prm_jax.sampling.sample import Completions
from prm_jax.stages.controls import sft_rows


def test_own_programs_become_rows_with_labels_on_what_was_sampled():
    prompts = PromptBatch(np.array([[1, 5, 0], [1, 6, 7], [1, 8, 0]]), np.array([2, 3, 2]), np.zeros(3, np.int32))
    sampled = np.array([[11, 2, 0, 0], [12, 13, 14, 2], [15, 2, 0, 0]], np.int32)
    written = Completions(sampled, np.zeros((3, 4), np.float32), np.array([2, 4, 2]), np.ones(3, bool))
    rows = sft_rows(prompts, written, np.array([True, True, True]), length=6)
    # The second is longer than a row; the others do not fit into one.
    np.testing.assert_array_equal(rows.tokens, [[1, 5, 11, 2, 0, 0], [1, 8, 15, 2, 0, 0]])
    np.testing.assert_array_equal(rows.labels, [[0, 0, 1, 1, 0, 0]] * 2)
    with pytest.raises(UserError, match="^no program of at most 3 tokens.*is left to learn from: raise TextConfig"):
        sft_rows(prompts, written, np.array([True, True, True]), length=3)
    (packed,) = sft_rows(prompts, written, np.array([True, False, True]), length=9).segments
    np.testing.assert_array_equal(packed, [1, 1, 1, 1, 2, 2, 2, 2, 0])


ALL_PASS = """
from prm_jax.execution.verdict import Outcome
from prm_jax.ppo.verify import Verified
from prm_jax.stages import attempts
attempts.verify = lambda problems, texts, *_, **__: [Verified(Outcome.PASSED)] * len(texts)
"""


@pytest.mark.slow
def test_rft_runs_as_an_arm_and_refuses_to_learn_from_nothing(command, tiny, run_without):
    folder = run_without()
    arguments = ("ppo", *tiny, "--gin_file=gin/ablations/rft.gin", f"--run_dir={folder}")
    # Hardly trained, the tiny policy solves nothing.
    _, told = command(*arguments, status=2)
    assert "none of the 16 programs" in told
    command(*arguments, before=ALL_PASS)
    summary = json.loads((folder / "ppo/rft/done.json").read_text())["summary"]
    assert summary["samples"] == summary["passed"] == 16 >= summary["learnt_from"] > 0
    assert (folder / "ppo/rft/params").exists()
