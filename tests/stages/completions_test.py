"""A policy that goes on with beginnings of programs."""

import dataclasses

import jax
import numpy as np

from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.problems.problem import Problem
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.sampling.sample import Completions
from prm_jax.stages import completions
from prm_jax.stages.completions import complete_with
from prm_jax.stages.workbench import Writer
from prm_jax.text.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()
MODEL = ModelConfig(vocab_size=TOKENIZER.vocab_size, width=16, layers=1, heads=2, kv_heads=1, mlp_width=16)
WRITER = Writer(MODEL, TOKENIZER, SamplingConfig(max_new_tokens=5), max_prompt=8)
PROBLEM = Problem("p", "hand", "train", "Give one.", "f", "", ())
BEGUN = "def f():\n"


def test_completions_begin_as_they_should():
    complete = complete_with(WRITER, init_policy(MODEL, jax.random.key(0)))
    pairs = [(PROBLEM, ""), (PROBLEM, BEGUN)]
    texts = complete(pairs, 3, 0)
    assert [len(group) for group in texts] == [3, 3]
    assert all(text.startswith(BEGUN.removesuffix("\n")) for text in texts[1])
    assert texts == complete(pairs, 3, 0) != complete(pairs, 3, 1)
    assert complete([], 3, 0) == []


def test_the_policy_reads_prompt_and_beginning_and_closes_the_line_itself(monkeypatch):
    read = []

    def sample_many(params, prompts, seeds, **options):
        read.extend(TOKENIZER.decode(row[:length]) for row, length in zip(prompts.tokens, prompts.lengths, strict=True))
        ids = [*TOKENIZER.encode("\n 1\n"), TOKENIZER.eos_id]
        tokens = np.tile(np.array(ids, np.int32), (len(read), 1))
        return Completions(tokens, np.zeros(tokens.shape), np.full(len(read), len(ids)), np.ones(len(read), bool))

    monkeypatch.setattr(completions, "sample_many", sample_many)
    stopped = dataclasses.replace(WRITER, sampling=SamplingConfig(max_new_tokens=5, stop=("1",)))
    assert complete_with(stopped, {})([(PROBLEM, BEGUN)], 1, 0) == [["def f():\n "]]
    read.clear()
    assert complete_with(WRITER, {})([(PROBLEM, BEGUN)], 2, 0) == [["def f():\n 1\n"] * 2]
    assert read == ["Give one.\ndef f():"] * 2
