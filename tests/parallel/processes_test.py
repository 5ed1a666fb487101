"""Start-up on several hosts: the environment, and two real processes over loopback with one CPU device each."""

import contextlib
import http.server
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from prm_jax.errors import UserError
from prm_jax.parallel import processes
from prm_jax.parallel.roll_call import Place

ROOT = pathlib.Path(__file__).parents[2]
TOLD = {"PRM_JAX_COORDINATOR": "a.b:99", "PRM_JAX_PROCESSES": "4", "PRM_JAX_PROCESS": "3"}


def test_variables_name_the_place():
    assert processes.find_place(TOLD) == Place("a.b:99", 4, 3)
    assert Place("a.b:99", 4, 3).address == ("a.b", 99)


@pytest.mark.parametrize(
    "change", [{"PRM_JAX_COORDINATOR": "none"}, {"PRM_JAX_PROCESSES": "1", "PRM_JAX_PROCESS": "0"}]
)
def test_one_process(change):
    assert processes.find_place(TOLD | change) is None


@pytest.mark.parametrize(
    "change",
    [
        {"PRM_JAX_COORDINATOR": ""},
        {"PRM_JAX_COORDINATOR": "host"},
        {"PRM_JAX_PROCESSES": "x"},
        {"PRM_JAX_PROCESS": "4"},
        {"PRM_JAX_PROCESS": ""},
    ],
)
def test_variables_that_contradict(change, monkeypatch):
    monkeypatch.setattr(processes, "_has_chips", lambda: False)
    with pytest.raises(UserError, match="PRM_JAX_"):
        processes.find_place(TOLD | change)


def test_one_process_calls_nothing(monkeypatch):
    monkeypatch.setattr(processes, "_has_chips", lambda: False)
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processes, "RollCall", None)
    asked = []
    with processes.joined(lambda: asked.append("facts")):
        assert not asked
    assert not asked


def test_the_module_loads_no_jax():
    code = "import sys, prm_jax.parallel.processes; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@contextlib.contextmanager
def metadata_server(values: dict[str, str]):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            value = values.get(self.path.rsplit("/", 1)[1])
            known = value is not None and self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write((value or "").encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}", "PRM_JAX_COORDINATOR": "tpu"}
        server.shutdown()


@pytest.mark.parametrize("endpoints", ["host-0,host-1", "x:0:host-0,y:1:host-1"])
def test_a_worker_of_a_slice_asks_the_metadata(endpoints):
    with metadata_server({"worker-network-endpoints": endpoints, "agent-worker-number": "1"}) as environment:
        assert processes.find_place(environment) == Place("host-0:8480", 2, 1)


def test_a_slice_of_one_worker():
    with metadata_server({"worker-network-endpoints": "host-0", "agent-worker-number": "0"}) as environment:
        assert processes.find_place(environment) is None


def test_chips_without_metadata(monkeypatch):
    monkeypatch.setattr(processes, "_has_chips", lambda: True)
    with metadata_server({}) as environment:
        with pytest.raises(UserError, match="no metadata of a TPU VM"):
            processes.find_place(environment)
        assert processes.find_place(environment | {"PRM_JAX_COORDINATOR": ""}) is None


def test_a_worker_on_gke():
    environment = {"PRM_JAX_COORDINATOR": "tpu", "TPU_WORKER_HOSTNAMES": "a,b,c", "TPU_WORKER_ID": "2"}
    assert processes.find_place(environment) == Place("a:8480", 3, 2)
    with pytest.raises(UserError, match="one slice"):
        processes.find_place(environment | {"MEGASCALE_NUM_SLICES": "2"})


# What stands for a stage: all numbers are summed over the devices, then the process does as it is told.
STAGE = """
import os, signal, subprocess, sys, time
from prm_jax.errors import UserError
from prm_jax.parallel import roll_call
from prm_jax.parallel.processes import joined

ending, me = os.environ["ENDING"], os.environ["PRM_JAX_PROCESS"]
if ending.startswith("stop"):
    roll_call._SILENCE = 6.0
try:
    with joined(lambda: {"configuration": sys.argv[1]}):
        import jax, numpy as np
        from jax.experimental.multihost_utils import process_allgather
        total = process_allgather(np.array([jax.process_index() + 1])).sum()
        print(f"{jax.process_count()} processes, {jax.device_count()} devices, sum {total}", flush=True)
        if ending == f"raise {me}":
            raise RuntimeError("a fault of mine")
        if ending == f"kill {me}":
            os.kill(os.getpid(), signal.SIGKILL)
        if ending == f"stop {me}":
            subprocess.Popen(["sh", "-c", f"sleep 20; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
        if ending:
            time.sleep(900)
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture
def start(start_processes):
    """Runs the stage in two processes; status, output and errors of each."""

    def run(ending="", configurations=("a", "a")):
        commands = [[sys.executable, "-c", STAGE, configuration] for configuration in configurations]
        return start_processes(commands, ENDING=ending)

    return run


def test_two_processes_compute_together(start):
    for status, out, err in start():
        assert status == 0, err
        assert "2 processes, 2 devices, sum 3\n" in out


def test_two_configurations_are_refused(start):
    for status, out, err in start(configurations=("a", "b")):
        assert status == 2 and out == ""
        assert err.count("\n") == 1 and "differ in configuration" in err and "1 (" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_raises_ends_all_and_shows_its_traceback_once(start, number):
    told = start(ending=f"raise {number}")
    (status, _, err), (other_status, _, other_err) = told[number], told[1 - number]
    assert status == 1 and err.count("RuntimeError: a fault of mine") == 1 and "Traceback" in err
    assert other_status == 1 and f"process {number} (" in other_err and "Traceback" not in other_err
    assert "failed with RuntimeError: a fault of mine; this one ends with it" in other_err


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all(start):
    (status, _, err), (killed, _, _) = start(ending="kill 1")
    assert killed == -signal.SIGKILL
    assert status == 1 and "process 1 (" in err and "ended without a word" in err and "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_stops_answering_ends_all(start, number):
    """One that comes to life again ends too: the run is over."""
    told = start(ending=f"stop {number}")
    (stopped, _, _), (status, _, err) = told[number], told[1 - number]
    assert status == 1 and f"process {number} (" in err and "has not answered for 6 s" in err
    assert stopped != 0 and "Traceback" not in err
