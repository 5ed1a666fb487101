"""A published checkpoint in, sharded parameters out, one tensor in the host's memory at a time.

`stages/` call `open_checkpoint` and `load_policy`; `load_scorer` reads what `checkpoint_save.py` wrote of a PRM.
Each tensor goes from its file to its devices before the next one is read, a layer's tensor straight into its place
in the stacked parameter, so that neither the host nor a device ever holds the model twice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from prm_jax.errors import UserError
from prm_jax.models.config import ModelConfig
from prm_jax.models.families import Place, places
from prm_jax.models.hf_config import model_config, read_json
from prm_jax.models.policy import Params, boxed_policy, boxed_scorer
from prm_jax.models.tensor_files import SafetensorsFolder, Shape, TensorSource
from prm_jax.parallel.shardings import param_shardings

_LISTED = 8
"""So many tensors of a kind are named in a message."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: its shape is known, its tensors are still in the files.

    Attributes:
      config: the model, with scanned layers and float32 compute.
      source: the tensors.
      metadata: fields of a GGUF file, its tokenizer among them; None for a Hugging Face folder.
    """

    config: ModelConfig
    source: TensorSource
    metadata: Mapping[str, Any] | None = None


def open_checkpoint(path: epath.PathLike) -> Checkpoint:
    """Opens a Hugging Face folder, or a GGUF file.

    Raises:
      UserError: there is none, it is torn, or of a family that is not supported.
    """
    path = epath.Path(path)
    if path.suffix.lower() == ".gguf":
        from prm_jax.models.gguf_file import GgufFile

        file = GgufFile(path)
        checkpoint = Checkpoint(file.config, file, file.metadata)
    elif path.is_file():
        raise UserError(f"{path} is a file: give the folder of a Hugging Face checkpoint, or a file that ends in .gguf")
    else:
        content = read_json(path / "config.json")
        checkpoint = Checkpoint(model_config(content, str(path / "config.json")), SafetensorsFolder(path))
    layers, tensors = checkpoint.config.layers, len(checkpoint.source.shapes)
    # The table of the tensors of a torn number of layers would fill the memory.
    if layers > tensors:
        raise UserError(f"{path} has {tensors} tensors, too few for {layers} layers: download it again")
    return checkpoint


def load_policy(checkpoint: Checkpoint, config: ModelConfig, mesh: Mesh) -> Params:
    """The parameters of a policy, float32, each in its own sharding.

    Args:
      checkpoint: what `open_checkpoint` gave.
      config: the checkpoint's; `scan_layers`, `remat` and `dtype` may differ.
      mesh: where the parameters are to lie.

    Raises:
      UserError: tensors are unknown, missing, misshapen or not finite: one message that lists them.
    """
    return _load(checkpoint, config, mesh, functools.partial(boxed_policy, config), scorer=False)


def load_scorer(checkpoint: Checkpoint, config: ModelConfig, mesh: Mesh) -> Params:
    """The parameters of a scorer that was exported as a token classifier of two labels. Else as `load_policy`."""
    return _load(checkpoint, config, mesh, functools.partial(boxed_scorer, config), scorer=True)


def _load(
    checkpoint: Checkpoint, config: ModelConfig, mesh: Mesh, boxed_init: Callable[[jax.Array], Any], *, scorer: bool
) -> Params:
    boxed = jax.eval_shape(boxed_init, jax.random.key(0))
    abstract = by_path(nn.unbox(boxed))
    shardings = by_path(param_shardings(boxed, mesh))
    table, source = places(config, scorer=scorer, gguf=checkpoint.metadata is not None), checkpoint.source
    _check_tensors(source, {name: _file_shape(place, abstract) for name, place in table.items()}, config)
    leaves: dict[str, Array] = {}
    for name in source.shapes:
        if name in table:
            leaf = table[name].leaf
            leaves[leaf] = _filled(leaves.get(leaf), table[name], source.read(name), abstract[leaf], shardings[leaf])
    params = jax.tree.unflatten(jax.tree.structure(nn.unbox(boxed)), [leaves[leaf] for leaf in abstract])
    check_finite(params, source.where)
    return params


def check_finite(params: Any, where: str) -> None:
    """Refuses weights that are NaN or infinite.

    Raises:
      UserError: lists the parameters that hold such numbers.
    """
    finite = by_path(jax.device_get(_finite(params)))
    if bad := [leaf for leaf, is_finite in finite.items() if not is_finite]:
        raise UserError(f"{where} holds NaN or infinite numbers in {_listed(bad)}: give another checkpoint")


@jax.jit
def _finite(params: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.all(jnp.isfinite(leaf)), params)


def by_path(tree: Any) -> dict[str, Any]:
    """The leaves of a tree of dictionaries by their keys, joined by "/"."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def _file_shape(place: Place, abstract: Mapping[str, jax.ShapeDtypeStruct]) -> Shape:
    return place.layout.file_shape(place.param_shape(abstract[place.leaf].shape))


def _check_tensors(source: TensorSource, wanted: Mapping[str, Shape], config: ModelConfig) -> None:
    """Raises one UserError that lists all that is wrong with a checkpoint's tensors."""
    unknown = [name for name in source.shapes if name not in wanted and not _needless(name, config)]
    missing = [name for name in wanted if name not in source.shapes]
    misshapen = [
        f"{name} {list(source.shapes[name])} in place of {list(shape)}"
        for name, shape in wanted.items()
        if source.shapes.get(name, shape) != shape
    ]
    found = {"unknown": unknown, "missing": missing, "misshapen": misshapen}
    if problems := [f"{len(names)} {kind}: {_listed(names)}" for kind, names in found.items() if names]:
        raise UserError(
            f"the tensors of {source.where} are not those of its configuration: {'; '.join(problems)}. "
            "Give the configuration and the tensors of one checkpoint"
        )


def _needless(name: str, config: ModelConfig) -> bool:
    """Whether a tensor that the model does not have is no news: a copy of a tied table, or a table of rotations."""
    tied = config.tied_embeddings and name in ("lm_head.weight", "output.weight")
    return tied or name.endswith("rotary_emb.inv_freq") or name == "rope_freqs.weight"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _filled(
    leaf: Array | None, place: Place, tensor: np.ndarray, abstract: jax.ShapeDtypeStruct, sharding: NamedSharding
) -> Array:
    """A parameter with one of its tensors filled in; done when it returns, so that the tensor's memory is free."""
    shape = place.param_shape(abstract.shape)
    view = place.layout.to_param(tensor, shape)
    if place.layer is None:
        own, put = sharding, _cast(sharding)
        filled = put(jax.make_array_from_callback(shape, own, lambda index: view[index]))
    else:
        own = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
        stacked = _zeros(sharding)(abstract.shape) if leaf is None else leaf
        layer = jax.make_array_from_callback(shape, own, lambda index: view[index])
        filled = _insert(sharding)(stacked, layer, np.int32(place.layer))
    return jax.block_until_ready(filled)


# The cast is done on the devices: the host holds the file's numbers only.


@functools.cache
def _cast(sharding: NamedSharding) -> Callable[[Array], Array]:
    # A copy, because an array on a CPU may be the host's memory itself.
    return jax.jit(lambda tensor: jnp.copy(tensor.astype(jnp.float32)), out_shardings=sharding)


@functools.cache
def _insert(sharding: NamedSharding) -> Callable[[Array, Array, np.int32], Array]:
    def insert(stacked: Array, layer: Array, index: Array) -> Array:
        return jax.lax.dynamic_update_index_in_dim(stacked, layer.astype(stacked.dtype), index, 0)

    return jax.jit(insert, out_shardings=sharding, donate_argnums=0)


@functools.cache
def _zeros(sharding: NamedSharding) -> Callable[[Shape], Array]:
    return jax.jit(lambda shape: jnp.zeros(shape, jnp.float32), out_shardings=sharding, static_argnums=0)
