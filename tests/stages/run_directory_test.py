"""A run directory: what is done is skipped, what is half done goes on, what does not belong together is refused."""

import dataclasses
import functools
import json
import os
from types import SimpleNamespace

import pytest
from etils import epath

from prm_jax.errors import UserError
from prm_jax.stages import run_directory
from prm_jax.stages.run_directory import RunDirectory, fingerprint, resolved, write_json


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True)
class Other:
    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return RunDirectory(str(tmp_path / "run"))


def nothing(folder):
    raise AssertionError("this work must not be done")


def test_a_finished_stage_is_skipped_for_the_same_configuration(run, capsys):
    run.stage("sft", {"learning": Inner()}, lambda folder: {"loss": 0.123456, "curve": ((1, 2),)})
    told = capsys.readouterr().out
    assert "sft: starting" in told and "loss 0.1235" in told and "curve" not in told
    run.stage("sft", {"learning": Inner()}, nothing)
    assert "sft: done already for this configuration, skipped" in capsys.readouterr().out
    record = run.record_of("sft")
    assert record["summary"]["loss"] == 0.123456 and record["seconds"] >= 0
    assert record["fingerprint"] == run.fingerprint_of("sft") == fingerprint(resolved({"learning": Inner()}))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"learning": Inner(rate=0.25), "seed": 0}, "learning.rate"),
        ({"learning": Inner(sizes=(1, 3)), "seed": 0}, "learning.sizes"),
        ({"learning": Other(), "seed": 0}, "learning.type"),
        ({"learning": Inner(), "seed": 1}, "seed"),
        ({"learning": Inner(), "seed": 0, "more": 1}, "more"),
    ],
)
def test_another_configuration_is_refused_by_the_name_of_the_difference(run, given, named):
    run.stage("sft", {"learning": Inner(), "seed": 0}, lambda folder: {})
    before = sorted(path.name for path in run.folder("sft").iterdir())
    with pytest.raises(UserError, match=rf"differs in {named}\).*choose another --run_dir"):
        run.stage("sft", given, nothing)
    assert sorted(path.name for path in run.folder("sft").iterdir()) == before


def test_a_stage_is_done_for_a_part_of_its_configuration(run):
    assert not run.is_done_for("sft", learning=Inner())
    run.stage("sft", {"learning": Inner(), "seed": 0}, lambda folder: {})
    assert run.is_done_for("sft", learning=Inner()) and run.is_done_for("sft", learning=Inner(), seed=0)
    assert not run.is_done_for("sft", learning=Inner(rate=0.25)) and not run.is_done_for("sft", more=1)


def test_a_finished_stage_is_checked_for_a_part_of_its_configuration(run):
    run.check("sft", learning=Inner(rate=0.25))  # Whether it has to be there is another question.
    run.stage("sft", {"learning": Inner(), "seed": 0}, lambda folder: {})
    run.check("sft", learning=Inner())
    run.check("sft", learning={"sizes": (1, 2)}, seed=0)
    with pytest.raises(UserError, match=r"sft was made .* \(it differs in learning\.sizes, seed\): give that one"):
        run.check("sft", learning={"sizes": (1, 3)}, seed=1)


def test_half_done_work_goes_on_in_its_folder(run):
    def die(folder):
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.stage("sft", {"seed": 0}, die)
    assert not run.is_done("sft")
    with pytest.raises(UserError, match="differs in seed"):
        run.stage("sft", {"seed": 1}, nothing)
    run.stage("sft", {"seed": 0}, lambda folder: {"found": (folder / "checkpoint").read_text()})
    assert run.record_of("sft")["summary"] == {"found": "half"}


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that the stage sees."""
    now = [100.0]
    monkeypatch.setattr(run_directory, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_the_seconds_of_interrupted_sessions_count(run, clock, capsys):
    def session(folder, seconds, end):
        clock[0] += seconds
        (folder / "checkpoint").write_text("half")
        if end:
            raise end
        return {}

    for seconds, end in ((5.0, KeyboardInterrupt()), (7.0, UserError("the disk is full"))):
        with pytest.raises(type(end)):
            run.stage("sft", {}, functools.partial(session, seconds=seconds, end=end))
    run.stage("sft", {}, functools.partial(session, seconds=2.0, end=None))
    assert run.record_of("sft")["seconds"] == 14.0 and "sft: done in 2 s" in capsys.readouterr().out
    assert sorted(path.name for path in run.folder("sft").iterdir()) == [
        "checkpoint",
        "configuration.json",
        "done.json",
    ]


def test_a_session_that_leaves_nothing_leaves_no_seconds(run, clock):
    def clear(folder):
        clock[0] += 5.0
        (folder / "checkpoint").unlink(missing_ok=True)
        raise KeyboardInterrupt

    def half(folder):
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    for work, left in ((half, True), (clear, False)):
        with pytest.raises(KeyboardInterrupt):
            run.stage("sft", {"seed": 0}, work)
        assert run.folder("sft").exists() == left
    run.stage("sft", {"seed": 1}, lambda folder: {})
    assert run.record_of("sft")["seconds"] == 0.0


def test_seconds_that_cannot_be_kept_hide_nothing(run):
    def fill(folder):
        (folder / "checkpoint").write_text("half")
        os.symlink("/dev/full", folder / "seconds.json.tmp")
        raise UserError("no")

    with pytest.raises(UserError, match="^no$"):
        run.stage("sft", {}, fill)
    assert sorted(path.name for path in run.folder("sft").iterdir()) == ["checkpoint", "configuration.json"]


def test_other_hosts_keep_no_seconds(run, monkeypatch):
    def die(folder):
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    run.folder("sft").mkdir(parents=True)
    monkeypatch.setattr(run_directory, "is_first", lambda: False)
    with pytest.raises(KeyboardInterrupt):
        run.stage("sft", {}, die)
    assert [path.name for path in run.folder("sft").iterdir()] == ["checkpoint"]


def test_a_stage_that_fails_before_it_makes_anything_leaves_no_claim(run):
    def refuse(folder):
        raise UserError("no")

    with pytest.raises(UserError, match="^no$"):
        run.stage("ppo/arm", {"seed": 0}, refuse)
    assert not run.folder("ppo/arm").exists()
    run.stage("ppo/arm", {"seed": 1}, lambda folder: {})


def test_a_missing_stage_is_named_with_the_command_that_makes_it(run):
    for stage, command in (("ppo/outcome", "ppo"), ("evaluate/sft", "evaluate"), ("prm_blind", "prm"), ("orm", "orm")):
        with pytest.raises(UserError, match=f"no finished stage '{stage}': run `prm_jax {command}` there first"):
            run.fingerprint_of(stage)


def test_a_finished_stage_is_copied_and_is_finished_there(run, tmp_path):
    with pytest.raises(UserError, match="no finished stage 'label'"):
        run.copy_stage("label", str(tmp_path / "other"), without="tfds")

    def work(folder):
        for name in ("a/rows.npy", "a/tfds/rows", "card.json"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        return {"rows": 2}

    run.stage("label", {"seed": 0}, work)
    other = RunDirectory(str(tmp_path / "other"))
    for _ in range(2):
        run.copy_stage("label", other.path, without="tfds")
        names = {str(path.relative_to(tmp_path / "other/label")) for path in (tmp_path / "other/label").rglob("*")}
        assert names == {"a", "a/rows.npy", "card.json", "configuration.json", "done.json"}
        assert other.record_of("label") == run.record_of("label")
    other.stage("label", {"seed": 0}, nothing)
    third = RunDirectory(str(tmp_path / "third"))
    third.stage("label", {"seed": 1}, lambda folder: {})
    with pytest.raises(UserError, match=r"differs in seed\): choose another --export"):
        third.copy_stage("label", other.path, without="tfds")


def test_a_copy_that_was_cut_short_is_not_finished_until_it_is_whole(run, tmp_path, monkeypatch):
    run.stage("label", {"seed": 0}, lambda folder: {"size": (folder / "rows").write_text("whole")})
    other = RunDirectory(str(tmp_path / "other"))

    def full(source, target, overwrite):
        target.write_text("wh")
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(run.folder("label")), "copy", full)
        with pytest.raises(OSError, match="No space"):
            run.copy_stage("label", other.path, without="tfds")
    assert not other.is_done("label") and (other.folder("label") / "rows").read_text() == "wh"
    run.copy_stage("label", other.path, without="tfds")
    assert other.is_done("label") and (other.folder("label") / "rows").read_text() == "whole"


def test_fingerprints_differ_with_types_and_values_and_not_with_order():
    assert fingerprint(resolved({"a": 1, "b": 2})) == fingerprint(resolved({"b": 2, "a": 1}))
    assert fingerprint(resolved(Inner())) != fingerprint(resolved(Other()))
    assert fingerprint(resolved(Inner())) != fingerprint(resolved(Inner(sizes=(2, 1))))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = epath.Path(tmp_path) / "value.json"
    for value in ({"a": 0}, {"a": 1}):  # A resumed stage writes again.
        write_json(path, value)
        assert json.loads(path.read_text()) == value
    before = path.read_text()
    (tmp_path / "value.json.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": 2})
    assert path.read_text() == before and [each.name for each in tmp_path.iterdir()] == ["value.json"]
