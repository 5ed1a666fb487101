"""The wheel: built as a user's pip builds it, installed outside the tree, and complete there."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]


def run(*command, **options) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    # In a copy, because setuptools leaves build/ and an egg-info beside the sources.
    tree = tmp_path_factory.mktemp("tree")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "prm_jax", tree / "prm_jax", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tree / "dist", cwd=tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> pathlib.Path:
    target = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel)
    return target


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "prm_jax").rglob("*") if path.suffix in _SHIPPED}
    here.add("prm_jax/py.typed")
    assert {name for name in names if ".dist-info/" not in name} == here
    assert any(name.endswith("LICENSE") for name in names)


_SHIPPED = (".py", ".html")


def test_the_installed_package_works_outside_the_tree(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(installed)
    code = """
import importlib, pkgutil, sys
import prm_jax
for module in pkgutil.walk_packages(prm_jax.__path__, "prm_jax."):
    if module.name != "prm_jax.execution.boot":
        importlib.import_module(module.name)
print(prm_jax.__file__)
"""
    found = run(sys.executable, "-c", code, cwd=tmp_path, env=environment).splitlines()[-1]
    assert pathlib.Path(found).is_relative_to(installed)
    told = run(sys.executable, "-m", "prm_jax.cli", "--help", cwd=tmp_path, env=environment)
    assert "usage: prm_jax" in told and "quickstart" not in told
    assert "usage: prm_jax" in run(installed / "bin/prm_jax", "--help", cwd=tmp_path, env=environment)


def test_the_installed_package_runs_programs(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(installed)
    code = """
from prm_jax.execution.grade import grade
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.problems.synthetic import generate
(problem,) = generate("test", 1, 3, 3)
with Sandbox(SandboxConfig(workers=1)) as sandbox:
    (verdict,) = grade([(problem, problem.reference)], sandbox, hidden=True)
print(verdict.outcome)
"""
    assert run(sys.executable, "-c", code, cwd=tmp_path, env=environment).split() == ["passed"]
