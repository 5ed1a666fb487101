"""From logical axes to shardings: of parameters, of batches, and inside a traced function.

Shapes come first (`jax.eval_shape`), then shardings, then `jit(init, out_shardings=...)`: nothing is ever whole on
one device. `models/` calls `constrain`; stages call the rest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from prm_jax.errors import UserError
from prm_jax.parallel.rules import LOGICAL_RULES


def partition_spec(axes: Iterable[str | None], shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """The mesh axes that split a tensor.

    Args:
      axes: logical name of each of its axes, None for one that stays whole.
      shape: its shape; a mesh axis that does not divide what is left of an axis is not used for it (four key-value
        heads on eight `tensor` devices are replicated).
      mesh: the mesh; rules that name other mesh axes are skipped.
    """
    # Inside `shard_map` some axes are manual: the tensor is the local part already.
    sizes = {
        name: mesh.shape[name]
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind != AxisType.Manual
    }
    used: set[str] = set()
    entries = []
    for name, length in zip(axes, shape, strict=True):
        chosen: list[str] = []
        for axis in LOGICAL_RULES[name] if name is not None else ():
            if axis in sizes and axis not in used and length % sizes[axis] == 0:
                chosen.append(axis)
                length //= sizes[axis]
        used.update(chosen)
        entries.append(tuple(chosen) if chosen else None)
    return PartitionSpec(*entries)


def constrain(x: Array, *logical_axes: str | None) -> Array:
    """Splits an activation over the mesh set by `jax.set_mesh`; gives `x` itself where none is set.

    Args:
      x: any array of a traced function.
      *logical_axes: a name of `LOGICAL_RULES` for each axis, None for one that stays whole.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    return jax.lax.with_sharding_constraint(x, partition_spec(logical_axes, x.shape, mesh))


def parts(logical_axes: Iterable[str | None], shape: tuple[int, ...]) -> int:
    """Into how many parts the mesh set by `jax.set_mesh` splits an activation; 1 where none is set."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return 1
    part = NamedSharding(mesh, partition_spec(logical_axes, shape, mesh)).shard_shape(shape)
    return math.prod(shape) // math.prod(part)


def on_parts(
    function: Callable[..., Array], inputs: Sequence[Sequence[str]], output: Sequence[str], *arrays: Array
) -> Array:
    """Calls a function on the part of its arrays that each device has, for what XLA cannot split by itself.

    Args:
      function: takes the arrays, gives one.
      inputs: logical names of the axes of each array.
      output: those of the result, whose axes are found among the arrays' own.
      *arrays: whole, as a traced function sees them.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return function(*arrays)
    specs = tuple(partition_spec(axes, x.shape, mesh) for axes, x in zip(inputs, arrays, strict=True))
    split = {
        name: entry for axes, spec in zip(inputs, specs, strict=True) for name, entry in zip(axes, spec, strict=True)
    }
    out = PartitionSpec(*(split[name] for name in output))
    return jax.shard_map(function, in_specs=specs, out_specs=out, check_vma=False)(*arrays)


@jax.jit
def split_rows(batch: Any) -> Any:
    """A pytree of arrays, the first axis of each split over `data` and `fsdp` of the mesh set by `jax.set_mesh`.

    Args:
      batch: arrays of one number of rows; on several hosts, the same whole arrays on each of them.
    """
    return jax.tree.map(lambda leaf: constrain(leaf, "batch", *[None] * (leaf.ndim - 1)), batch)


def constrain_tree(tree: Any, shardings_on: Callable[[AbstractMesh], Any]) -> Any:
    """`constrain` for a state or parameters, inside of a traced function.

    Args:
      tree: any pytree of arrays.
      shardings_on: from the mesh set by `jax.set_mesh` to a tree of shardings of the same structure; not called where
        none is set.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return tree
    return jax.tree.map(lambda leaf, to: jax.lax.with_sharding_constraint(leaf, to.spec), tree, shardings_on(mesh))


def unboxed(boxed: Any) -> Any:
    """Parameters out of their boxes, inside of a traced function, each split by the logical axes of its box."""
    return constrain_tree(nn.unbox(boxed), functools.partial(param_shardings, boxed))


def param_shardings(abstract_boxed: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Shardings of parameters.

    Args:
      abstract_boxed: boxed parameters, or `jax.eval_shape` of what makes them (`models.policy.boxed_policy`).
      mesh: the mesh.

    Returns:
      A tree of the unboxed parameters' structure.
    """

    def sharding(leaf: Any) -> NamedSharding:
        if not isinstance(leaf, nn.LogicallyPartitioned):
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, partition_spec(leaf.names, leaf.value.shape, mesh))

    return jax.tree.map(sharding, abstract_boxed, is_leaf=lambda leaf: isinstance(leaf, nn.LogicallyPartitioned))


def init_shapes(boxed_init: Callable[[Key[Array, ""]], Any], mesh: Mesh | AbstractMesh) -> Any:
    """The shapes of unboxed parameters, each with its sharding; nothing is made."""
    boxed = jax.eval_shape(boxed_init, jax.eval_shape(jax.random.key, 0))
    return shapes_in(nn.unbox(boxed), param_shardings(boxed, mesh))


def shapes_in(shapes: Any, shardings: Any) -> Any:
    """A tree of `jax.ShapeDtypeStruct`, each with its sharding of a tree of the same structure."""
    return jax.tree.map(lambda x, to: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=to), shapes, shardings)


def shardings_in(shapes: Any) -> Any:
    """The shardings of a tree of arrays or of shapes that have them."""
    return jax.tree.map(lambda leaf: leaf.sharding, shapes)


def sharded_init(boxed_init: Callable[[Key[Array, ""]], Any], key: Key[Array, ""], mesh: Mesh) -> Any:
    """Unboxed parameters, each made in its own sharding.

    Args:
      boxed_init: from a key to boxed parameters, for example `functools.partial(boxed_policy, config)`.
      key: of the random values.
      mesh: the mesh.
    """
    shardings = shardings_in(init_shapes(boxed_init, mesh))
    return jax.jit(lambda key: nn.unbox(boxed_init(key)), out_shardings=shardings)(key)


def state_shardings(abstract_state: Any, params: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Shardings of a training state: what mirrors a parameter (a moment) is split like it, the rest is replicated.

    Args:
      abstract_state: `jax.eval_shape` of the state, any pytree in which trees of the parameters' structure occur.
      params: shardings of the parameters, from `param_shardings`.
      mesh: the mesh.
    """
    by_path = {tuple(map(str, path)): sharding for path, sharding in jax.tree.leaves_with_path(params)}

    def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        names = tuple(map(str, path))
        for start in range(len(names)):
            like = by_path.get(names[start:])
            if like is not None and len(like.spec) <= leaf.ndim:
                return like
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree.map_with_path(sharding, abstract_state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over `data` and `fsdp`; every other axis whole."""
    return NamedSharding(mesh, PartitionSpec(LOGICAL_RULES["batch"]))


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """Puts a batch on the mesh, rows split over `data` and `fsdp`.

    Args:
      batch: a pytree of numpy arrays with the batch as first axis; on several hosts, this host's rows.
      mesh: the mesh.

    Raises:
      UserError: the rows do not divide, or the hosts have no rows of their own.
    """
    sharding = batch_sharding(mesh)

    def put(rows: Any) -> Array:
        rows = np.asarray(rows)
        check_rows(rows.shape[0] * jax.process_count(), mesh)
        return jax.make_array_from_process_local_data(sharding, rows)

    return jax.tree.map(put, batch)


def check_rows(total: int, mesh: Mesh) -> None:
    """Refuses rows that do not divide, and a mesh that leaves hosts without rows of their own: a UserError."""
    shards, hosts = mesh.shape["data"] * mesh.shape["fsdp"], jax.process_count()
    if shards % hosts:
        raise UserError(
            f"A mesh with data × fsdp = {shards} leaves some of {hosts} hosts without rows of their own; choose a "
            "multiple of the number of hosts."
        )
    if total % shards:
        raise UserError(f"A batch of {total} rows does not split over {shards} devices; choose a multiple of it.")
