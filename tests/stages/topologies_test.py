"""The recipes of gin/topologies/ fit their slices: compiled with libtpu for chips that are not there.

SmolLM2 on one chip and on a host of eight is compiled with the slow tests, of the latter what shows how it is split;
all else where PRM_JAX_COMPILE_ALL is set: an hour and more.
"""

import json
import os
import pathlib

import jax
import pytest

import gin
from prm_jax import cli
from prm_jax.ahead.slices import parse_slice
from prm_jax.parallel.mesh import make_mesh

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = {
    path.relative_to(ROOT).as_posix(): path.stem.rsplit("_", 2)[1] + ":" + path.stem.rsplit("_", 1)[1]
    for path in sorted((ROOT / "gin" / "topologies").glob("*_*x*.gin"))
}
SMALLEST = "gin/topologies/smollm2_135m_v5e_1x1.gin"
ONE_HOST = "gin/topologies/smollm2_135m_v5e_2x4.gin"
asked_for = pytest.mark.skipif("PRM_JAX_COMPILE_ALL" not in os.environ, reason="PRM_JAX_COMPILE_ALL is not set")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)
    yield
    gin.clear_config()


@pytest.fixture
def libtpu(monkeypatch):
    """libtpu, told to take a quarter of the time: for what fits by a wide margin."""
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install 'prm_jax[tpu]'")
    for name in ("TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    before = jax.config.jax_optimization_level
    jax.config.update("jax_optimization_level", "O1")
    yield
    jax.config.update("jax_optimization_level", before)


def compiled(name, capsys, *arguments):
    status = cli.main(["compile", f"--topology={RECIPES[name]}", f"--gin_file={name}", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def test_recipes_name_their_slice_and_stand_in_the_table():
    assert {"v5e:1x1", "v5e:2x4", "v5e:4x4", "v5p:2x4x4", "v6e:8x8"} <= set(RECIPES.values())
    assert max(parse_slice(each).chips for each in RECIPES.values()) >= 256
    table = (ROOT / "docs" / "compile.md").read_text()
    for name, topology in RECIPES.items():
        assert f"--topology={topology} --gin_file={name}" in (ROOT / name).read_text()
        assert f"`{pathlib.Path(name).name}`" in table, f"docs/compile.md has no row for {name}"


@pytest.mark.parametrize("name", RECIPES)
def test_the_mesh_makes_up_the_slice(name):
    experiment, _ = cli._resolve(*cli._parse(["compile", "--topology=?", f"--gin_file={name}"]))
    chips = parse_slice(RECIPES[name]).chips
    sizes = experiment.mesh
    assert sizes.data == -1 or sizes.data * sizes.fsdp * sizes.tensor == chips
    if chips <= len(jax.devices()):
        assert make_mesh(sizes, jax.devices()[:chips]).size == chips


@pytest.mark.slow
def test_the_smallest_recipe_fits(libtpu, capsys):
    """What trains and what samples; scoring and the reward model's step are parts of these."""
    status, told = compiled(SMALLEST, capsys, "--program", "sft", "sample", "ppo")
    assert status == 0 and told["fits"] and told["chips"] == 1
    assert [each["name"] for each in told["programs"]] == [
        "sft step", "sample: prefill", "sample: decode", "ppo update",
    ]  # fmt: skip
    assert not any(each["traffic"] for each in told["programs"])


@pytest.mark.slow
def test_one_host_fits_and_moves_its_parameters_and_gradients(libtpu, capsys):
    status, told = compiled(ONE_HOST, capsys, "--program", "sft")
    assert status == 0 and told["fits"] and told["mesh"] == {"data": 4, "fsdp": 2, "tensor": 1}
    (step,) = told["programs"]
    moved = {kind: traffic["bytes"] for kind, traffic in step["traffic"].items()}
    # Parameters are gathered over pairs, gradients summed over all chips: 134.5 million of either, two bytes at least.
    assert moved["all-gather"] > 134.5e6 * 2
    assert moved["reduce-scatter"] + moved["all-reduce"] > 134.5e6 * 2


@pytest.mark.slow
@asked_for
@pytest.mark.parametrize("name", RECIPES)
def test_every_program_of_every_recipe_fits(libtpu, name, capsys):
    status, told = compiled(name, capsys)
    assert status == 0 and told["fits"] and told["slice"] == RECIPES[name]
