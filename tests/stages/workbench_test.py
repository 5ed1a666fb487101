"""The writer, where it has nothing to read."""

from prm_jax.models.config import ModelConfig
from prm_jax.problems.problem import Problem, Test
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.stages.workbench import Writer
from prm_jax.text.tokenizer import ByteTokenizer


def test_problems_whose_prompts_are_all_too_long_are_unsolved():
    problem = Problem("p", "hand", "test", "Too long.", "f", "def f():\n    return 1\n", (Test("f()", "1"),))
    writer = Writer(ModelConfig(vocab_size=259), ByteTokenizer(), SamplingConfig(), max_prompt=4)
    assert writer.texts({}, [problem, problem], 3, 0) == [["", "", ""], ["", "", ""]]
