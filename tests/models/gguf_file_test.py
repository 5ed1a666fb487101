"""GGUF files of the golden models load as their safetensors do."""

import dataclasses
import json
import pathlib
import tracemalloc

import jax
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.models import policy
from prm_jax.models.checkpoint_load import load_policy, open_checkpoint
from prm_jax.models.checkpoint_save import save_policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.gguf_file import GgufFile
from prm_jax.models.tensor_files import SafetensorsFolder
from prm_jax.parallel.mesh import MeshConfig, make_mesh

gguf = pytest.importorskip("gguf")

GOLDEN = pathlib.Path(__file__).parent / "golden"
NAMES = {
    "model.embed_tokens.": "token_embd.", "model.norm.": "output_norm.", "lm_head.": "output.",
    "model.layers.": "blk.", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def pairs_interleaved(kernel: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp stores queries and keys of a Llama: rotary pair (i, i + W/2) of a head becomes (2i, 2i + 1)."""
    width = len(kernel) // heads
    order = [h * width + i + half * width // 2 for h in range(heads) for i in range(width // 2) for half in range(2)]
    return kernel[order]


def convert(case: str, folder: pathlib.Path, **options) -> tuple[pathlib.Path, np.lib.npyio.NpzFile]:
    """Writes a golden model as GGUF."""
    data = np.load(GOLDEN / f"{case}.npz")
    for name in ("config.json", "model.safetensors"):
        data[name].tofile(folder / name)
    return write_gguf(folder, **options), data


def write_gguf(folder: pathlib.Path, quantise: str = "", factors: tuple[float, ...] = (), tokens: int = 0):
    """Writes the model of a folder as GGUF beside it.

    Args:
      folder: of Hugging Face's kind.
      quantise: the tensor that is to be in 8-bit blocks.
      factors: by which frequencies of the base 1e8 are divided.
      tokens: of the vocabulary that describes itself.
    """
    config, source = json.loads((folder / "config.json").read_text()), SafetensorsFolder(folder)
    kind = config["model_type"]
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config["rope_theta"]}
    writer = gguf.GGUFWriter(folder / "model.gguf", kind)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(1e8 if factors else rope["rope_theta"])
    if tokens:
        writer.add_token_list([f"token{i}" for i in range(tokens)])
        writer.add_token_types([gguf.TokenType.NORMAL] * tokens)
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
    if rope["rope_type"] != "default":
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if "original_max_position_embeddings" in rope:
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    for name in source.shapes:
        tensor = source.read(name)
        for part, heads in (("q_proj.w", config["num_attention_heads"]), ("k_proj.w", config["num_key_value_heads"])):
            if kind == "llama" and part in name:
                tensor = pairs_interleaved(tensor, heads)
        for theirs, own in NAMES.items():
            name = name.replace(theirs, own)
        if name == quantise:
            blocks = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(tensor, blocks), raw_dtype=blocks)
        else:
            writer.add_tensor(name, tensor)
    if factors:
        writer.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "model.gguf"


def load(path):
    checkpoint = open_checkpoint(path)
    return load_policy(checkpoint, checkpoint.config, make_mesh(MeshConfig(), jax.devices()[:1])), checkpoint.config


logits_of = jax.jit(policy.policy_logits, static_argnames="config")


@pytest.mark.parametrize("case", ["smollm2", "llama_linear", "qwen2_yarn", "qwen3"])
def test_parameters_are_those_of_the_safetensors(case, tmp_path):
    path, data = convert(case, tmp_path)
    params, config = load(path)
    expected, shape = load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    rows = data["tokens"], np.ones_like(data["tokens"]), np.tile(np.arange(40), (2, 1))
    np.testing.assert_allclose(logits_of(params, config, *rows), data["logits"], atol=1e-4)
    assert config.context == shape.context and config.tied_embeddings == shape.tied_embeddings


def test_quantised_tensors_are_dequantised(tmp_path):
    name = "blk.0.attn_q.weight"
    path, _ = convert("smollm2", tmp_path, quantise=name)
    # A block of 8-bit numbers is off by half a step of its largest number at most.
    exact = SafetensorsFolder(tmp_path).read("model.layers.0.self_attn.q_proj.weight")
    error = np.abs(GgufFile(path).read(name) - exact)
    assert 0 < error.max() <= np.abs(exact).max() / 127


def test_the_factors_of_llama3_are_recognised(tmp_path):
    # With this base the wavelengths of a head of 8 features are 6, 628, 62832 and 6283185 positions: two far below
    # 8192 / 4, which stay, and two above 8192.
    path, data = convert("smollm2", tmp_path, factors=(1.0, 1.0, 8.0, 8.0))
    params, config = load(path)
    scaling = config.rope_scaling
    assert (scaling.kind, scaling.factor, scaling.original_context) == ("llama3", 8.0, 8192)
    # The logits of the same tensors with the scaling in words; far apart, so that slow frequencies count.
    rows = data["tokens"], np.ones_like(data["tokens"]), np.tile(np.arange(40) * 200, (2, 1))
    words = {"rope_theta": 1e8, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    described = json.loads((tmp_path / "config.json").read_text())
    described["rope_parameters"] = words | {"original_max_position_embeddings": 8192}
    (tmp_path / "config.json").write_text(json.dumps(described))
    logits = logits_of(params, config, *rows)
    np.testing.assert_allclose(logits, logits_of(*load(tmp_path), *rows), atol=1e-5)
    unscaled = logits_of(params, dataclasses.replace(config, rope_scaling=None), *rows)
    assert np.abs(logits - unscaled).max() > 0.01
    path, _ = convert("smollm2", tmp_path, factors=(1.0, 3.0, 5.0, 8.0))
    with pytest.raises(UserError, match="unknown factors"):
        GgufFile(path)


def test_of_what_describes_the_file_only_the_values_are_kept(tmp_path):
    path, _ = convert("smollm2", tmp_path, tokens=5_000)
    GgufFile(path)  # What is imported is not the file's.
    tracemalloc.start()
    file = GgufFile(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A short text of Python takes some 60 bytes; each of the package's objects to it takes 200 or more.
    assert len(file.metadata["tokenizer.ggml.tokens"]) == 5_000 and kept < 5_000 * 150


@pytest.mark.parametrize("quantise", ["", "blk.0.attn_q.weight"])
def test_the_host_holds_one_tensor_at_a_time(quantise, tmp_path):
    # The largest tensors are queries, whose rows go into another order.
    config = ModelConfig(vocab_size=4096, width=512, layers=2, heads=8, kv_heads=1, head_width=512, mlp_width=1024)
    shapes = jax.eval_shape(lambda: policy.init_policy(config, jax.random.key(0)))
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    save_policy(tmp_path, params, config, special_ids={}, generation={})
    model, largest = sum(leaf.nbytes for leaf in jax.tree.leaves(params)), 4096 * 512 * 4
    assert model > 4 * largest
    del params
    path = write_gguf(tmp_path, quantise)
    load(path)  # What compiling allocates is not the tensors'.
    tracemalloc.start()
    load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * largest


def test_damaged_files_are_named(tmp_path):
    path, _ = convert("smollm2", tmp_path)
    assert open_checkpoint(path.rename(tmp_path / "model.GGUF")).metadata
    path = tmp_path / "model.GGUF"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:50], b"nonsense" * 20):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is truncated or no GGUF file"):
            open_checkpoint(path)
    with pytest.raises(UserError, match="no file"):
        open_checkpoint(tmp_path / "nowhere.gguf")


def test_a_header_with_any_wrong_byte_is_read_or_refused(tmp_path):
    path, _ = convert("smollm2", tmp_path, tokens=64)
    whole, end = path.read_bytes(), gguf.GGUFReader(path).data_offset
    generator, refused = np.random.default_rng(0), 0
    for place in generator.integers(end, size=250):
        wrong = generator.integers(256, dtype=np.uint8).tobytes()
        path.write_bytes(whole[:place] + wrong + whole[place + 1 :])
        try:
            source = open_checkpoint(path).source
            assert all(source.read(name).shape == shape for name, shape in source.shapes.items())
        except UserError:
            refused += 1
    assert refused > 100


def damage(path: pathlib.Path, key: bytes, behind: int, wrong: bytes) -> None:
    """Writes wrong bytes into a file, so many bytes behind the end of a key."""
    whole = path.read_bytes()
    place = whole.index(key) + len(key) + behind
    path.write_bytes(whole[:place] + wrong + whole[place + len(wrong) :])


@pytest.mark.parametrize(
    ("key", "behind", "wrong", "message"),
    [
        (b"token63", -1, b"\xff", "is truncated or no GGUF file .*utf-8"),
        # Behind the four bytes of the kind.
        (b"llama.block_count", 4 + 2, b"\x01", "20 tensors, too few for 65538 layers"),
        (b"llama.attention.head_count", 4, b"\x00", "heads is 0; it must be a whole number"),
        (b"llama.rope.freq_base", 4, bytes(4), "rope_theta is 0.0; it must be a number above 1"),
        # A tensor's number of axes, their lengths, its kind, its place.
        (b"blk.0.attn_k.weight", 4 + 16, b"\x1a", r"blk\.0\.attn_k\.weight cannot be read .*I32"),
        (b"blk.0.attn_k.weight", 4 + 16 + 4, b"\x40", r"blk\.0\.attn_k\.weight begins at byte"),
    ],
)
def test_what_is_wrong_in_a_header_is_said(key, behind, wrong, message, tmp_path):
    path, _ = convert("smollm2", tmp_path, tokens=64)
    damage(path, key, behind, wrong)
    with pytest.raises(UserError, match=message):
        load(path)


def test_a_length_that_reaches_behind_the_end_does_not_fill_the_memory(tmp_path):
    path, _ = convert("smollm2", tmp_path, tokens=64)
    key = b"tokenizer.ggml.token_type"
    damage(path, key, 4 + 4 + 7, b"\x01")  # 2**56 whole numbers of four bytes.
    whole = path.read_bytes()
    numbers = len(whole) - whole.index(key) - len(key) - 4 - 4 - 8
    path.write_bytes(whole + bytes(-numbers % 4))
    with pytest.raises(UserError, match="is truncated or no GGUF file .*it ends at byte"):
        open_checkpoint(path)
