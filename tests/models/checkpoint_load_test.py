"""Published checkpoints load as `transformers` computes them; what is wrong with one is told in one message."""

import dataclasses
import json
import math
import pathlib
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.models import policy
from prm_jax.models.checkpoint_load import load_policy, open_checkpoint
from prm_jax.models.checkpoint_save import save_policy
from prm_jax.models.config import ModelConfig
from prm_jax.models.rope import frequencies
from prm_jax.models.tensor_files import SafetensorsFolder, write_safetensors
from prm_jax.parallel.mesh import MeshConfig, make_mesh

GOLDEN = sorted((pathlib.Path(__file__).parent / "golden").glob("*.npz"))
policy_logits = jax.jit(policy.policy_logits, static_argnames="config")


def unpack(golden: pathlib.Path, folder: pathlib.Path) -> np.lib.npyio.NpzFile:
    """The files of a golden model into a folder."""
    data = np.load(golden)
    for name in ("config.json", "model.safetensors"):
        data[name].tofile(folder / name)
    return data


def whole_rows(tokens):
    return tokens, jnp.ones_like(tokens), jnp.tile(jnp.arange(tokens.shape[1]), (len(tokens), 1))


def mesh_of(devices=1, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:devices])


def load(folder, config=None, mesh=None):
    checkpoint = open_checkpoint(folder)
    return load_policy(checkpoint, config or checkpoint.config, mesh or mesh_of())


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_logits_are_those_of_transformers(golden, tmp_path):
    data = unpack(golden, tmp_path)
    config = open_checkpoint(tmp_path).config
    logits = policy_logits(load(tmp_path), config, *whole_rows(data["tokens"]))
    assert np.abs(data["logits"]).max() > 1
    np.testing.assert_allclose(logits, data["logits"], atol=1e-4)


def test_there_is_a_golden_model_of_every_kind():
    assert {path.stem for path in GOLDEN} == {"smollm2", "llama3", "llama_linear", "qwen2", "qwen2_yarn", "qwen3"}


@pytest.fixture
def qwen2(tmp_path):
    unpack(GOLDEN[0].parent / "qwen2.npz", tmp_path)
    return tmp_path


def test_layers_load_unrolled_too_and_onto_a_mesh(qwen2):
    config = open_checkpoint(qwen2).config
    unrolled = load(qwen2, dataclasses.replace(config, scan_layers=False))
    mesh = mesh_of(8, data=2, fsdp=2, tensor=2)
    sharded = load(qwen2, mesh=mesh)
    query = sharded["trunk"]["blocks"]["attention"]["query"]
    # Layers whole, width over fsdp, heads over tensor.
    assert {shard.data.shape for shard in query.addressable_shards} == {(2, 16, 2, 8)}
    plain = load(qwen2)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(sharded), jax.device_get(plain))
    for layer in range(2):
        jax.tree.map(
            lambda stacked, own, layer=layer: np.testing.assert_array_equal(stacked[layer], own),
            plain["trunk"]["blocks"],
            unrolled["trunk"][f"blocks_{layer}"],
        )


def split(folder: pathlib.Path) -> None:
    """Splits `model.safetensors` into two files with an index."""
    source, weight_map = SafetensorsFolder(folder), {}
    for part, names in enumerate((list(source.shapes)[::2], list(source.shapes)[1::2])):
        name = f"model-{part + 1:05}-of-00002.safetensors"
        shapes = {tensor: source.shapes[tensor] for tensor in names}
        write_safetensors(folder / name, shapes, "F32", ((tensor, source.read(tensor)) for tensor in names))
        weight_map |= dict.fromkeys(names, name)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_a_sharded_index_loads_as_the_single_file_does(qwen2):
    whole = jax.device_get(load(qwen2))
    split(qwen2)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(load(qwen2)), whole)
    (qwen2 / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="lacks model-00002-of-00002.safetensors"):
        load(qwen2)


def rewrite(folder, change) -> None:
    """Writes `model.safetensors` again, after a change of its tensors."""
    source = SafetensorsFolder(folder)
    tensors = {name: source.read(name) for name in source.shapes}
    change(tensors)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    write_safetensors(folder / "model.safetensors", shapes, "F32", tensors.items())


def test_one_message_lists_unknown_missing_and_misshapen_tensors(qwen2):
    def change(tensors):
        tensors["model.layers.0.mlp.bias"] = np.zeros(3, np.float32)
        del tensors["model.norm.weight"], tensors["model.layers.1.self_attn.k_proj.bias"]
        tensors["model.embed_tokens.weight"] = np.zeros((64, 31), np.float32)

    rewrite(qwen2, change)
    with pytest.raises(UserError) as caught:
        load(qwen2)
    message = str(caught.value)
    assert "1 unknown: model.layers.0.mlp.bias" in message
    assert "2 missing: model.norm.weight, model.layers.1.self_attn.k_proj.bias" in message
    assert "1 misshapen: model.embed_tokens.weight [64, 31] in place of [64, 32]" in message


def test_weights_that_are_no_numbers_are_refused(qwen2):
    def change(tensors):
        tensors["model.norm.weight"] = np.full(32, np.nan, np.float32)

    rewrite(qwen2, change)
    with pytest.raises(UserError, match="NaN or infinite numbers in trunk/norm/scale"):
        load(qwen2)


def test_a_copy_of_a_tied_table_is_no_news(qwen2):
    before = load(qwen2)
    rewrite(qwen2, lambda tensors: tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"]))
    jax.tree.map(np.testing.assert_array_equal, load(qwen2), before)


def test_damaged_files_are_named(qwen2, tmp_path):
    file = qwen2 / "model.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-4], whole[:100], b"", b"\xff" * 64, whole + b"0"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"model\.safetensors is truncated"):
            load(qwen2)
    (qwen2 / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is torn"):
        load(qwen2)
    with pytest.raises(UserError, match=r"no config\.json in"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"model\.safetensors is a file: give the folder"):
        load(file)
    file.unlink()
    (qwen2 / "model.safetensors.index.json").write_text('{"weight_map": {"model.norm.weight": 3}}')
    with pytest.raises(UserError, match="has no weight_map"):
        SafetensorsFolder(qwen2)


def test_a_header_with_any_wrong_character_is_read_or_refused(tmp_path):
    tensors = {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float32)}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    file = tmp_path / "model.safetensors"
    write_safetensors(file, shapes, "F32", tensors.items())
    whole = file.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    # Without spaces, as others write it.
    header, numbers = json.dumps(json.loads(whole[8:end]), separators=(",", ":")).encode(), whole[end:]
    refused = 0
    for place in range(len(header)):
        for wrong in b'0.-]" \xff':
            damaged = header[:place] + bytes([wrong]) + header[place + 1 :]
            file.write_bytes(len(header).to_bytes(8, "little") + damaged + numbers)
            try:
                source = SafetensorsFolder(tmp_path)
            except UserError:
                refused += 1
            else:
                assert all(source.read(name).shape == shape for name, shape in source.shapes.items())
    assert refused > 500


YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}


def change_config(folder, **changed) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": ["qwen2"]}, r"model_type is \['qwen2'\]; the families"),
        ({"rope_parameters": 3}, "a value has the wrong type"),
        ({"rope_parameters": {"rope_theta": 10**400}}, "a value has the wrong type"),
        *(({"rope_parameters": {"rope_theta": theta}}, "rope_theta is ") for theta in ("much", 0, -5, 1.0, math.nan)),
        *(({"rms_norm_eps": eps}, "norm_eps is ") for eps in (None, "1e-6", -1.0, math.inf)),
        ({"vocab_size": 64.0}, "vocab_size is 64.0; it must be a whole number"),
        ({"num_hidden_layers": 2.5}, "layers is 2.5"),
        ({"num_key_value_heads": 0}, "kv_heads is 0"),
        ({"head_dim": 0}, "head_width is 0"),
        ({"head_dim": -8}, "head_width is -8"),
        ({"tie_word_embeddings": "no"}, "tied_embeddings is 'no'; it must be True or False"),
        ({"rope_parameters": YARN | {"beta_fast": "32"}}, "beta_fast is '32'"),
        ({"rope_parameters": YARN | {"original_max_position_embeddings": "16"}}, "original_context is '16'"),
        ({"rope_parameters": YARN | {"rope_theta": 1.0}}, "rope_theta is 1.0"),
        ({"rope_parameters": YARN | {"rope_type": "ntk"}}, "rotary scaling .* is not supported"),
    ],
)
def test_values_that_make_no_sense_are_named(changed, message, qwen2):
    change_config(qwen2, **changed)
    with pytest.raises(UserError, match=rf"config\.json: .*{message}"):
        open_checkpoint(qwen2)


def test_what_is_null_is_as_if_left_out(qwen2):
    before = open_checkpoint(qwen2).config
    change_config(qwen2, head_dim=None, rope_scaling=None)
    assert open_checkpoint(qwen2).config == before


def test_a_base_of_more_than_32_bits_is_a_number_like_others(qwen2):
    change_config(qwen2, rope_parameters={"rope_theta": 10**10})
    config = open_checkpoint(qwen2).config
    np.testing.assert_allclose(frequencies(config)[1], 10 ** (-10 * 2 / config.head_features), rtol=1e-5)


def test_the_host_holds_one_tensor_at_a_time(tmp_path):
    config = ModelConfig(vocab_size=4096, width=256, layers=4, heads=4, kv_heads=4, mlp_width=1024)
    shapes = jax.eval_shape(lambda: policy.init_policy(config, jax.random.key(0)))
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    save_policy(tmp_path, params, config, special_ids={}, generation={})
    model, largest = sum(leaf.nbytes for leaf in jax.tree.leaves(params)), 4096 * 256 * 4
    assert model > 4 * largest
    del params
    load(tmp_path, config)  # What compiling allocates is not the tensors'.
    tracemalloc.start()
    load(tmp_path, config, mesh_of(8, fsdp=4, tensor=2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * largest
