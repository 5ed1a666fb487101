"""A policy that starts from a published checkpoint, and one that goes back to where others can load it."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.samples import read_samples
from prm_jax.models.checkpoint_load import load_policy, load_scorer, open_checkpoint
from prm_jax.models.checkpoint_save import save_policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.sampling.rules import SamplingConfig
from prm_jax.stages.experiment import Experiment, PretrainedConfig, ProblemSets, TextConfig
from prm_jax.stages.pretrained import checkpoint_at, pretrained_config, tokenizer_at
from prm_jax.stages.problem_sets import problems_of
from prm_jax.stages.workbench import model_config
from prm_jax.text.pretrained import PretrainedTokenizer, write_files
from prm_jax.text.tokenizer import BpeTokenizer

CORPUS = ProblemSets(demonstrations=(SyntheticSource(split="train", count=20),))
SHAPE = ModelConfig(
    vocab_size=330, width=32, layers=2, heads=2, kv_heads=1, mlp_width=48, attention_bias=True, context=256
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A checkpoint of the Qwen2 family with a tokenizer of its own; ten ids of the model have no token."""
    path = tmp_path_factory.mktemp("checkpoint")
    problems = problems_of(CORPUS, "demonstrations")
    texts = [text for problem in problems for text in (problem.prompt, problem.reference)]
    tokenizer = BpeTokenizer.train(texts, 320)
    save_policy(path, init_policy(SHAPE, jax.random.key(7)), SHAPE, special_ids={}, generation={})
    write_files(tokenizer, path)
    return path


@pytest.fixture
def experiment(folder) -> Experiment:
    return Experiment(
        "test",
        CORPUS,
        text=TextConfig(max_length=192, max_prompt=96),
        model=ModelConfig(scan_layers=False, dtype="bfloat16"),
        sampling=SamplingConfig(max_new_tokens=32),
        pretrained=PretrainedConfig(str(folder)),
    )


def test_shape_and_tokenizer_are_the_checkpoints(experiment, folder):
    tokenizer = tokenizer_at(str(folder))
    assert isinstance(tokenizer, PretrainedTokenizer) and tokenizer.vocab_size == 330
    expected = dataclasses.replace(SHAPE, head_width=16, scan_layers=False, dtype="bfloat16")
    assert model_config(experiment, tokenizer) == expected


def test_a_tokenizer_of_another_vocabulary_is_refused(experiment, folder, tmp_path):
    with pytest.raises(UserError, match="has 300 ids and .* 330"):
        pretrained_config(experiment, _Sized(300))
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text()) | {"vocab_size": 300}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="has ids up to 319, the model 300 embeddings"):
        tokenizer_at(str(tmp_path))


class _Sized:
    def __init__(self, vocab_size):
        self.vocab_size = vocab_size


@pytest.mark.parametrize("text", [TextConfig(max_length=300), TextConfig(max_length=128, max_prompt=230)])
def test_rows_beyond_the_context_are_refused(experiment, folder, text):
    with pytest.raises(UserError, match="context of 256 tokens"):
        pretrained_config(dataclasses.replace(experiment, text=text), tokenizer_at(str(folder)))


@pytest.mark.slow
def test_sft_starts_from_the_checkpoint_and_every_network_is_exported(command, tiny, run_without, folder, tmp_path):
    checkpoint_at.cache_clear()
    run = run_without("tasks", "sft", "prm", "prm_blind", "ppo", "evaluate")
    overlay = tmp_path / "pretrained.gin"
    overlay.write_text(
        "from __gin__ import dynamic_registration\n"
        "from prm_jax.problems import synthetic\nfrom prm_jax.stages import experiment\n"
        "experiment.Experiment.pretrained = @experiment.PretrainedConfig()\n"
        f"experiment.PretrainedConfig.path = {str(folder)!r}\n"
        "tiny/experiment.ProblemSets.few_shot = (@tiny_evaluation/synthetic.SyntheticSource(),)\n"
    )
    # A scorer that reads its surprise cannot be exported.
    plain = "--gin.ModelConfig.reads_surprise=False"
    arguments = (*tiny, f"--gin_file={overlay}", f"--run_dir={run}", plain)
    still = "--gin.tiny/optimizer.OptimizerConfig.learning_rate=1e-12"
    for stage in ("tasks", "sft", "prm"):
        command(stage, *arguments, still)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    command("export", f"--run_dir={run}", f"--out={tmp_path / 'sft'}")
    exported = open_checkpoint(tmp_path / "sft")
    # Steps this small leave the policy where it started.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        load_policy(exported, exported.config, mesh),
        init_policy(SHAPE, jax.random.key(7)),
    )
    own, back = tokenizer_at(str(folder)), tokenizer_at(str(tmp_path / "sft"))
    assert json.loads(back.file_content()) == json.loads(own.file_content()) and back.eos_id == own.eos_id
    command("export", f"--run_dir={run}", f"--out={tmp_path / 'prm'}", "--network=prm", "--dtype=bfloat16")
    scorer = open_checkpoint(tmp_path / "prm")
    assert load_scorer(scorer, scorer.config, mesh)["head"]["kernel"].shape == (32,)
    out, _ = command("evaluate", *arguments, still)
    base, few_shot, sft = (
        [sample.text for sample in read_samples(run / "evaluate" / name)] for name in ("base", "base_few_shot", "sft")
    )
    assert base == few_shot == sft and len({*base}) > 1 and "base_few_shot" in out and "vs base" in out
    _, error = command("export", f"--run_dir={run}", f"--out={tmp_path / 'prm'}", status=2)
    assert "is not empty" in error
