"""Parameters in, a Hugging Face folder out: what `transformers` loads a policy or a PRM from.

The command `prm_jax export` calls it; `text/pretrained.py` adds the tokenizer's files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from prm_jax.errors import UserError
from prm_jax.models.checkpoint_load import by_path
from prm_jax.models.config import ModelConfig
from prm_jax.models.families import Place, places
from prm_jax.models.hf_config import config_json
from prm_jax.models.policy import Params
from prm_jax.models.tensor_files import write_safetensors

DTYPES = {"float32": "F32", "bfloat16": "BF16"}


def save_policy(
    folder: epath.PathLike,
    params: Params,
    config: ModelConfig,
    *,
    special_ids: Mapping[str, int],
    generation: Mapping[str, Any],
    dtype: str = "float32",
) -> None:
    """Writes a folder for `transformers.AutoModelForCausalLM.from_pretrained`.

    Args:
      folder: made where it is missing.
      params: a policy's.
      config: its shape.
      special_ids: `bos_token_id`, `eos_token_id` and `pad_token_id`.
      generation: what else `generation_config.json` says, for example `temperature`.
      dtype: of the tensors; "float32" gives every bit back when the folder is loaded again.

    Raises:
      UserError: no family has the model's parts, or `dtype` is unknown.
    """
    folder = _save(folder, params, config, special_ids, dtype, scorer=False)
    _write_json(folder / "generation_config.json", dict(special_ids) | dict(generation))


def save_scorer(
    folder: epath.PathLike,
    params: Params,
    config: ModelConfig,
    *,
    special_ids: Mapping[str, int],
    dtype: str = "float32",
) -> None:
    """Writes a folder for `AutoModelForTokenClassification`, with the labels "wrong" and "right".

    The softmax at a step's last token gives "right" the PRM's p = σ(z). Arguments as those of `save_policy`.

    Raises:
      UserError: the scorer reads its surprise, which no token classifier does; else as `save_policy`.
    """
    if config.reads_surprise:
        raise UserError(
            "this scorer reads its trunk's surprise (ModelConfig.reads_surprise), which transformers cannot express: "
            "train one without to export it"
        )
    _save(folder, params, config, special_ids, dtype, scorer=True)


def _save(
    folder: epath.PathLike,
    params: Params,
    config: ModelConfig,
    special_ids: Mapping[str, int],
    dtype: str,
    *,
    scorer: bool,
) -> epath.Path:
    if dtype not in DTYPES:
        raise UserError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
    content = config_json(config, scorer=scorer, dtype=dtype, special_ids=special_ids)
    table, leaves, folder = places(config, scorer=scorer), by_path(params), epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {
        name: place.layout.file_shape(place.param_shape(leaves[place.leaf].shape)) for name, place in table.items()
    }
    write_safetensors(folder / "model.safetensors", shapes, DTYPES[dtype], _tensors(table, leaves))
    _write_json(folder / "config.json", content)
    return folder


def _tensors(table: Mapping[str, Place], leaves: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """One tensor at a time, from the devices to the host."""
    for name, place in table.items():
        leaf = leaves[place.leaf]
        tensor = leaf if place.layer is None else _layer(leaf, place.layer)
        yield name, place.layout.to_file(np.asarray(tensor))


@jax.jit
def _layer(stacked: jax.Array, layer: int) -> jax.Array:
    return jnp.take(stacked, layer, axis=0)


def _write_json(path: epath.Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
