"""The command line: quick help, and for each mistake of a user's one line, exit status 2 and nothing half-written."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import pytest

import gin
from prm_jax import cli
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.stages.run_directory import RunDirectory, write_json
from prm_jax.stages.workbench import save_params
from prm_jax.text.tokenizer import BpeTokenizer

ROOT = pathlib.Path(__file__).parents[1]
TINY = ("--gin_file=gin/quickstart.gin", "--gin_file=gin/local_tiny.gin")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)
    yield
    gin.clear_config()


@pytest.fixture
def run_dir(tmp_path) -> pathlib.Path:
    return tmp_path / "run"


@pytest.fixture
def refused(capsys, run_dir):
    """Runs a command that must be refused: status 2, one line on stderr, no file made or changed; gives the line."""

    def run(*arguments: str) -> str:
        before = _content(run_dir)
        assert cli.main([*arguments, f"--run_dir={run_dir}"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith(f"prm_jax {arguments[0]}: ")
        assert _content(run_dir) == before
        return error

    return run


def _content(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_compiled_is_kept_where_the_user_says(tmp_path, monkeypatch):
    name = "JAX_COMPILATION_CACHE_DIR"
    cli._keep_what_is_compiled(late := {"XDG_CACHE_HOME": str(tmp_path)})
    assert name not in late and not list(tmp_path.iterdir())  # JAX is imported and would not hear of it.
    monkeypatch.delitem(sys.modules, "jax")
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    cli._keep_what_is_compiled(environment)
    folder = pathlib.Path(environment[name])
    assert folder.parent == tmp_path / "prm_jax/compiled" and folder.is_dir()
    cli._keep_what_is_compiled(own := {name: "/somewhere", "XDG_CACHE_HOME": str(tmp_path)})
    assert own[name] == "/somewhere"
    (tmp_path / "file").touch()
    cli._keep_what_is_compiled(shut := {"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert name not in shut


def test_help_answers_within_a_second_and_loads_nothing_heavy():
    code = """
import sys
from prm_jax.cli import main
try:
    main(["--help"])
except SystemExit as ended:
    assert not ended.code
heavy = {"jax", "tensorflow", "numpy", "gin", "flax", "apache_beam"} & set(sys.modules)
sys.exit(f"{heavy} were imported" if heavy else 0)
"""
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
        times.append(time.monotonic() - start)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in (*cli.STAGES, *cli.TOOLS, *cli.PLAIN))
    assert min(times) < 1.0


def test_every_command_has_its_own_help(capsys):
    for name in (*cli.STAGES, *cli.TOOLS):
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0 and "--gin_file" in capsys.readouterr().out


def test_a_misspelt_macro(refused):
    assert "UPDATE:" in refused("label", *TINY, "--gin.UPDATE=3")


@pytest.mark.parametrize(
    "override", ["PpoConfig.updatse=3", "PpoConfg.updates=3", "PpoConfig.updates=", "PpoConfig.epochs=0"]
)
def test_a_binding_that_cannot_be_meant(refused, override):
    assert "PpoConf" in refused("label", *TINY, f"--gin.{override}")


def test_a_string_without_quotes_of_its_own(refused):
    error = refused("label", "--gin_file=gin/data/mbpp.gin", "--gin.MBPP=/data/mbpp.jsonl")
    assert "--gin.MBPP=/data/mbpp.jsonl" in error and "quotes" in error


def test_a_missing_gin_file(refused):
    assert "'gin/quikstart.gin'" in refused("run", "--gin_file=gin/quikstart.gin")


def test_a_configuration_of_elsewhere_is_read_without_a_word_of_where_gin_looked(monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)
    arguments, overrides = cli._parse(["sft", f"--gin_file={ROOT / 'gin/quickstart.gin'}"])
    experiment, _ = cli._resolve(arguments, overrides)
    assert len(experiment.arms) == 4 and not caplog.records


def test_a_report_of_nothing(refused):
    assert "nothing in" in refused("report", *TINY)


def test_a_file_of_problems_that_is_not_there(refused):
    assert "/no/mbpp.jsonl: no such file" in refused(
        "label", "--gin_file=gin/data/mbpp.gin", '--gin.MBPP="/no/mbpp.jsonl"'
    )


def test_no_configuration_at_all(capsys, tmp_path):
    assert cli.main(["generate", "--problem=x"]) == 2
    assert "neither --gin_file nor --run_dir" in capsys.readouterr().err
    assert cli.main(["generate", "--problem=x", f"--run_dir={tmp_path}"]) == 2
    assert "config.gin" in capsys.readouterr().err


def test_another_configuration_in_the_same_place(refused, run_dir):
    (run_dir / "label").mkdir(parents=True)
    write_json(run_dir / "label/configuration.json", {"problems": {"type": "ProblemSets"}})
    (run_dir / "label/labelled-00000-of-00016.jsonl").write_text("")
    error = refused("label", *TINY)
    assert "another configuration" in error and "problems.demonstrations" in error and "--run_dir" in error


@pytest.mark.parametrize(
    ("stage", "missing"), [("tasks", "label"), ("sft", "tasks"), ("prm", "sft"), ("ppo", "sft"), ("evaluate", "sft")]
)
def test_a_stage_before_the_one_that_it_needs(refused, stage, missing):
    assert f"run `prm_jax {missing}` there first" in refused(stage, *TINY)


def test_an_arm_that_the_experiment_has_not(refused):
    assert "'prm_sum'" in refused("ppo", *TINY, "--arm=prm_sum")


def test_a_program_that_is_not_there(refused):
    assert "/no/such.py" in refused("score", "/no/such.py", "--problem=x", *TINY)


def test_a_program_that_is_no_text(refused, tmp_path):
    assert f"'{tmp_path}'" in refused("score", str(tmp_path), "--problem=x", *TINY)
    (tmp_path / "latin.py").write_bytes("é = 1\n".encode("latin-1"))
    assert "in UTF-8" in refused("score", str(tmp_path / "latin.py"), "--problem=x", *TINY)


@pytest.mark.parametrize("place", [__file__, "/proc/x"])
def test_a_run_directory_that_cannot_be_made(capsys, place):
    assert cli.main(["label", *TINY, f"--run_dir={place}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{place}/label cannot be made" in error and "another --run_dir" in error


def test_an_export_onto_a_file(refused):
    assert f"{__file__} is a file: give --out a folder" in refused("export", f"--out={__file__}", *TINY)


@pytest.mark.parametrize("command", [("score", __file__), ("generate",)])
def test_a_problem_that_is_not_there(refused, command):
    error = refused(*command, "--problem=synthetic/nope", *TINY)
    assert "'synthetic/nope'" in error and "for example" in error


def finished(run: RunDirectory, stage: str) -> pathlib.Path:
    folder = pathlib.Path(run.folder(stage))
    folder.mkdir(parents=True)
    write_json(folder / "done.json", {"fingerprint": stage, "seconds": 1.0, "summary": {}})
    return folder


def test_a_checkpoint_of_another_shape(refused, run_dir):
    run = RunDirectory(str(run_dir))
    tokenizer = BpeTokenizer.train(["def f(x):\n    return x\n"], 300)
    tokenizer.save(finished(run, "tasks") / "tokenizer.json")
    narrow = ModelConfig(vocab_size=tokenizer.vocab_size, width=16, layers=2, heads=2, kv_heads=2, mlp_width=64)
    finished(run, "sft")
    save_params(run.folder("sft"), init_policy(narrow, jax.random.key(0)))
    finished(run, "label")
    problem = _a_problem()
    error = refused("generate", f"--problem={problem}", *TINY)
    assert "holds float32[" in error and "expects float32[" in error and str(run_dir / "sft") in error


def _a_problem() -> str:
    from prm_jax.problems.synthetic import generate

    return generate("test", 12, 3, 4)[0].id


def test_a_full_disk(refused, run_dir):
    # What is written to /dev/full gets the kernel's own ENOSPC.
    (run_dir / "label").mkdir(parents=True)
    (run_dir / "label/configuration.json.tmp").symlink_to("/dev/full")
    assert "disk is full" in refused("label", *TINY)


def test_a_disk_that_fills_up_while_beam_writes(monkeypatch, capsys, run_dir):
    from prm_jax.labelling import beam, jsonl

    written = []

    def fill_up(path, text):
        written.append(path)
        if len(written) > 3:
            raise OSError(28, "No space left on device", str(path))
        pathlib.Path(path).write_text(text)

    for module in (jsonl, beam):
        monkeypatch.setattr(module, "write_text", fill_up)
    assert cli.main(["label", *TINY, f"--run_dir={run_dir}"]) == 2
    error = capsys.readouterr().err
    assert "No space left" in error and error.count("\n") == 1
    assert not (run_dir / "label/done.json").exists()
    monkeypatch.undo()
    os.chdir(ROOT)
    assert cli.main(["label", *TINY, f"--run_dir={run_dir}"]) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_while_beam_labels(monkeypatch, capsys, run_dir, number, status):
    """SIGTERM says that the machine is taken away: no failure, and nothing but words tells that there is more to do."""
    before = signal.getsignal(number)

    def labels_while_the_signal_comes(*_):
        os.kill(os.getpid(), number)
        return []  # The main thread, which alone hears signals, may get there later.

    monkeypatch.setattr("prm_jax.labelling.beam.label_problems", labels_while_the_signal_comes)
    assert cli.main(["label", *TINY, f"--run_dir={run_dir}"]) == status
    assert signal.getsignal(number) is before
    error = capsys.readouterr().err
    assert "stopped" in error and "same command" in error and "Traceback" not in error


def test_other_hosts_are_asked_for_the_same(monkeypatch, run_dir):
    told = []

    @contextlib.contextmanager
    def joined(tell):
        told.append(tell())
        yield

    monkeypatch.setattr("prm_jax.parallel.processes.joined", joined)
    monkeypatch.setattr("prm_jax.stages.ppo.ppo", lambda *_, **__: None)
    run_dir.mkdir()
    for change in ([], ["--arm=prm_mean"], ["--gin.SEED=5"]):
        assert cli.main(["ppo", *TINY, *change, f"--run_dir={run_dir}"]) == 0
    plain, other_arm, other_seed = told
    assert plain["run directory"] == str(run_dir) and plain["command"] == "ppo"
    assert {name for name in plain if plain[name] != other_arm[name]} == {"command"}
    assert {name for name in plain if plain[name] != other_seed[name]} == {"configuration"}


def test_a_mistake_of_ours_is_not_told_as_one_of_the_users(monkeypatch, run_dir):
    monkeypatch.setattr("prm_jax.stages.label.families", lambda experiment: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["label", *TINY, f"--run_dir={run_dir}"])
