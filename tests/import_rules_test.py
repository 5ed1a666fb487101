"""Which room may import what: read from the source, and tried out in processes where the forbidden is not there."""

import ast
import functools
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "prm_jax"
TENSORFLOW = {"tensorflow", "tensorflow_datasets", "seqio"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax", "chex"}
WITHOUT_JAX = ("execution", "text", "labelling", "quality", "problems", "mining")
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


@functools.cache
def imports(name: str, lazy: bool = True) -> frozenset[str]:
    """The modules that a module imports: all of them, or only those that importing it imports (`lazy=False`)."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(MODULES[name].read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found.add(node.module)
            # `from package import module`: the names may be modules.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif lazy or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types(node)):
            pending.extend(ast.iter_child_nodes(node))
    return frozenset(found)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def top_level(names) -> set[str]:
    return {name.split(".")[0] for name in names}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def reached(name: str) -> dict[str, str]:
    """All modules of the package that importing one imports, each with the one that asks for it."""
    found, pending = {name: ""}, [name]
    while pending:
        asking = pending.pop()
        for wanted in imports(asking, lazy=False):
            parts = wanted.split(".")
            for end in range(1, len(parts) + 1):
                parent = ".".join(parts[:end])
                if parent in MODULES and parent not in found:
                    found[parent] = asking
                    pending.append(parent)
    return found


def test_the_scan_sees_imports():
    assert "seqio" in top_level(set().union(*(imports(n) for n in MODULES if room(n) == "tasks")))
    assert "jax" in top_level(imports("prm_jax.training.loop", lazy=False))
    assert "prm_jax.tasks.builder" in imports("prm_jax.stages.label")
    assert "prm_jax.tasks.builder" not in imports("prm_jax.stages.label", lazy=False)
    assert "prm_jax.problems.problem" in reached("prm_jax.stages.label")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_tensorflow_is_imported_in_tasks_only(name):
    if room(name) != "tasks":
        assert not top_level(imports(name)) & TENSORFLOW
        if room(name) != "stages":
            assert not any(wanted.startswith("prm_jax.tasks") for wanted in imports(name))
    if room(name) not in ("tasks", ""):
        # Stages may ask for it inside their functions, never by being imported.
        assert not [wanted for wanted in reached(name) if room(wanted) == "tasks"]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_gin_is_imported_by_the_command_line_only(name):
    assert ("gin" in top_level(imports(name))) == (name == "prm_jax.cli")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_room_imports_the_stages_or_the_command_line(name):
    if name == "prm_jax.cli" or room(name) == "stages":
        return
    assert not [wanted for wanted in imports(name) if wanted.startswith(("prm_jax.stages", "prm_jax.cli"))]


@pytest.mark.parametrize("name", sorted(n for n in MODULES if room(n) in WITHOUT_JAX or n == "prm_jax.batches"))
def test_rooms_of_plain_python_import_no_jax(name):
    for module, asking in reached(name).items():
        forbidden = top_level(imports(module)) & JAX if module == name else top_level(imports(module, False)) & JAX
        assert not forbidden, f"{module} (asked for by {asking or 'nobody'}) imports {forbidden}"


@pytest.fixture
def run_without(not_installed):
    """Runs code in a process in which some packages cannot be imported; gives what it prints."""

    def run(packages: set[str], code: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", not_installed(packages) + textwrap.dedent(code), *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print("imported")
"""


def test_rooms_of_plain_python_work_where_jax_is_not_installed(run_without):
    names = [name for name in MODULES if room(name) in WITHOUT_JAX or name == "prm_jax.batches"]
    # Modules that run as programs of their own inside the sandbox act when they are imported.
    names = [name for name in names if name != "prm_jax.execution.boot"]
    assert run_without(JAX | TENSORFLOW, IMPORT_ALL, *names) == "imported\n"


LEARN = """
import sys
import jax, numpy as np
from prm_jax.models.config import ModelConfig
from prm_jax.models.policy import init_policy
from prm_jax.stages.sft import sft_loss_of
from prm_jax.training.data import batches, load_rows
from prm_jax.training.optimizer import OptimizerConfig, make_optimizer
from prm_jax.training.state import create
from prm_jax.training.step import make_train_step

model = ModelConfig(vocab_size=16, width=16, layers=1, heads=2, kv_heads=2, mlp_width=16)
optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, total_steps=2))
state = create(init_policy(model, jax.random.key(0)), optimizer)
step = make_train_step(sft_loss_of(model), optimizer, seed=0)
rows = batches(load_rows(sys.argv[1]), 4, seed=0)
for _ in range(2):
    state, metrics = step(state, next(rows))
    print(float(metrics["loss"]))
"""


def test_the_learner_trains_where_tensorflow_is_not_installed(run_without, tmp_path):
    rooms = ("models", "parallel", "sampling", "training", "ppo", "evaluation", "report")
    stages = [
        f"prm_jax.stages.{stage}" for stage in ("sft", "prm", "orm", "ppo", "evaluate", "generate", "score", "export")
    ]
    names = [name for name in MODULES if room(name) in rooms] + stages
    assert run_without(TENSORFLOW | {"apache_beam"}, IMPORT_ALL, *names) == "imported\n"
    write_rows(tmp_path)
    losses = [float(line) for line in run_without(TENSORFLOW, LEARN, str(tmp_path)).split()]
    assert len(losses) == 2 and np.isfinite(losses).all() and losses[1] < losses[0]


def write_rows(folder: pathlib.Path) -> None:
    """Rows as `prm_jax tasks` exports them: the ids 3 to 10 in order, the same in each row."""
    rows, length = 4, 8
    ids = np.tile(np.arange(3, 3 + length, dtype=np.int32), (rows, 1))
    fields = {
        "tokens": ids,
        "segments": np.ones_like(ids),
        "positions": np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
        "labels": np.ones_like(ids),
    }
    for name, values in fields.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "meta.json").write_text(f'{{"rows": {rows}}}')
