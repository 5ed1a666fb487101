"""Checkpoints: a pytree of arrays and a little JSON per step, over orbax-checkpoint.

`loop.fit` and the PPO loop save and resume through this; the stages hand finished parameters to each other with it.
The tree is stored as a flat table of named leaves, so that a checkpoint does not depend on the classes of the tree,
and a tree of another shape is refused by the name of its first differing leaf before any array is read. Saving goes on
in the background; what is read is compared with digests of what was saved.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import time
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array
from orbax.checkpoint import v1 as ocp

from prm_jax.errors import UserError, is_full_disk
from prm_jax.parallel.processes import meet
from prm_jax.spool import is_remote
from prm_jax.training.digest import digest

_LOG = logging.getLogger(__name__)
_SECONDS_OF_STRAGGLERS = 10.0
_ERRORS_OF_READING = (ValueError, KeyError, TypeError, EOFError, FileNotFoundError)


class DamagedCheckpoint(UserError):
    """A checkpoint that cannot be read, or that is not what was saved."""


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _named_leaves(tree: Any) -> dict[str, Any]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def _describe(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _to_array(name: str, leaf: Any) -> Array:
    """The leaf as orbax stores it: a JAX array of plain numbers (orbax refuses numpy scalars and typed keys)."""
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        raise TypeError(
            f"leaf {name} of a checkpoint is a {type(leaf).__name__}; give an array, or put it into `extra`"
        )
    if isinstance(leaf, jax.Array):
        return jax.random.key_data(leaf) if _is_key(leaf) else leaf
    array = jnp.array(leaf)  # A copy: its owner may write to it while it is being saved.
    if array.dtype != leaf.dtype:
        raise TypeError(f"leaf {name} of a checkpoint is {leaf.dtype}, which JAX would store as {array.dtype}")
    return array


def _to_abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """What orbax is asked for in place of `leaf`: its shape, dtype and sharding."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if _is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _from_array(array: Array, leaf: Any) -> Array:
    """The stored array as `leaf` was: a typed key where it was one, bound to a device only where it was bound."""
    bound = leaf.committed if isinstance(leaf, jax.Array) else getattr(leaf, "sharding", None) is not None
    if not bound:
        array = jnp.asarray(np.asarray(array))
    if not _is_key(leaf):
        return array
    # JAX tells the generator of a key, not of its shape and dtype; under a trace the two are one.
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), leaf)
    return jax.random.wrap_key_data(array, impl=found[0])


def _checksum(metadata: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps([metadata.get(name) for name in ("leaves", "digests", "extra")]).encode())


def _absolute(directory: epath.Path) -> epath.Path:
    """The directory as orbax takes it, which refuses relative paths; raises UserError where it could not save there."""
    if not is_remote(directory):
        return directory.resolve()  # Which would take the URL of a bucket for a relative path.
    try:
        importlib.import_module("google.cloud.storage")
    except ImportError:
        raise UserError(
            f"checkpoints in {directory} need google-cloud-storage, which is not installed: pip install it, or name "
            "a run directory on a disk"
        ) from None
    return directory


def _remove(folder: epath.Path) -> None:
    """Removes a folder into which threads of a failed save may write for a moment longer.

    What withstands that is left: the next start of a job that writes there clears it.
    """
    until = time.monotonic() + _SECONDS_OF_STRAGGLERS
    while folder.exists() and time.monotonic() < until:
        with contextlib.suppress(OSError):
            folder.rmtree(missing_ok=True)
        time.sleep(0.05)


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Keep orbax from logging a stack trace per thread for an error that it raises too."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


class Checkpointer:
    """The checkpoints of one directory, one to a step; a context manager.

    A checkpoint appears whole or not at all. One job at a time may write to a directory; any number may read. What
    goes wrong with a save in the background is raised by the next call, at the latest by `close`.
    """

    def __init__(self, directory: epath.PathLike, keep: int = 2) -> None:
        """Nothing is touched before the first call.

        Args:
          directory: where they lie, `<directory>/<step>`; made by the first `save`.
          keep: number of the latest checkpoints that are kept.

        Raises:
          UserError: it is in a bucket, and what orbax asks about that is not installed.
        """
        self.directory = _absolute(epath.Path(directory))
        self._keep = keep
        self._writes = False
        self._opened: ocp.training.Checkpointer | None = None
        self._quiet = contextlib.ExitStack()
        self._pending: tuple[int, Any] | None = None  # The step that is being saved, and orbax's answer to come.

    def save(self, step: int, tree: Any, extra: dict[str, Any] | None = None) -> None:
        """Save `tree` and `extra` under `step`, in place of what lay there, and drop the oldest beyond `keep`.

        Comes back as soon as the arrays have left the devices, whose buffers may then be given away; one save at a
        time goes on in the background.

        Args:
          step: the step that the tree belongs to.
          tree: pytree of JAX or numpy arrays; typed random keys and numpy scalars may be among them.
          extra: what JSON can hold; NaN and infinities included.

        Raises:
          TypeError: a leaf is no array, or of a dtype that JAX would change.
          UserError: the disk is full, now or for the save before. Nothing half-written stays.
        """
        self.wait()
        leaves = _named_leaves(tree)
        arrays = {name: _to_array(name, leaf) for name, leaf in leaves.items()}
        digests = jax.device_get({name: digest(array) for name, array in arrays.items()})
        # As a string, because what orbax does with NaN in its own JSON is not documented.
        metadata: dict[str, Any] = {
            "leaves": {name: _describe(leaf) for name, leaf in leaves.items()},
            "digests": {name: int(value) for name, value in digests.items()},
            "extra": json.dumps(extra or {}),
        }
        metadata["checksum"] = _checksum(metadata)
        with self._telling_of_a_full_disk(step):
            manager = self._manager(writes=True)
            self._pending = (
                step,
                manager.save_async(step, arrays, force=True, overwrite=True, custom_metadata=metadata),
            )

    def wait(self) -> None:
        """Wait until what was saved is on the disk.

        Raises:
          UserError: the disk is full. Nothing half-written stays.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            with self._telling_of_a_full_disk(pending[0]):
                pending[1].result()

    def latest(self) -> int | None:
        """The largest step that has a checkpoint, None where there is none."""
        steps = self._steps()
        return steps[-1] if steps else None

    def last_good(self) -> str:
        """The latest checkpoint, for the end of a sentence."""
        step = self.latest()
        return f"{'there is no' if step is None else f'step {step} has the last good'} checkpoint in {self.directory}"

    def resume(self, abstract_tree: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The latest checkpoint that is whole: its step, tree and extra; None where there is no checkpoint.

        One that is damaged is told and renamed, and the one before it is taken.

        Raises:
          UserError: the tree has another structure, or every checkpoint is damaged.
        """
        damaged: dict[int, DamagedCheckpoint] = {}
        for step in reversed(self._steps()):
            try:
                found = step, self.restore(step, abstract_tree), self.extra(step)
            except DamagedCheckpoint as error:
                damaged[step] = error
                if jax.process_count() > 1 and error.__cause__ is not None:
                    raise  # What one host could not read, others may have read.
                continue
            for bad, why in damaged.items():
                _LOG.warning("%s; it is %s now, and the run goes on from step %d", why, self._put_aside(bad), step)
            return found
        for why in damaged.values():
            raise UserError(f"{why}; there is no other: delete {self.directory} to start again") from why
        return None

    def extra(self, step: int | None = None) -> dict[str, Any]:
        """The JSON saved with a step (None: the latest). Raises UserError where there is none."""
        return json.loads(self._metadata(self._existing(step))["extra"])

    def restore(self, step: int | None, abstract_tree: Any) -> Any:
        """The tree saved under a step.

        Args:
          step: which; None is the latest.
          abstract_tree: arrays or `jax.ShapeDtypeStruct` in the structure of the saved tree. Each leaf comes back
            with the dtype and sharding of its place here, on whatever mesh it was saved.

        Returns:
          The tree, in the structure of `abstract_tree`.

        Raises:
          DamagedCheckpoint: it cannot be read, or is not what was saved.
          UserError: there is no such checkpoint, or its leaves have other names, shapes or dtypes.
        """
        step = self._existing(step)
        wanted = _named_leaves(abstract_tree)
        self._check_leaves(step, wanted)
        with self._naming_the_damaged(step):
            arrays = self._manager().load(step, {name: _to_abstract(leaf) for name, leaf in wanted.items()})
        restored = {name: _from_array(arrays[name], leaf) for name, leaf in wanted.items()}
        self._check_digests(step, restored)
        return jax.tree.unflatten(jax.tree.structure(abstract_tree), restored.values())

    def close(self) -> None:
        """Let go of the directory, once all is saved. Raises UserError where the disk is full."""
        try:
            self.wait()
        finally:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
            self._quiet.close()

    def __enter__(self) -> Checkpointer:
        """This object."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close it; of two errors the first one is told."""
        with contextlib.suppress(UserError) if kind is not None else contextlib.nullcontext():
            self.close()

    def _manager(self, writes: bool = False) -> ocp.training.Checkpointer:
        """Orbax's checkpointer. Only a writer clears what a killed job left: a reader would hit a running save."""
        if self._opened is None or (writes and not self._writes):
            self.close()
            self._writes = writes
            self._quiet.enter_context(_quiet_orbax())  # Also for what goes on in the background.
            policy = ocp.training.preservation_policies.LatestN(n=self._keep)
            self._opened = ocp.training.Checkpointer(
                self.directory, preservation_policy=policy, cleanup_tmp_directories=writes
            )
        return self._opened

    def _drop_half_written(self, step: int) -> None:
        """Forget a save that failed: orbax would raise its error again at the next save and at closing."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(Exception):
                opened.close()
        for leftover in self.directory.glob(f"{step}.orbax-checkpoint-tmp*"):
            _remove(leftover)

    @contextlib.contextmanager
    def _telling_of_a_full_disk(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_full_disk(error):
                raise
            self._drop_half_written(step)
            raise UserError(
                f"no space left for the checkpoint of step {step} in {self.directory}; free some and run again"
            ) from error

    @contextlib.contextmanager
    def _naming_the_damaged(self, step: int) -> Iterator[None]:
        try:
            yield
        except _ERRORS_OF_READING as error:
            why = " ".join(str(error).split())[:300]
            raise DamagedCheckpoint(f"{self.directory / str(step)} is damaged ({why})") from error

    def _check_digests(self, step: int, leaves: dict[str, Array]) -> None:
        """Raise DamagedCheckpoint by the first leaf whose bits are not those that were saved."""
        saved = self._metadata(step).get("digests", {})
        digests = {name: digest(_to_array(name, leaves[name])) for name in saved}
        for name, found in jax.device_get(digests).items():
            if int(found) != saved[name]:
                raise DamagedCheckpoint(f"{self.directory / str(step)} is damaged: {name} is not what was saved")

    def _put_aside(self, step: int) -> str:
        """Rename a checkpoint, so that none takes it for one; gives the name, numbered from the step's second on."""
        self.close()
        name, number = f"damaged-{step}", 1
        while (self.directory / name).exists():
            number += 1
            name = f"damaged-{step}-{number}"
        meet("each process knows the name of a damaged checkpoint")
        if jax.process_index() == 0:
            (self.directory / str(step)).rename(self.directory / name)
        meet("a damaged checkpoint is put aside")
        return name

    def _steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        self.wait()
        if not self.directory.exists():
            return []
        return sorted(checkpoint.step for checkpoint in self._manager().checkpoints)

    def _existing(self, step: int | None) -> int:
        """`step`, or the latest; raises UserError where it has no checkpoint."""
        known = self._steps()
        if not known:
            raise UserError(f"no checkpoint in {self.directory}; run the stage that writes it first")
        if step is None:
            return known[-1]
        if step not in known:
            raise UserError(f"no checkpoint of step {step} in {self.directory}; it has {', '.join(map(str, known))}")
        return step

    def _metadata(self, step: int) -> dict[str, Any]:
        with self._naming_the_damaged(step):
            metadata = self._manager().metadata(step).custom_metadata
        if not isinstance(metadata, dict) or "leaves" not in metadata:
            raise DamagedCheckpoint(f"{self.directory / str(step)} is damaged, or was not written by prm_jax")
        if metadata.get("checksum", found := _checksum(metadata)) != found:
            raise DamagedCheckpoint(f"{self.directory / str(step)} is damaged: its metadata are not what was saved")
        return metadata

    def _check_leaves(self, step: int, wanted: dict[str, Any]) -> None:
        """Raise UserError by the first leaf that is missing, of another shape or dtype, or not asked for."""
        saved = self._metadata(step)["leaves"]
        for name in [*wanted, *(name for name in saved if name not in wanted)]:
            here = saved.get(name, "nothing")
            there = _describe(wanted[name]) if name in wanted else "nothing"
            if here != there:
                raise UserError(
                    f"the checkpoint of step {step} in {self.directory} holds {here} at {name}, the configuration "
                    f"expects {there}; give the configuration it was made with, or another directory"
                )
