"""What is exported loads again, here bit for bit and, where it is installed, in `transformers`."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.models import policy
from prm_jax.models.checkpoint_load import load_policy, load_scorer, open_checkpoint
from prm_jax.models.checkpoint_save import save_policy, save_scorer
from prm_jax.models.config import ModelConfig, RopeScaling
from prm_jax.parallel.mesh import MeshConfig, make_mesh

TINY = ModelConfig(vocab_size=24, width=16, layers=2, heads=4, kv_heads=2, mlp_width=24, norm_eps=1e-6, context=64)
FAMILIES = {
    "llama": dataclasses.replace(
        TINY, tied_embeddings=False, rope_scaling=RopeScaling("llama3", factor=2.0, original_context=8)
    ),
    "qwen2": dataclasses.replace(
        TINY, attention_bias=True, rope_scaling=RopeScaling("yarn", factor=2.0, original_context=8)
    ),
    "qwen3": dataclasses.replace(TINY, qk_norm=True, head_width=6),
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
every_family = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")
scores = jax.jit(policy.scores, static_argnames="config")


def random_like(shapes):
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: generator.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes)


def random_policy(config):
    return random_like(jax.eval_shape(lambda: policy.init_policy(config, jax.random.key(0))))


def random_scorer(config):
    return random_like(jax.eval_shape(lambda: policy.init_scorer(config, jax.random.key(0))))


def one_device():
    return make_mesh(MeshConfig(), jax.devices()[:1])


TOKENS = np.random.default_rng(1).integers(24, size=(2, 20))
ROWS = (TOKENS, jnp.ones_like(TOKENS), jnp.tile(jnp.arange(20), (2, 1)))


@every_family
def test_a_policy_comes_back_bit_for_bit(config, tmp_path):
    params = random_policy(config)
    save_policy(tmp_path, params, config, special_ids=SPECIAL, generation={"temperature": 0.5})
    checkpoint = open_checkpoint(tmp_path)
    assert dataclasses.replace(checkpoint.config, head_width=config.head_width) == config
    jax.tree.map(np.testing.assert_array_equal, load_policy(checkpoint, config, one_device()), params)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == SPECIAL | {"temperature": 0.5}


def test_unrolled_layers_are_written_as_stacked_ones_are(tmp_path):
    config = FAMILIES["qwen3"]
    params = random_policy(config)
    unrolled = {"trunk": {k: v for k, v in params["trunk"].items() if k != "blocks"}}
    for layer in range(2):
        unrolled["trunk"][f"blocks_{layer}"] = jax.tree.map(lambda leaf, i=layer: leaf[i], params["trunk"]["blocks"])
    save_policy(tmp_path / "a", params, config, special_ids={}, generation={})
    alike = dataclasses.replace(config, scan_layers=False)
    save_policy(tmp_path / "b", unrolled, alike, special_ids={}, generation={})
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert a == b


@every_family
def test_a_scorer_comes_back_bit_for_bit(config, tmp_path):
    params = random_scorer(config)
    save_scorer(tmp_path, params, config, special_ids=SPECIAL)
    jax.tree.map(np.testing.assert_array_equal, load_scorer(open_checkpoint(tmp_path), config, one_device()), params)


def test_bfloat16_is_rounded_once(tmp_path):
    params = random_policy(TINY)
    save_policy(tmp_path, params, TINY, special_ids={}, generation={}, dtype="bfloat16")
    loaded = load_policy(open_checkpoint(tmp_path), TINY, one_device())
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(np.float32), params)
    jax.tree.map(np.testing.assert_array_equal, loaded, rounded)


def test_what_no_family_has_is_refused(tmp_path):
    both = dataclasses.replace(TINY, attention_bias=True, qk_norm=True)
    with pytest.raises(UserError, match="no published family"):
        save_policy(tmp_path, random_policy(both), both, special_ids={}, generation={})
    with pytest.raises(UserError, match="dtype is 'int8'"):
        save_policy(tmp_path, {}, TINY, special_ids={}, generation={}, dtype="int8")
    assert not list(tmp_path.iterdir())


@every_family
def test_transformers_computes_the_same_logits(config, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    params = random_policy(config)
    save_policy(tmp_path, params, config, special_ids=SPECIAL, generation={"temperature": 0.5, "do_sample": True})
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert model.generation_config.temperature == 0.5 and model.generation_config.eos_token_id == 2
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(TOKENS)).logits.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(policy_logits(params, config, *ROWS), expected, atol=1e-4)


@every_family
def test_transformers_gives_right_the_probability_of_the_prm(config, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    params = random_scorer(config)
    save_scorer(tmp_path, params, config, special_ids=SPECIAL)
    model = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path, dtype=torch.float32)
    assert model.config.id2label == {0: "wrong", 1: "right"}
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(TOKENS)).logits.softmax(-1)[..., 1].numpy()
    np.testing.assert_allclose(jax.nn.sigmoid(scores(params, config, *ROWS)), expected, atol=1e-5)


def test_files_are_those_of_the_safetensors_package(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    params = random_policy(TINY)
    save_policy(tmp_path, params, TINY, special_ids={}, generation={})
    loaded = safetensors.load_file(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded["model.embed_tokens.weight"], params["trunk"]["embedding"])
    np.testing.assert_array_equal(
        loaded["model.layers.1.self_attn.q_proj.weight"],
        params["trunk"]["blocks"]["attention"]["query"][1].reshape(16, 16).T,
    )
