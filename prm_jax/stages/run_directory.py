"""`RunDirectory`: where a run lives, and which of its stages are done for which configuration.

Stages ask it for their folder; it skips what is done for the same configuration, lets half-done work resume, and
refuses to mix two configurations in one place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Set
from typing import Any

from etils import epath

from prm_jax.errors import UserError, is_full_disk
from prm_jax.parallel.processes import is_first, meet

_CONFIGURATION = "configuration.json"
_DONE = "done.json"
_SECONDS = "seconds.json"
"""The seconds of a stage's sessions that did not finish it."""
_MADE_BY = {"prm_blind": "prm", "screening": "ppo"}
"""The commands of stages that have none of their own name."""


def resolved(value: Any) -> Any:
    """`value` as plain JSON data, dataclasses as dictionaries that name their type."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: resolved(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, list | tuple):
        return [resolved(item) for item in value]
    if isinstance(value, dict):
        return {str(key): resolved(item) for key, item in value.items()}
    return value


def fingerprint(configuration: Any) -> str:
    """A hash of a resolved configuration."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The folder of one run. Every stage owns one sub-folder of it, named like the stage."""

    path: str

    def folder(self, stage: str) -> epath.Path:
        """The folder of a stage."""
        return epath.Path(self.path) / stage

    def stage(
        self,
        name: str,
        configuration: dict[str, Any],
        work: Callable[[epath.Path], dict[str, Any]],
        alone: bool = False,
    ) -> None:
        """Does `work(folder)` unless it is done for this configuration already.

        On several hosts all of them call this; the first one claims the folder and keeps the books. A stage's seconds
        are those of all its sessions, but for those that were killed (SIGKILL, a power cut) and could tell nothing.

        Args:
          name: the stage, and the sub-folder it may write to.
          configuration: all that the outcome depends on: dataclasses and the fingerprints of earlier stages.
          work: the stage itself; returns what is worth printing and keeping.
          alone: whether the first host does the work, and the others wait for it.

        Raises:
          UserError: if the folder holds this stage for another configuration, or cannot be made.
        """
        folder = self.folder(name)
        plain = resolved(configuration)
        if is_first():
            self._claim(name, folder, plain)
        done = (folder / _DONE).exists()
        meet(f"{name} is claimed")  # Behind the look at what is done: the first may be through before another looks.
        if done:
            _say(f"{name}: done already for this configuration, skipped")
            return
        _say(f"{name}: starting")
        start = time.monotonic()
        try:
            summary = work(folder) if is_first() or not alone else {}
        except BaseException:
            if is_first():
                self._leave(folder, time.monotonic() - start)
            raise
        seconds = time.monotonic() - start
        if is_first():
            total = seconds + _earlier_seconds(folder)
            write_json(folder / _DONE, {"fingerprint": fingerprint(plain), "seconds": total, "summary": summary})
            (folder / _SECONDS).unlink(missing_ok=True)
        meet(f"{name} is done")
        told = ", ".join(
            f"{key} {_short(value)}" for key, value in summary.items() if not isinstance(value, dict | list | tuple)
        )
        _say(f"{name}: done in {seconds:.0f} s{': ' + told if told else ''}")

    def fingerprint_of(self, stage: str) -> str:
        """The fingerprint of a finished stage.

        Raises:
          UserError: if the stage has not been run here.
        """
        return self.record_of(stage)["fingerprint"]

    def record_of(self, stage: str) -> dict[str, Any]:
        """What a finished stage left behind: `fingerprint`, `seconds` and `summary`.

        Raises:
          UserError: if the stage has not been run here.
        """
        done = self.folder(stage) / _DONE
        if not done.exists():
            command = _MADE_BY.get(stage, stage.split("/")[0])
            raise UserError(f"{self.path} holds no finished stage {stage!r}: run `prm_jax {command}` there first")
        return json.loads(done.read_text())

    def is_done(self, stage: str) -> bool:
        """Whether the stage has been finished here, for whatever configuration."""
        return (self.folder(stage) / _DONE).exists()

    def is_done_for(self, stage: str, **configuration: Any) -> bool:
        """Whether the stage has been finished here with these entries of its configuration, whatever the others."""
        return self.is_done(stage) and not self._changed(stage, configuration)

    def check(self, stage: str, **configuration: Any) -> None:
        """Refuses a stage that was finished here with other entries of its configuration, whatever the others.

        A fingerprint tells later stages which configuration it was finished with, not whether it is the one at hand.

        Raises:
          UserError: some differ; of a dictionary only the keys that are given count.
        """
        if self.is_done(stage) and (changed := self._changed(stage, configuration)):
            raise UserError(
                f"{self.folder(stage)} was made with another configuration (it differs in {', '.join(changed)}): give "
                "that one, or choose another --run_dir"
            )

    def copy_stage(self, stage: str, path: str, without: str) -> None:
        """Makes a stage that is finished here a finished stage of the run directory at `path`.

        A copy that was cut short is no finished stage; the next call makes it whole. One that is whole is left alone.

        Args:
          stage: which.
          path: the other run directory, which need not be there.
          without: the name of files and folders that are left out.

        Raises:
          UserError: if the stage is not finished here, or the other folder holds it for another configuration.
        """
        record, other, folder = self.record_of(stage), RunDirectory(path), self.folder(stage)
        other._claim(stage, other.folder(stage), json.loads((folder / _CONFIGURATION).read_text()), "--export")
        if not other.is_done(stage):
            _copy(folder, other.folder(stage), {_CONFIGURATION, _DONE, without})
            write_json(other.folder(stage) / _DONE, record)

    def _changed(self, stage: str, configuration: dict[str, Any]) -> list[str]:
        """Dotted names of these entries in which the configuration of a stage differs, at most four."""
        held = json.loads((self.folder(stage) / _CONFIGURATION).read_text())
        given = json.loads(json.dumps(resolved(configuration)))
        return _differences(_part_of(held, given), given)

    def _claim(self, name: str, folder: epath.Path, plain: dict[str, Any], flag: str = "--run_dir") -> None:
        """Marks the folder with the configuration, or finds it marked with another one."""
        mark = folder / _CONFIGURATION
        if not mark.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                if is_full_disk(error):
                    raise
                raise UserError(f"{folder} cannot be made ({error.strerror}): choose another {flag}") from error
            write_json(mark, plain)
            return
        held = json.loads(mark.read_text())
        if held != json.loads(json.dumps(plain)):
            changed = ", ".join(_differences(held, plain)) or "its inputs"
            raise UserError(
                f"{folder} was made with another configuration (it differs in {changed}): "
                f"choose another {flag}, or delete {folder} to make it again"
            )

    def _leave(self, folder: epath.Path, seconds: float) -> None:
        """Ends a session that did not finish the stage: its seconds are added to those before.

        Where nothing was made yet the mark is taken back, so that a corrected configuration may have the folder.
        """
        if {entry.name for entry in folder.iterdir()} <= {_CONFIGURATION, _SECONDS}:
            folder.rmtree()
            return
        with contextlib.suppress(OSError):  # A full disk, say: what ended the session is what is to be told.
            write_json(folder / _SECONDS, {"seconds": _earlier_seconds(folder) + seconds})


def write_json(path: epath.Path, value: Any) -> None:
    """Writes JSON so that a reader finds the whole file or none, its entries in the order that they have here."""
    temporary = path.parent / (path.name + ".tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1))
        temporary.replace(path)  # `rename` of epath refuses a file that is there.
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _copy(source: epath.Path, target: epath.Path, without: Set[str]) -> None:
    """Copies a folder, over what is there."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name in without:
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name, without)
        else:
            entry.copy(target / entry.name, overwrite=True)


def _earlier_seconds(folder: epath.Path) -> float:
    """The seconds of the sessions before, none where there was none."""
    kept = folder / _SECONDS
    return json.loads(kept.read_text())["seconds"] if kept.exists() else 0.0


def _differences(held: Any, given: Any, name: str = "") -> list[str]:
    """Dotted names of the entries in which two resolved configurations differ, at most four."""
    if isinstance(held, dict) and isinstance(given, dict):
        keys = sorted(held.keys() | given.keys())
        found = [
            d for key in keys for d in _differences(held.get(key), given.get(key), f"{name}.{key}" if name else key)
        ]
        return found[:4]
    return [] if held == json.loads(json.dumps(given)) else [name]


def _part_of(held: Any, given: Any) -> Any:
    """Of nested dictionaries the entries that another one has too."""
    if isinstance(held, dict) and isinstance(given, dict):
        return {key: _part_of(held.get(key), value) for key, value in given.items()}
    return held


def _say(line: str) -> None:
    if is_first():
        print(line, flush=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
