"""launch/tpu_vm.sh with a fake gcloud: the commands it makes, and what happens when one of them fails."""

import subprocess
import time

import pytest

MISSING = (1, "", "ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource was not found\n")
READY = (0, "READY\n", "")
ONE = ("networkEndpoints", (0, "1\n", ""))
FAST = {"POLL_SECONDS": "1"}


def verbs(place) -> list[str]:
    """The calls of gcloud, short: what is done to what."""
    return [call["words"][4] if call["words"][1] == "compute" else call["words"][2] for call in place.calls()]


def commands(place) -> list[str]:
    """What the workers are told to do."""
    words = [word for call in place.calls() for word in call["words"]]
    return [word.removeprefix("--command=") for word in words if word.startswith("--command=")]


def test_all_the_steps_in_order(place):
    place.answer("value(state)", MISSING, (0, "CREATING\n", ""), READY)
    place.answer(*ONE)
    done = place.run("tpu_vm.sh", "--delete", "run", "--gin.X='a b'", PROJECT="p", SPOT="1", **FAST)
    assert done.returncode == 0, done.stderr
    assert verbs(place) == [
        "describe", "create", "describe", "describe", "describe", "scp", "ssh", "ssh", "ssh", "ssh", "scp", "delete"
    ]  # fmt: skip
    assert all("--zone=us-west4-a --project=p" in line for line in place.lines())
    assert "--accelerator-type=v5litepod-8 --version=v2-alpha-tpuv5-lite --spot" in place.lines()[1]
    assert all("--worker=all" in line for line in place.lines()[5:10]) and "--worker=0" in place.lines()[10]
    assert [command.split()[2] for command in commands(place)[1:]] == ["install", "start", "follow"]
    assert "prm_jax:" not in place.lines()[10] and "prm-jax:prm_jax/runs/prm-jax" in place.lines()[10]


def test_the_command_reaches_the_worker_word_for_word(place):
    place.answer("value(state)", READY)
    place.answer(*ONE)
    words = ["run", "--gin.X='a b'", "$HOME", "semi;colon"]
    assert place.run("tpu_vm.sh", *words).returncode == 0
    (start,) = (command for command in commands(place) if " start " in command)
    told = subprocess.run(["bash", "-c", start.replace("bash ", "printf '%s\\n' ", 1)], capture_output=True, text=True)
    assert told.stdout.splitlines() == ["prm_jax/launch/_worker.sh", "start", *words, "--run_dir=runs/prm-jax"]


def test_a_slice_that_is_there_is_taken(place):
    place.answer("value(state)", READY)
    place.answer(*ONE)
    assert place.run("tpu_vm.sh", "run").returncode == 0
    assert "create" not in verbs(place) and "delete" not in verbs(place)


def test_a_queued_resource_waits_for_room(place):
    place.answer("value(state.state)", MISSING, (0, "WAITING_FOR_RESOURCES\n", ""), (0, "ACTIVE\n", ""))
    place.answer(*ONE)
    done = place.run("tpu_vm.sh", "--delete", "run", QUEUED="1", TPU_TYPE="v6e-8", **FAST)
    assert done.returncode == 0 and "WAITING_FOR_RESOURCES" in done.stderr
    create = place.lines()[1]
    assert create.startswith("gcloud compute tpus queued-resources create prm-jax --node-id=prm-jax")
    assert "--accelerator-type=v6e-8 --runtime-version=v2-alpha-tpuv6e" in create
    assert place.lines()[-1].startswith("gcloud compute tpus queued-resources delete prm-jax")


@pytest.mark.parametrize("state", ["PREEMPTED", "FAILED"])
def test_a_slice_that_will_never_be_there(place, state):
    place.answer("value(state)", (0, f"{state}\n", ""))
    done = place.run("tpu_vm.sh", "run", **FAST)
    assert done.returncode == 2 and state in done.stderr and done.stderr.count("\n") == 1
    assert verbs(place) == ["describe", "describe"]


def test_no_permission_is_not_taken_for_no_slice(place):
    place.answer("value(state)", (1, "", "ERROR: PERMISSION_DENIED\n"))
    done = place.run("tpu_vm.sh", "run")
    assert done.returncode == 2 and "PERMISSION_DENIED" in done.stderr and done.stderr.count("\n") == 1
    assert verbs(place) == ["describe"]


def test_no_permission_while_waiting(place):
    place.answer("value(state)", (0, "CREATING\n", ""), (1, "", "ERROR: PERMISSION_DENIED\n"))
    done = place.run("tpu_vm.sh", "run", **FAST)
    assert done.returncode == 2 and "PERMISSION_DENIED" in done.stderr
    assert verbs(place) == ["describe", "describe"]


@pytest.mark.parametrize(
    ("failing", "last"),
    [(" create ", "create"), (" scp ", "scp"), ("_worker.sh install", "ssh"), ("_worker.sh start", "ssh")],
)
def test_nothing_follows_a_step_that_failed(place, failing, last):
    place.answer("value(state)", MISSING, READY)
    place.answer(*ONE)
    place.answer(failing, (5, "", "broken\n"))
    done = place.run("tpu_vm.sh", "--delete", "run")
    assert done.returncode == 5 and "broken" in done.stderr
    assert verbs(place)[-1] == last and failing in place.lines()[-1]


def test_a_run_that_failed_is_fetched_and_its_status_kept(place):
    place.answer("value(state)", READY)
    place.answer(*ONE)
    place.answer("_worker.sh follow", (3, "", ""))
    assert place.run("tpu_vm.sh", "--delete", "run").returncode == 3
    assert verbs(place)[-2:] == ["scp", "delete"]


def test_a_broken_connection_is_no_end_of_the_run(place):
    place.answer("value(state)", READY)
    place.answer(*ONE)
    place.answer("_worker.sh follow", (255, "", ""))
    place.answer("_worker.sh ended", (1, "", ""))
    done = place.run("tpu_vm.sh", "--delete", "run")
    assert done.returncode == 2 and "launch/tpu_vm.sh follow" in done.stderr
    assert verbs(place)[-1] == "ssh"


def test_a_slice_whose_run_could_not_be_fetched_is_kept(place):
    place.answer("value(state)", READY)
    place.answer(*ONE)
    place.answer("--recurse", (1, "", ""))
    assert place.run("tpu_vm.sh", "--delete", "run").returncode == 1
    assert "delete" not in verbs(place)


def test_several_workers_need_a_place_that_all_of_them_see(place):
    place.answer("value(state)", READY)
    place.answer("networkEndpoints", (0, "4\n", ""))
    done = place.run("tpu_vm.sh", "run", TPU_TYPE="v5litepod-16")
    assert done.returncode == 2 and "gs://" in done.stderr and verbs(place) == ["describe"] * 3
    assert place.run("tpu_vm.sh", "run", TPU_TYPE="v5litepod-16", RUN_DIR="gs://bucket/x").returncode == 0
    assert place.lines()[-1] == "gcloud storage rsync --recursive gs://bucket/x runs/x"


def test_a_run_directory_among_the_flags(place):
    assert "RUN_DIR" in place.refused("tpu_vm.sh", "run", "--run_dir=x")


def test_an_option_that_there_is_not(place):
    assert "--force" in place.refused("tpu_vm.sh", "--force", "run")


@pytest.mark.parametrize(
    ("step", "expected"),
    [("follow", ["ssh"]), ("stop", ["ssh"]), ("fetch", ["scp"]), ("delete", ["delete"])],
)
def test_single_steps(place, step, expected):
    assert place.run("tpu_vm.sh", step).returncode == 0
    assert verbs(place) == expected


def test_a_whole_run_on_one_worker(place):
    """The commands are carried out, in a folder that stands for the worker's home."""
    worker = place.fakes / "worker"
    worker.mkdir()
    (place.tree / "prm_jax").mkdir()
    (place.tree / "prm_jax/code.py").touch()
    (place.tree / "runs").mkdir()
    (worker / "prm_jax/prm_jax").mkdir(parents=True)
    (worker / "prm_jax/prm_jax/stale.py").touch()
    place.answer("value(state)", READY)
    place.answer(*ONE)
    place.answer("prm_jax run", (4, "step 1\n", "Traceback\n"))
    done = place.run("tpu_vm.sh", "run", "--gin.X='a b'")
    assert done.returncode == 4, done.stderr
    assert sorted(line.split("] ")[1] for line in done.stdout.splitlines()) == ["Traceback", "step 1"]
    assert sorted(path.name for path in (worker / "prm_jax").iterdir()) == [".launch", "launch", "prm_jax", "setup.cfg"]
    assert [path.name for path in (worker / "prm_jax/prm_jax").iterdir()] == ["code.py"]
    (call,) = (call for call in place.calls() if call["words"][0] == "prm_jax")
    assert call["words"] == ["prm_jax", "run", "--gin.X='a b'", "--run_dir=runs/prm-jax"]
    assert call["environment"]["PRM_JAX_COORDINATOR"] == "tpu"


def test_a_run_is_stopped_by_a_signal_and_not_started_twice(place):
    program = place.fakes / "venv/bin/prm_jax"
    program.write_text("#!/bin/bash\ntrap 'echo saved; exit 0' TERM\necho started\nfor ((;;)); do sleep 0.1; done\n")
    assert place.run("_worker.sh", "follow").returncode == 2
    assert place.run("_worker.sh", "start", "run").returncode == 0
    try:
        log = place.tree / ".launch/log"
        for _ in range(100):
            if log.read_text():
                break
            time.sleep(0.1)
        assert place.run("_worker.sh", "ended").returncode == 1
        assert "going on" in place.run("_worker.sh", "start", "run").stderr
    finally:
        assert place.run("_worker.sh", "stop").returncode == 0
    followed = place.run("_worker.sh", "follow")
    assert followed.returncode == 0 and "saved" in followed.stdout
    assert place.run("_worker.sh", "ended").returncode == 0
