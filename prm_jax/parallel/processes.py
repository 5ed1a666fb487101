"""Start-up of a run on several hosts: finds the others, proves that all were started alike, and connects JAX.

Comes in: the environment, and facts that have to be equal everywhere. Goes out: JAX that knows all devices. The command
line calls it before a stage. One process costs nothing: JAX is not even imported here.

    PRM_JAX_COORDINATOR    HOST:PORT of process 0; `tpu`: this is a worker of a Cloud TPU slice, whose metadata tell the
                           rest; `none`: one process. Unset: `tpu` where there are TPU chips, else `none`.
    PRM_JAX_PROCESSES      how many processes, one for each host
    PRM_JAX_PROCESS        which of them this is, from 0
    PRM_JAX_START_SECONDS  how long to wait for the others (default 300)
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping

import prm_jax
from prm_jax.errors import Interrupted, UserError
from prm_jax.parallel.roll_call import Place, RollCall

_TPU_PORT = 8480  # Beside those of libtpu (8470 to 8479) and of JAX on its own (8482).
_NO_DEVICES = "none"
_LAST_SECONDS = 20.0  # More than `RollCall.fail` takes.
_SAVING_SECONDS = 60.0

_place: Place | None = None  # Where this process stands, once it is joined to others.


def find_place(environment: Mapping[str, str]) -> Place | None:
    """Where this process stands among those of the run; None if it is the only one.

    Raises:
      UserError: the variables contradict each other, or the metadata of the slice cannot be read.
    """
    coordinator = environment.get("PRM_JAX_COORDINATOR", "")
    if coordinator == "none":
        return None
    if coordinator == "tpu" or (not coordinator and _has_chips()):
        place = _place_in_slice(environment, must=coordinator == "tpu")
    elif coordinator:
        place = _place_as_told(coordinator, environment)
    elif environment.get("PRM_JAX_PROCESSES", "1") != "1":
        raise UserError("PRM_JAX_PROCESSES is set, PRM_JAX_COORDINATOR is not: set it to HOST:PORT of process 0")
    else:
        return None
    return place if place and place.processes > 1 else None


@contextlib.contextmanager
def joined(tell: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """A run's work stands inside: before it all processes are there, after it all are done, or all end.

    Args:
      tell: gives what has to be equal on all of them, by name; asked only where there are several. Code and versions
        are compared besides, then the devices.

    Raises:
      UserError: processes are missing or differ; it names them.
    """
    place = find_place(os.environ)
    if place is None:
        yield
        return
    roll_call = RollCall(place, seconds := _start_seconds(os.environ))
    try:
        _connect(roll_call, seconds, tell())
    except BaseException as error:
        _leave(2 if isinstance(error, UserError) else 1)
        raise
    roll_call.watch()
    global _place
    _place = place
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        # Asked to stop, all save themselves; one that is alone with that must not leave the others waiting.
        if not roll_call.finish(_SAVING_SECONDS):
            _fail(roll_call, "was stopped", 130)
        raise
    except UserError as error:
        _fail(roll_call, f"stopped: {_one_line(error)}", 2)
        raise
    except BaseException as error:
        _fail(roll_call, f"failed with {type(error).__name__}: {_one_line(error)}", 1)
        raise
    roll_call.finish()


def is_first() -> bool:
    """Whether this process writes what all of them share: process 0, or the only one."""
    return _place is None or _place.process == 0


def meet(where: str) -> None:
    """Waits until all processes are at the same point of the run, of which `where` is the name."""
    if _place is not None:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(where)


def code_version() -> str:
    """The package's version and a hash of its sources."""
    digest = hashlib.sha256()
    package = pathlib.Path(prm_jax.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return f"{prm_jax.__version__} ({digest.hexdigest()[:12]})"


def _connect(roll_call: RollCall, seconds: float, facts: Mapping[str, str]) -> None:
    """Compares what was started, connects JAX, and compares the devices that each process has found."""
    place = roll_call.place
    versions = {f"version of {name}": importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    python = ".".join(platform.python_version_tuple()[:2])
    offer = _free_port() if place.process == 0 else None
    port = roll_call.agree({"code": code_version(), **versions, "version of Python": python, **facts}, offer)

    import jax

    jax.distributed.initialize(
        f"{place.address[0]}:{port}", place.processes, place.process,
        initialization_timeout=int(seconds), cluster_detection_method="deactivate",
    )  # fmt: skip
    devices = _local_devices(seconds)
    roll_call.agree({"devices": devices})
    if devices.startswith(_NO_DEVICES):
        raise UserError(f"devices on every process: {devices}. `prm_jax doctor` tells more about one host")


def _local_devices(seconds: float) -> str:
    """How many devices of which kind this process has. Where a host of a slice is without, libtpu waits for ever."""
    import jax

    found: list[str] = []

    def look() -> None:
        try:
            devices = jax.local_devices()
            found.append(f"{len(devices)} x {devices[0].device_kind}")
        except Exception as error:  # Whatever a plugin raises, the others are to hear of it.
            found.append(f"{_NO_DEVICES}: {_one_line(error)}")

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(seconds)
    return found[0] if found else f"{_NO_DEVICES} within {seconds:g} s"


def _fail(roll_call: RollCall, line: str, status: int) -> None:
    _leave(status)
    roll_call.fail(line, status)


def _leave(status: int) -> None:
    """Lets this process end with its last words, or `_LAST_SECONDS` from now, and in no case with JAX's farewell.

    JAX says it at exit: it waits for all the others, and aborts where one of them is dead.
    """

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(end)  # What was registered last comes first.
    timer = threading.Timer(_LAST_SECONDS, end)
    timer.daemon = True
    timer.start()


def _place_as_told(coordinator: str, environment: Mapping[str, str]) -> Place:
    host, _, port = coordinator.rpartition(":")
    numbers = [environment.get(f"PRM_JAX_{name}", "") for name in ("PROCESSES", "PROCESS")]
    if not host or not port.isdecimal():
        raise UserError(f"PRM_JAX_COORDINATOR={coordinator!r}: expected HOST:PORT of process 0, `tpu` or `none`")
    if not all(number.isdecimal() for number in numbers) or not int(numbers[1]) < int(numbers[0]):
        raise UserError(
            f"PRM_JAX_PROCESSES={numbers[0]!r} and PRM_JAX_PROCESS={numbers[1]!r}: "
            "expected how many processes there are, and which one this is, counted from 0"
        )
    return Place(coordinator, int(numbers[0]), int(numbers[1]))


def _start_seconds(environment: Mapping[str, str]) -> float:
    given = environment.get("PRM_JAX_START_SECONDS", "300")
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"PRM_JAX_START_SECONDS={given!r}: expected a whole number of seconds")
    return float(given)


def _has_chips() -> bool:
    """Whether this machine has TPU chips, and the library for them."""
    return bool(glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")) and bool(
        importlib.util.find_spec("libtpu")
    )


def _place_in_slice(environment: Mapping[str, str], must: bool) -> Place | None:
    """The place of a worker, from GKE's variables or from the metadata of a TPU VM; None if there are none."""
    if environment.get("MEGASCALE_NUM_SLICES", "1") != "1":
        raise UserError("MEGASCALE_NUM_SLICES is set: a run takes one slice; start it on that slice alone")
    if "TPU_WORKER_HOSTNAMES" in environment:
        hosts, number = environment["TPU_WORKER_HOSTNAMES"].split(","), environment.get("TPU_WORKER_ID", "0")
    else:
        try:
            endpoints = _metadata(environment, "worker-network-endpoints").split(",")
            number = _metadata(environment, "agent-worker-number")
        except (OSError, urllib.error.URLError) as error:
            if must:
                raise UserError(f"PRM_JAX_COORDINATOR=tpu, but no metadata of a TPU VM here ({error})") from error
            return None
        # Either names of hosts, or triples of name, number and address.
        hosts = [endpoint.split(":")[-1] for endpoint in endpoints]
    return Place(f"{hosts[0]}:{_TPU_PORT}", len(hosts), int(number))


def _metadata(environment: Mapping[str, str], key: str) -> str:
    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{server}/computeMetadata/v1/instance/attributes/{key}", headers={"Metadata-Flavor": "Google"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode().strip()


def _free_port() -> int:
    with socket.create_server(("", 0)) as listening:
        return listening.getsockname()[1]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
