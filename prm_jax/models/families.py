"""The families of published checkpoints: how each names and lays out the tensors of the one decoder.

A `ModelConfig` comes in; out goes, for every tensor of a file, the parameter that holds it. `checkpoint_load.py`
and `checkpoint_save.py` go by these tables, so a family that is added here is imported and exported.
V vocabulary, D width, H heads, W features of a head, F hidden features of the feed-forward layer.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import numpy as np

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """What sets a family apart.

    Attributes:
      model_type: its name in `config.json`, and in GGUF's `general.architecture`.
      class_name: what its classes in `transformers` begin with.
      attention_bias: whether queries, keys and values have a bias.
      qk_norm: whether the heads of queries and keys are normalised.
      kv_heads: key-value heads where `config.json` leaves them out; None for as many as heads.
      head_width: features of a head where `config.json` leaves them out; None for width / heads.
    """

    model_type: str
    class_name: str
    attention_bias: bool = False
    qk_norm: bool = False
    kv_heads: int | None = None
    head_width: int | None = None


FAMILIES = {
    family.model_type: family
    for family in (
        Family("llama", "Llama"),  # SmolLM2 is one too.
        Family("qwen2", "Qwen2", attention_bias=True, kv_heads=32),  # Qwen2.5-Coder is one too.
        Family("qwen3", "Qwen3", qk_norm=True, kv_heads=32, head_width=128),
    )
}


def family_of(config: ModelConfig) -> Family:
    """The family that has a model's parts.

    Raises:
      UserError: none has.
    """
    for family in FAMILIES.values():
        if (family.attention_bias, family.qk_norm) == (config.attention_bias, config.qk_norm):
            return family
    raise UserError(
        "no published family has both attention_bias and qk_norm: change one of them in ModelConfig to export the model"
    )


class Layout(Protocol):
    """How a parameter lies in a file."""

    def file_shape(self, shape: Shape) -> Shape:
        """The shape in the file of a parameter of this shape."""
        ...

    def to_param(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """The parameter, of `shape`, as a view of the file's array where that can be."""
        ...

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_param`."""
        ...


@dataclasses.dataclass(frozen=True)
class Table:
    """As it is: `[V, D]`."""

    def file_shape(self, shape: Shape) -> Shape:
        """The same."""
        return shape

    def to_param(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """The same."""
        return array

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """The same."""
        return array


@dataclasses.dataclass(frozen=True)
class Vector:
    """Flattened: `[D]`, and `[H, W]` as `[H W]`."""

    def file_shape(self, shape: Shape) -> Shape:
        """One axis."""
        return (math.prod(shape),)

    def to_param(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """The axes apart."""
        return array.reshape(shape)

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """The axes as one."""
        return array.reshape(-1)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """`[outputs, inputs]` in the file, inputs before outputs in the parameter: `[D, F]`, `[D, H, W]`, `[H, W, D]`.

    Attributes:
      inputs: how many of the parameter's axes are inputs.
    """

    inputs: int = 1

    def file_shape(self, shape: Shape) -> Shape:
        """Two axes, outputs first."""
        return math.prod(shape[self.inputs :]), math.prod(shape[: self.inputs])

    def to_param(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """Inputs first, the axes apart."""
        return array.T.reshape(shape)

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """Outputs first, two axes."""
        return array.reshape(math.prod(array.shape[: self.inputs]), -1).T


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A scorer's head as a classifier of two labels: the score z lies in the file as the logits (0, z).

    The softmax over the labels "wrong" and "right" then gives σ(z) to "right".
    """

    def file_shape(self, shape: Shape) -> Shape:
        """One row to a label."""
        return (2, *shape)

    def to_param(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """The difference of the labels' rows."""
        return array[1] - array[0]

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """Zeros, and the row itself."""
        return np.stack([np.zeros_like(array), array])


@dataclasses.dataclass(frozen=True)
class Entry:
    """One parameter and its names.

    Attributes:
      leaf: path of the parameter; within its block for those of a block.
      hf: name in safetensors files; within its layer for those of a layer.
      gguf: name in GGUF files, likewise; empty for what GGUF does not hold.
      layout: how it lies in the file.
    """

    leaf: str
    hf: str
    gguf: str
    layout: Layout


_MODEL = (
    Entry("trunk/embedding", "model.embed_tokens.weight", "token_embd.weight", Table()),
    Entry("trunk/norm/scale", "model.norm.weight", "output_norm.weight", Vector()),
)
_UNTIED = (Entry("trunk/output", "lm_head.weight", "output.weight", Table()),)
_HEAD = (
    Entry("head/kernel", "score.weight", "", Contrast()),
    Entry("head/bias", "score.bias", "", Contrast()),
)
_LAYER = (
    Entry("attention_norm/scale", "input_layernorm.weight", "attn_norm.weight", Vector()),
    Entry("attention/query", "self_attn.q_proj.weight", "attn_q.weight", Kernel()),
    Entry("attention/key", "self_attn.k_proj.weight", "attn_k.weight", Kernel()),
    Entry("attention/value", "self_attn.v_proj.weight", "attn_v.weight", Kernel()),
    Entry("attention/out", "self_attn.o_proj.weight", "attn_output.weight", Kernel(inputs=2)),
    Entry("mlp_norm/scale", "post_attention_layernorm.weight", "ffn_norm.weight", Vector()),
    Entry("mlp/gate", "mlp.gate_proj.weight", "ffn_gate.weight", Kernel()),
    Entry("mlp/up", "mlp.up_proj.weight", "ffn_up.weight", Kernel()),
    Entry("mlp/down", "mlp.down_proj.weight", "ffn_down.weight", Kernel()),
)
_ATTENTION_BIAS = (
    Entry("attention/query_bias", "self_attn.q_proj.bias", "attn_q.bias", Vector()),
    Entry("attention/key_bias", "self_attn.k_proj.bias", "attn_k.bias", Vector()),
    Entry("attention/value_bias", "self_attn.v_proj.bias", "attn_v.bias", Vector()),
)
_QK_NORM = (
    Entry("attention/query_norm/scale", "self_attn.q_norm.weight", "attn_q_norm.weight", Vector()),
    Entry("attention/key_norm/scale", "self_attn.k_norm.weight", "attn_k_norm.weight", Vector()),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor of a file belongs.

    Attributes:
      leaf: path of the parameter, keys joined by "/".
      layer: its index on the first axis of a parameter of stacked layers; None for a whole parameter.
      layout: how it lies in the file.
    """

    leaf: str
    layer: int | None
    layout: Layout

    def param_shape(self, leaf_shape: Shape) -> Shape:
        """The shape of what this tensor fills in a parameter of `leaf_shape`."""
        return leaf_shape if self.layer is None else leaf_shape[1:]


def places(config: ModelConfig, *, scorer: bool = False, gguf: bool = False) -> dict[str, Place]:
    """The table of a model: every tensor that its file has, by name.

    Args:
      config: the model; scanned or unrolled layers.
      scorer: whether it is a scorer, with a head in place of an output table.
      gguf: whether names are those of GGUF and not of Hugging Face.
    """
    whole = _MODEL + (_HEAD if scorer else () if config.tied_embeddings else _UNTIED)
    layer_entries = _LAYER + (_ATTENTION_BIAS if config.attention_bias else ()) + (_QK_NORM if config.qk_norm else ())
    table = {entry.gguf if gguf else entry.hf: Place(entry.leaf, None, entry.layout) for entry in whole}
    for layer in range(config.layers):
        prefix = f"blk.{layer}." if gguf else f"model.layers.{layer}."
        block, index = ("blocks", layer) if config.scan_layers else (f"blocks_{layer}", None)
        for entry in layer_entries:
            name = prefix + (entry.gguf if gguf else entry.hf)
            table[name] = Place(f"trunk/{block}/{entry.leaf}", index, entry.layout)
    return table
