"""The writer: prompts that it cannot read, and where its programs end."""

import numpy as np

from prm_jax.models.config import ModelConfig
from prm_jax.problems.problem import Problem, Test
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import Completions
from prm_jax.stages import workbench
from prm_jax.stages.workbench import Writer
from prm_jax.text.tokenizer import ByteTokenizer

PROBLEM = Problem("p", "hand", "test", "Too long.", "f", "def f():\n    return 1\n", (Test("f()", "1"),))


def test_problems_whose_prompts_are_all_too_long_are_unsolved():
    writer = Writer(ModelConfig(vocab_size=259), ByteTokenizer(), SamplingConfig(), max_prompt=4)
    assert writer.texts({}, [PROBLEM, PROBLEM], 3, 0) == [["", "", ""], ["", "", ""]]


def test_texts_end_before_a_stop_sequence_and_rows_to_train_on_do_not(monkeypatch):
    written, rules = "def f():\n    return 1\nprint", []

    def sample(params, prompts, seeds, *, config, **more):
        rules.append(config)
        ids = np.array([ByteTokenizer().encode(written)], np.int32)
        return Completions(ids, np.zeros(ids.shape, np.float32), np.array([ids.shape[1]]), np.zeros(1, bool))

    monkeypatch.setattr(workbench, "sample_many", sample)
    rule = SamplingConfig(stop=("\nprint",))
    writer = Writer(ModelConfig(vocab_size=259), ByteTokenizer(), rule, max_prompt=40)
    assert writer.texts({}, [PROBLEM], 1, 0) == [["def f():\n    return 1"]]
    writer.completions({}, [PROBLEM], 1, 0)
    assert rules == [rule, SamplingConfig()]
