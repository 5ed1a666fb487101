"""The command line: `prm_jax STAGE --gin_file=FILE … --gin.NAME=VALUE … --run_dir=DIR`.

Comes in: arguments. Goes out: an exit status: 0 done; 1 `compile` found a stage that does not fit; 2 a mistake of the
user's, told in one line; 130 stopped by Ctrl-C, to be gone on with by the same command; 0 too where SIGTERM took the
machine away and all is saved. This is the only module that knows gin; a stage gets plain frozen dataclasses. Nothing
heavy is imported before the arguments are understood, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import logging
import os
import platform
import re
import signal
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING

from prm_jax.ahead import heap
from prm_jax.errors import Interrupted, UserError, is_full_disk

if TYPE_CHECKING:
    from prm_jax.stages.experiment import Experiment

CONFIGURATION = "config.gin"

STAGES = {
    "run": "all that the experiment needs of the stages below but mine, in order",
    "mine": "source trees to problems: functions whose docstrings show what they give",
    "label": "problems to step-labelled programs",
    "tasks": "labelled programs to seqio tasks, exported as plain arrays",
    "sft": "train the policy on the demonstrations",
    "prm": "train the process reward model on the step labels",
    "orm": "train the outcome reward model",
    "ppo": "train the policy with every arm of the configuration",
    "evaluate": "pass@k of every policy, and how well the PRM judges",
    "report": "one self-contained HTML page of what the run directory holds",
}
TOOLS = {
    "generate": "write programs for one problem, with their verdicts",
    "score": "print a program with the PRM's score on each line",
    "export": "write a trained network as a folder that transformers loads",
    "compile": "what every stage needs of a TPU slice, compiled without one",
    "scaling": "how stages grow with the slice, and what bounds them there, compiled without one",
}
# Commands that take no experiment.
PLAIN = {
    "doctor": "what this machine offers: kernel, sandbox, cores, memory, devices, versions, disk",
    "bench": "how fast a part of prm_jax is on this machine",
    "compare": "one table of several finished runs, such as those of other seeds",
}
BENCHES = {
    "sandbox": "programs per second, fully confined",
    "labelling": "variants of references per second, phase by phase",
    "quality": "programs per second and core, measured without running them",
    "sampling": "useful tokens per second of the sampling engine, beside transformers and Tunix",
    "training": "tokens per second of an update of SFT, PRM and PPO, beside transformers",
    "checkpoint": "how long saving stops training",
}


def make_parser() -> argparse.ArgumentParser:
    """The argument parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="prm_jax", description="Process-supervised reinforcement learning for code, in pure JAX."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in (STAGES | TOOLS).items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="--gin.NAME=VALUE sets a macro or a binding, e.g. --gin.SEED=1 or --gin.PpoConfig.updates=5.",
        )
        command.add_argument(
            "--gin_file", action="append", required=name in STAGES, default=None, metavar="FILE",
            help="configuration; may be given several times, later files win",
        )  # fmt: skip
        command.add_argument("--run_dir", help="where the run lives (default: runs/ and the experiment's name)")
        _add_own_arguments(command, name)
    for name, summary in PLAIN.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == "bench":
            _add_benches(command)
        if name == "compare":
            command.add_argument("runs", nargs="+", metavar="RUN_DIR", help="a finished run")
            command.add_argument("--out", metavar="FILE", help="also write the figures there, as JSON")
    return parser


def _add_benches(command: argparse.ArgumentParser) -> None:
    benches = command.add_subparsers(dest="bench", required=True, metavar="PART")
    for name, summary in BENCHES.items():
        bench = benches.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name not in ("training", "checkpoint"):
            bench.add_argument("--mbpp", metavar="FILE", help="mbpp.jsonl as published (default: without MBPP)")
        if name in ("sandbox", "labelling", "quality"):
            bench.add_argument("--programs", type=int, help="programs of each kind")
        if name == "sampling":
            bench.add_argument(
                "--checkpoint", metavar="PATH", help="folder or GGUF file (default: a tiny random model)"
            )
            bench.add_argument("--prompts", type=int, help="problems (default: 128)")
            bench.add_argument("--samples", type=int, help="completions to each (default: 2)")
            bench.add_argument("--new_tokens", type=int, help="of the longest completion (default: 256)")
            bench.add_argument("--slots", type=int, help="rows that our engine decodes together (default: 128)")
        if name == "training":
            bench.add_argument("--checkpoint", metavar="PATH", help="whose shape to train (default: SmolLM2-135M's)")
            bench.add_argument("--rows", type=int, help="of a batch (default: 8)")
            bench.add_argument("--tokens", type=int, help="of a row (default: 512)")
            bench.add_argument("--steps", type=int, help="timed ones (default: 2)")
            bench.add_argument("--dtype", help="of activations, float32 or bfloat16 (default: float32)")
        if name == "checkpoint":
            bench.add_argument("--width", type=int, help="of the model that trains (default: 256)")
            bench.add_argument("--layers", type=int, help="of the model that trains (default: 4)")
            bench.add_argument("--every", type=int, help="steps from one save to the next (default: 10)")
            bench.add_argument("--folder", metavar="DIR", help="where to save (default: the system's temporary folder)")


def _add_own_arguments(command: argparse.ArgumentParser, name: str) -> None:
    if name == "mine":
        command.add_argument(
            "--roots", nargs="+", metavar="DIR", help="source (default: the standard library, installed packages)"
        )
    if name == "tasks":
        command.add_argument(
            "--export", metavar="DIR", help="also write a run directory to go on in where there is no TensorFlow"
        )
    if name in ("ppo", "generate"):
        command.add_argument("--arm", help="only this arm" if name == "ppo" else "policy to use (default: sft)")
    if name == "score":
        command.add_argument("file", help="the program to score")
    if name in ("generate", "score"):
        command.add_argument("--problem", required=True, metavar="ID", help="a problem of the run, e.g. mbpp/11")
    if name == "generate":
        command.add_argument("--samples", type=int, default=4, help="how many programs to write")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument(
            "--guided", metavar="BY", help="show the best of more programs, by prm, orm, majority or beam"
        )
    if name == "export":
        command.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
        command.add_argument("--network", help="sft, prm, orm or the name of an arm (default: sft)")
        command.add_argument("--dtype", help="of the weights, float32 or bfloat16 (default: float32)")
    if name == "compile":
        command.add_argument("--topology", required=True, metavar="SLICE", help="such as v5e:4x4 or v5p-64")
    if name == "scaling":
        command.add_argument("--topology", required=True, nargs="+", metavar="SLICE", help="the smallest first")
        command.add_argument("--weak", action="store_true", help="batches grow with the slice (default: they stay)")
    if name in ("compile", "scaling"):
        command.add_argument("--program", nargs="+", metavar="NAME", help="only those whose names begin so")
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    arguments, overrides = _parse(sys.argv[1:] if argv is None else argv)
    # Of the libraries only errors are news to a user; of our own rooms also what was left out.
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("prm_jax").setLevel(logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # It logs with a stack trace what it raises too.
    _keep_what_is_compiled(os.environ)
    if argv is None:  # Of a process of our own.
        heap.keep()
    try:
        if arguments.command in PLAIN:
            _run_plain(arguments)
            return 0
        experiment, run_dir = _resolve(arguments, overrides)
        command = importlib.import_module(f"prm_jax.stages.{arguments.command}")
        own = {
            key: value
            for key, value in vars(arguments).items()
            if key not in ("command", "gin_file", "run_dir") and value is not None
        }
        run = functools.partial(getattr(command, arguments.command), experiment, run_dir, **own)
        if arguments.command in TOOLS:
            return run() or 0
        with _heeding_signals(), _joined(f"{arguments.command} {own or ''}".strip(), experiment, run_dir):
            run()
            _keep_configuration(run_dir)
    except UserError as error:
        return _fail(arguments.command, str(error))
    except (Interrupted, KeyboardInterrupt) as error:
        print(
            f"\nprm_jax {arguments.command}: stopped. {str(error) or 'The same command goes on.'}",
            file=sys.stderr,
        )
        return 0 if getattr(error, "preempted", False) else 130
    except Exception as error:
        if not is_full_disk(error):
            raise
        return _fail(arguments.command, f"the disk is full ({error}): free some space and repeat the command")
    return 0


def _keep_what_is_compiled(environment: MutableMapping[str, str]) -> None:
    """Has JAX, which reads these variables when it is imported, keep what it compiles in the user's cache directory.

    One folder for each kind of processor: what was compiled for another one may not run here.
    """
    if "JAX_COMPILATION_CACHE_DIR" in environment or "jax" in sys.modules:
        return
    root = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(root, "prm_jax", "compiled", _processor())
    with contextlib.suppress(OSError):  # A home that cannot be written to costs time, and nothing else.
        os.makedirs(folder, exist_ok=True)
        environment["JAX_COMPILATION_CACHE_DIR"] = folder
        environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def _processor() -> str:
    """A short name for what the compiler sees of this processor."""
    known = [platform.machine()]
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        known += sorted({line for line in file if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return hashlib.sha256("".join(known).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _heeding_signals() -> Iterator[None]:
    """SIGTERM ends a stage as Ctrl-C does, wherever no loop waits for it to save itself first.

    What a library raises after it has kept the interrupt to itself is taken for the interrupt.
    """
    heard: list[int] = []

    def stop(number: int, _: object) -> None:
        heard.append(number)
        raise KeyboardInterrupt  # Which Beam passes on, and nothing takes for a failure.

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if heard and not isinstance(error, Interrupted):
            raise Interrupted("", preempted=heard[0] == signal.SIGTERM) from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _joined(command: str, experiment: Experiment, run_dir: str) -> contextlib.AbstractContextManager[None]:
    """The processes of the other hosts, if there are any: all there and started alike. Tools run on one."""
    from prm_jax.parallel.processes import joined
    from prm_jax.stages.run_directory import fingerprint, resolved

    return joined(
        lambda: {
            "command": command,
            "run directory": run_dir,
            "configuration": fingerprint(resolved(experiment)),
        }
    )


def _run_plain(arguments: argparse.Namespace) -> None:
    """Runs a command that takes no experiment."""
    own = {key: value for key, value in vars(arguments).items() if key not in ("command", "bench")}
    if arguments.command == "bench":
        bench = importlib.import_module(f"prm_jax.bench.{arguments.bench}")
        bench.run(**{key: value for key, value in own.items() if value is not None})
    else:
        command = importlib.import_module(f"prm_jax.stages.{arguments.command}")
        getattr(command, arguments.command)(**own)


def _fail(command: str, message: str) -> int:
    print(f"prm_jax {command}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Splits gin overrides from the arguments that argparse knows."""
    overrides = [a.removeprefix("--gin.") for a in argv if a.startswith("--gin.")]
    return make_parser().parse_args([a for a in argv if not a.startswith("--gin.")]), overrides


def _resolve(arguments: argparse.Namespace, overrides: Sequence[str]) -> tuple[Experiment, str]:
    """Reads the gin files and builds the experiment; returns it with the run directory.

    `generate`, `score` and `export` may leave the configuration out: it stands in the run directory.
    """
    from etils import epath

    import gin

    files = arguments.gin_file
    if not files:
        if not arguments.run_dir:
            raise UserError("neither --gin_file nor --run_dir was given: name the run that holds the trained models")
        files = [str(epath.Path(arguments.run_dir) / CONFIGURATION)]
    for file in files:
        if not epath.Path(file).exists():
            raise UserError(f"no configuration file {file!r}: check the path given to --gin_file")
        for folder in epath.Path(file).resolve().parents:
            gin.add_config_file_search_path(str(folder))
    try:
        gin.clear_config()
        used: set[str] = set()
        for file in files:
            with _silent_search():
                gin.parse_config_file(file, print_includes_and_imports=False)
            used |= _macros_in_use(gin.config_str())
        if not arguments.gin_file:
            used |= _macros_defined(gin.config_str())  # The run was made with them.
        for override in overrides:
            _override(override)
        gin.finalize()
        _refuse_unused_macros(gin.config_str(), used)
        experiment = gin.get_configurable("Experiment")()
        _refuse_shadowed(overrides, gin.operative_config_str())
    except UserError:
        raise
    except Exception as error:  # gin raises what the faulty binding raises: any kind, always the user's to mend.
        raise UserError(f"the configuration {', '.join(files)} does not resolve: {error}") from error
    return experiment, arguments.run_dir or f"runs/{experiment.name}"


@contextlib.contextmanager
def _silent_search() -> Iterator[None]:
    """Gin logs as an error each folder in which it does not find an included file, before it looks into the next."""

    def told(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Path not found: ")

    root = logging.getLogger()
    root.addFilter(told)
    try:
        yield
    finally:
        root.removeFilter(told)


def _override(binding: str) -> None:
    """Parses one `NAME=VALUE`; gin's own error would not say which of them it means."""
    import gin

    try:
        gin.parse_config(binding)
    except Exception as error:
        raise UserError(f"--gin.{binding}: {error}; a string needs quotes of its own: --gin.NAME='\"text\"'") from error


def _refuse_shadowed(overrides: Sequence[str], operative: str) -> None:
    """A binding without a scope reaches only what no scope binds itself; one that reaches nothing would be believed.

    `operative` has a line for each field of all that was built, with the scope in which it was.
    """
    for name in (override.partition("=")[0].strip() for override in overrides):
        field = ".".join(name.split(".")[-2:])
        found = re.findall(rf"^(?:(\S+)/)?(?:\w+\.)*{re.escape(field)} =", operative, flags=re.MULTILINE)
        if "/" not in name and found and all(scope and _is_bound(f"{scope}/{name}") for scope in found):
            flags = " or ".join(f"--gin.{scope}/{field}" for scope in found)
            raise UserError(f"--gin.{name} changes nothing, since all that is built binds it in a scope: give {flags}")


def _is_bound(name: str) -> bool:
    import gin

    try:
        gin.query_parameter(name)
    except ValueError:
        return False
    return True


def _keep_configuration(run_dir: str) -> None:
    """Leaves the configuration beside what it made, for a reader and for the tools."""
    from etils import epath

    import gin
    from prm_jax.parallel.processes import is_first

    if is_first():
        (epath.Path(run_dir) / CONFIGURATION).write_text(gin.config_str(max_line_length=120))


def _macros_in_use(config: str) -> set[str]:
    return set(re.findall(r"%([A-Za-z_]\w*)", config))


def _macros_defined(config: str) -> set[str]:
    return set(re.findall(r"^([A-Za-z_]\w*) = ", config, flags=re.MULTILINE))


def _refuse_unused_macros(config: str, used_before: set[str]) -> None:
    """Gin takes a misspelt macro in silence; an ablation that changed nothing would be believed.

    A macro whose binding a later file or an override has replaced (`used_before`) is no mistake.
    """
    used = used_before | _macros_in_use(config)
    if unused := sorted(_macros_defined(config) - used):
        known = ", ".join(sorted(used)) or "none"
        raise UserError(f"no binding uses the macro {', '.join(unused)}: correct its name (macros in use: {known})")


if __name__ == "__main__":
    sys.exit(main())
