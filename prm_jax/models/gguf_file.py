"""GGUF files: shape, metadata and dequantised tensors of a checkpoint. `checkpoint_load.py` and the stages use it.

The `gguf` package (an extra of this project) knows the format and the kinds of quantised blocks; what is ours is
the way from its metadata to a `ModelConfig` and from its order of rotary features to Hugging Face's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig, RopeScaling
from prm_jax.models.families import FAMILIES
from prm_jax.models.rope import frequencies
from prm_jax.models.tensor_files import Shape

# Rows are dequantised in pieces of so many numbers: the package makes several copies of what it is given.
_PIECE = 1 << 16
_LLAMA3 = RopeScaling("llama3", factor=8.0, original_context=8192, low_freq_factor=1.0, high_freq_factor=4.0)
"""What the factors of Llama 3.1 and 3.2 were made with, but for `factor`; the file holds the factors only."""


class GgufFile:
    """A `TensorSource` with the configuration and the metadata that stand in the same file."""

    def __init__(self, path: epath.PathLike):
        """Maps the file; no tensor is read.

        Raises:
          UserError: `gguf` is not installed, or the file is missing, truncated, corrupt or of another family.
        """
        self.where = str(path)
        tensors, self.metadata, self._dequantize = _open(epath.Path(path))
        self._tensors = {tensor.name: tensor for tensor in tensors}
        # GGUF writes the fastest axis first.
        self.shapes: Mapping[str, Shape] = {
            name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in self._tensors.items()
        }
        try:
            self.config: ModelConfig = self._with_factors(self._config())
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{self.where}: a field has the wrong type ({error}): download the file again") from None

    def read(self, name: str) -> np.ndarray:
        """One tensor as float32, with the rows of Hugging Face's order.

        Raises:
          UserError: it holds numbers of an unknown kind, or its rows are not those of the model's heads.
        """
        tensor, shape = self._tensors[name], self.shapes[name]
        found = np.empty((shape[0], math.prod(shape[1:])), np.float32)
        rows, places = np.reshape(tensor.data, (shape[0], -1)), self._places(name)
        step = max(1, _PIECE // found.shape[1])
        for start in range(0, shape[0], step):
            try:
                piece = self._dequantize(rows[start : start + step], tensor.tensor_type)
            except NotImplementedError as error:
                raise UserError(f"{self.where}: {name} cannot be read ({error}): give another file") from None
            found[places[start : start + step]] = piece.reshape(-1, found.shape[1])
        return found.reshape(shape)

    def _places(self, name: str) -> np.ndarray:
        """Where in Hugging Face's order each row of a tensor belongs."""
        rows = np.arange(self.shapes[name][0])
        heads = {"attn_q.weight": self.config.heads, "attn_k.weight": self.config.kv_heads}
        own = name.split(".", 2)[-1]
        if self.metadata["general.architecture"] != "llama" or own not in heads:
            return rows
        if len(rows) % (2 * heads[own]):
            raise UserError(
                f"{self.where}: {name} has {len(rows)} rows for the rotary pairs of {heads[own]} heads: "
                "download the file again"
            )
        # In llama.cpp's order the rotary pairs of a head are (0, 1), (2, 3), …; in the other (i, i + W/2).
        return rows.reshape(heads[own], 2, -1).swapaxes(1, 2).reshape(-1)

    def _config(self) -> ModelConfig:
        architecture = self.metadata.get("general.architecture")
        family = FAMILIES.get(str(architecture))
        if family is None:
            raise UserError(f"a model of {architecture!r}; the families that load are {', '.join(FAMILIES)}")

        def field(name: str, *default: Any) -> Any:
            key = f"{architecture}.{name}"
            if key not in self.metadata and not default:
                raise UserError(f"{key} is missing: download the file again")
            return self.metadata.get(key, *default)

        heads, width = field("attention.head_count"), field("embedding_length")
        return ModelConfig(
            vocab_size=self.shapes.get("token_embd.weight", (0,))[0],
            width=width,
            layers=field("block_count"),
            heads=heads,
            kv_heads=field("attention.head_count_kv", heads),
            mlp_width=field("feed_forward_length"),
            head_width=field("attention.key_length", None),
            rope_theta=field("rope.freq_base", 10_000.0),
            rope_scaling=_scaling(field),
            attention_bias=family.attention_bias,
            qk_norm=family.qk_norm,
            # Stored in float32: without the digits that the conversion adds.
            norm_eps=float(np.format_float_positional(np.float32(field("attention.layer_norm_rms_epsilon")))),
            tied_embeddings="output.weight" not in self.shapes,
            context=field("context_length", None),
        )

    def _with_factors(self, config: ModelConfig) -> ModelConfig:
        """Llama 3's scaling, where the file holds the factors by which it divides the frequencies."""
        if "rope_freqs.weight" not in self._tensors:
            return config
        factors = np.asarray(self._tensors["rope_freqs.weight"].data, np.float32)
        scaling = dataclasses.replace(_LLAMA3, factor=float(factors.max()))
        scaled = dataclasses.replace(config, rope_scaling=scaling)
        if not np.allclose(frequencies(config) / frequencies(scaled), factors, rtol=1e-3):
            raise UserError("rotary frequencies are scaled by unknown factors: give the safetensors instead")
        return scaled


def _open(path: epath.Path) -> tuple[Sequence[Any], Mapping[str, Any], Callable[[np.ndarray, Any], np.ndarray]]:
    """A file's mapped tensors and its metadata, and what dequantises rows."""
    try:
        import gguf
    except ImportError:
        raise UserError("to read GGUF files install the package gguf: pip install 'prm_jax[gguf]'") from None
    if not path.exists():
        raise UserError(f"no file {path}: give the path of a GGUF file")

    class Reader(gguf.GGUFReader):
        """Behind a file's end the package finds empty values, as many as a torn length asks for: this one stops."""

        def _get(self, offset: int, *rest: Any, **named: Any) -> Any:
            if offset >= len(self.data):
                raise ValueError(f"it ends at byte {len(self.data)}")
            return super()._get(offset, *rest, **named)

    try:
        reader = Reader(path)
        _check_places(reader)
        # The reader is not kept: its fields hold several objects to each token and merge.
        metadata = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # Whatever the package stumbles over in a torn file.
        raise UserError(f"{path} is truncated or no GGUF file ({error}): download it again") from None
    return reader.tensors, metadata, gguf.quants.dequantize


def _check_places(reader: Any) -> None:
    """Tensors lie one behind the other, as the format has them; elsewhere there are other numbers."""
    alignment, end = int(reader.alignment), reader.data_offset
    for tensor in reader.tensors:
        if tensor.data_offset != end:
            raise ValueError(f"{tensor.name} begins at byte {tensor.data_offset} in place of {end}")
        end += -(-tensor.n_bytes // alignment) * alignment


def _scaling(field: Callable[..., Any]) -> RopeScaling | None:
    kind = field("rope.scaling.type", "none")
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise UserError(f"rotary scaling {kind!r} is not supported; linear and yarn are")
    original = field("rope.scaling.original_context_length", field("context_length", 8192))
    return RopeScaling(kind, factor=field("rope.scaling.factor"), original_context=original)
