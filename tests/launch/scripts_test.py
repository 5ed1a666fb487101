"""launch/local.sh and launch/gpu.sh: what they call, what they refuse, and what --dry_run keeps them from."""

import subprocess

import pytest

SCRIPTS = ("local.sh", "gpu.sh", "tpu_vm.sh")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_prints_and_runs_nothing(place, script):
    before = sorted(place.tree.rglob("*"))
    done = place.run(script, "--dry_run", "run", "--gin.Experiment.name='a b'")
    assert done.returncode == 0 and done.stderr == ""
    assert "prm_jax" in done.stdout and "a b" in done.stdout
    assert place.calls() == [] and sorted(place.tree.rglob("*")) == before


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_comment_at_the_head(place, script):
    done = place.run(script, "--help")
    assert done.returncode == 0 and f"launch/{script} [--dry_run]" in done.stdout and "set -euo" not in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_command(place, script):
    assert "no command" in place.refused(script)


def test_what_a_dry_run_prints_can_be_given_to_a_shell(place):
    words = ["run", "--gin.Experiment.name='my run'", "--run_dir=~/x", "$HOME", 'a"b']
    printed = place.run("local.sh", "--dry_run", *words).stdout.splitlines()[-1]
    environment = {"PATH": f"{place.fakes / 'venv/bin'}:/usr/bin:/bin", "HOME": "/nowhere"}
    subprocess.run(["bash", "-c", printed], env=environment, check=True)
    assert place.calls()[0]["words"] == ["prm_jax", *words]


def test_one_local_process(place):
    assert place.run("local.sh", "run", "--gin_file=x y", DEVICES="4").returncode == 0
    (call,) = place.calls()
    assert call["words"] == ["prm_jax", "run", "--gin_file=x y"]
    assert call["environment"] == {
        "JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu", "PRM_JAX_VENV": str(place.fakes / "venv")
    }  # fmt: skip


def test_several_local_processes(place):
    place.answer("prm_jax", (0, "hello\n", ""))
    done = place.run("local.sh", "run", PROCESSES="3")
    assert done.returncode == 0
    told = [call["environment"] for call in place.calls()]
    assert {one["PRM_JAX_PROCESS"] for one in told} == {"0", "1", "2"}
    assert {(one["PRM_JAX_COORDINATOR"], one["PRM_JAX_PROCESSES"]) for one in told} == {("127.0.0.1:8480", "3")}
    assert sorted(done.stdout.splitlines()) == ["[0] hello", "[1] hello", "[2] hello"]


def test_a_local_process_that_fails_is_the_status_of_all(place):
    place.answer("prm_jax", (7, "", "no\n"), (0, "", ""))
    assert place.run("local.sh", "run", PROCESSES="2").returncode == 7
    assert place.run("local.sh", "run").returncode == 0


def test_a_signal_reaches_all_local_processes_and_each_may_save_itself(place):
    (place.fakes / "venv/bin/prm_jax").write_text("""#!/bin/bash
trap 'sleep 0.5; echo saved; exit 130' TERM
touch "up.$PRM_JAX_PROCESS"
until [ -e up.0 ] && [ -e up.1 ]; do sleep 0.05; done
[ "$PRM_JAX_PROCESS" = 1 ] || kill -TERM $PPID
for ((;;)); do sleep 0.1; done
""")
    done = place.run("local.sh", "run", PROCESSES="2")
    assert done.returncode == 130 and sorted(done.stdout.splitlines()) == ["[0] saved", "[1] saved"]


def test_the_gpus_of_this_machine(place):
    assert place.run("gpu.sh", "run", GPUS="0,1").returncode == 0
    assert place.lines() == ["nvidia-smi --list-gpus", "prm_jax run"]
    environment = place.calls()[1]["environment"]
    assert environment["JAX_PLATFORMS"] == "cuda,cpu" and environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "PRM_JAX_COORDINATOR" not in environment


def test_one_of_several_machines_with_gpus(place):
    assert place.run("gpu.sh", "run", COORDINATOR="a.b:99", PROCESSES="4", PROCESS="3").returncode == 0
    environment = place.calls()[1]["environment"]
    told = [environment[f"PRM_JAX_{name}"] for name in ("COORDINATOR", "PROCESSES", "PROCESS")]
    assert told == ["a.b:99", "4", "3"]


def test_no_gpu_here(place):
    place.answer("nvidia-smi", (9, "", "no driver\n"))
    done = place.run("gpu.sh", "run")
    assert done.returncode == 2 and "launch/local.sh" in done.stderr and done.stderr.count("\n") == 1
    assert place.lines() == ["nvidia-smi --list-gpus"]


@pytest.mark.parametrize(
    ("script", "variables"),
    [
        ("local.sh", {"PROCESSES": "0"}),
        ("local.sh", {"DEVICES": "many"}),
        ("local.sh", {"PORT": "80"}),
        ("gpu.sh", {"GPUS": "0;1"}),
        ("gpu.sh", {"COORDINATOR": "host"}),
        ("gpu.sh", {"PROCESSES": "2"}),
        ("gpu.sh", {"PROCESS": "1"}),
        ("tpu_vm.sh", {"TPU_NAME": "My TPU"}),
        ("tpu_vm.sh", {"TPU_TYPE": "v5e"}),
        ("tpu_vm.sh", {"ZONE": "us"}),
        ("tpu_vm.sh", {"SPOT": "yes"}),
        ("tpu_vm.sh", {"QUEUED": "2"}),
        ("tpu_vm.sh", {"RUN_DIR": "/root/x y"}),
        ("tpu_vm.sh", {"WAIT_MINUTES": "-1"}),
    ],
)
def test_variables_are_checked(place, script, variables):
    (name,) = variables
    assert f"{name}=" in place.refused(script, "run", **variables)


def test_no_python_that_will_do(place):
    (place.fakes / "bin/python3").symlink_to("/bin/false")
    done = place.run("local.sh", "run", PRM_JAX_VENV="none")
    assert done.returncode == 2 and "3.11" in done.stderr and not (place.tree / "none").exists()
