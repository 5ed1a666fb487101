"""The roll call of a run on several hosts: who is there, whether all were started alike, and who failed first.

Comes in: this process' place among the others and facts about it. Goes out: agreement, or a `UserError` on every
process that names those that are missing or differ. `processes.py` calls it, before JAX connects the processes: JAX
itself waits without a word and then aborts. Standard library only.

Process 0 listens; each of the others keeps one connection to it and sends one JSON object per line. The same
connections then tell of failures: a process that raises says so, one that is killed is noticed by its closed
connection, a host that is gone by unanswered keep-alives within a minute, a process that hangs by its silence. Process
0 decides who failed first, and only that one shows its traceback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from prm_jax.errors import UserError

_KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4}
_SILENCE = 90.0  # Seconds without a sign of life after which a process counts as hung.
_SIGNS = 6  # Signs of life that it gives in that time.
_GRACE = 10.0  # Seconds that an answer of process 0 may come after its own time limit.
_LINGER = 3.0  # Seconds for the others to take in the last word before process 0 is gone.


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process stands: `coordinator` is HOST:PORT of process 0, `process` counts from 0."""

    coordinator: str
    processes: int
    process: int

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of process 0."""
        host, port = self.coordinator.rsplit(":", 1)
        return host, int(port)


class _Channel:
    """One JSON object per line over a connection."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._sending = threading.Lock()
        self.timed_out = False
        self._reader = connection.makefile("r", encoding="utf-8")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: dict[str, Any]) -> None:
        """Sends; a receiver that is gone is noticed where one listens to it."""
        with contextlib.suppress(OSError), self._sending:
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """The next message; None if there will be none, or none came in time (the channel is then of no more use)."""
        try:
            self._connection.settimeout(None if seconds is None else max(seconds, 0.01))
            return dict(json.loads(self._reader.readline()))
        except (OSError, ValueError, TypeError) as error:
            self.timed_out |= isinstance(error, TimeoutError)
            return None


class RollCall:
    """The connections of one process. Process 0 has one to each of the others, these have one to process 0.

    Args:
      place: where this process stands.
      seconds: how long to wait for the others.

    Raises:
      UserError: not all arrived in time; it names them. Process 0 tells the others in `agree`.
    """

    def __init__(self, place: Place, seconds: float):
        self.place = place
        self._seconds = seconds
        self._hosts = {place.process: socket.gethostname()}
        self._settled = threading.Event()
        self._first: dict[str, Any] = {}
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._listeners: list[threading.Thread] = []
        self._channels = self._assemble() if place.process == 0 else {0: self._report()}

    def agree(self, facts: dict[str, str], offer: Any = None) -> Any:
        """Waits for all, and makes sure that all say the same.

        Args:
          facts: what has to be equal everywhere, by name.
          offer: what process 0 wants to hand to all.

        Returns:
          What process 0 offered.

        Raises:
          UserError: on every process: who differs in what, or who gave no answer.
        """
        if self.place.process:
            self._channels[0].send(facts)
            answer = self._channels[0].receive(self._seconds + _GRACE)
            if answer is None:
                raise UserError(f"process 0 at {self.place.coordinator} ended before the run began: see its own output")
            refusal, offer = answer["refusal"], answer["offer"]
        else:
            refusal = self._compare(facts)
            self._tell_all({"refusal": refusal, "offer": offer})
        if refusal:
            raise UserError(refusal)
        return offer

    def watch(self) -> None:
        """From now on this process ends when another one fails, with one line that says which."""
        for process in self._channels:
            listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
            listener.start()
            self._listeners.append(listener)
        threading.Thread(target=self._give_signs, daemon=True).start()

    def fail(self, line: str, status: int) -> None:
        """Tells all that this process failed. Comes back if it was the first; the process ends here if it was not."""
        if self.place.process:
            self._channels[0].send({"failed": line, "status": status})
            # Without an answer process 0 is gone too, and this traceback may be the only one.
            self._settled.wait(_GRACE)
        elif self._settle(0, line, status):
            self._linger()
        else:
            time.sleep(_GRACE)  # The listener to the one that was first ends this process.

    def finish(self, seconds: float | None = None) -> bool:
        """Waits until all are done, so that none takes the end of another for a failure; False if time ran out."""
        if self.place.process:
            self._channels[0].send({"done": True})
        else:
            self._check_off(0)
        return self._settled.wait(seconds)

    def _assemble(self) -> dict[int, _Channel]:
        """Process 0: a connection to each of the others."""
        channels: dict[int, _Channel] = {}
        deadline = time.monotonic() + self._seconds
        host, port = self.place.address
        loopback = host in ("localhost", "127.0.0.1")
        try:
            listening = socket.create_server((host if loopback else "", port), backlog=self.place.processes)
        except OSError as error:
            raise UserError(
                f"process 0 cannot listen at {self.place.coordinator}: {error}; choose another port"
            ) from error
        refusal = ""
        with listening:
            while not refusal and len(channels) < self.place.processes - 1 and time.monotonic() < deadline:
                listening.settimeout(max(deadline - time.monotonic(), 0.01))
                with contextlib.suppress(TimeoutError):
                    refusal = self._admit(_Channel(listening.accept()[0]), channels)
        refusal = refusal or self._missing(set(range(1, self.place.processes)) - channels.keys())
        if refusal:
            self._channels = channels
            self._tell_all({"refusal": refusal, "offer": None})
            raise UserError(refusal)
        return channels

    def _admit(self, channel: _Channel, channels: dict[int, _Channel]) -> str:
        """Takes one more process in, unless what it says makes no sense; then says why not."""
        hello = channel.receive(5)
        if hello is None or not {"process", "processes", "host"} <= hello.keys():
            return ""  # No process of ours.
        process, host = hello["process"], hello["host"]
        if hello["processes"] != self.place.processes:
            refusal = f"process {process} ({host}) is one of {hello['processes']}, process 0 of {self.place.processes}"
        elif process in channels:
            refusal = f"two processes have the number {process}, on {self._hosts[process]} and {host}"
        else:
            channels[process], self._hosts[process] = channel, host
            return ""
        refusal += ": start the same command on every host, each with its own number"
        channel.send({"refusal": refusal, "offer": None})
        return refusal

    def _report(self) -> _Channel:
        """The others: the connection to process 0, which may have to be waited for."""
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                channel = _Channel(socket.create_connection(self.place.address, timeout=self._seconds))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"process {self.place.process} did not reach process 0 at {self.place.coordinator} within "
                        f"{self._seconds:g} s ({error}): see that it was started, and that the port is open"
                    ) from error
                time.sleep(0.2)
        host = self._hosts[self.place.process]
        channel.send({"process": self.place.process, "processes": self.place.processes, "host": host})
        return channel

    def _compare(self, facts: dict[str, str]) -> str:
        """Process 0: hears all the others; says what is wrong, or nothing."""
        told: dict[int, dict[str, Any]] = {0: facts}
        deadline = time.monotonic() + self._seconds
        for process, channel in sorted(self._channels.items()):
            if (answer := channel.receive(deadline - time.monotonic())) is not None:
                told[process] = answer
        if missing := self._missing(self._channels.keys() - told.keys()):
            return missing
        for name in facts:
            groups: dict[str, list[int]] = {}
            for process, answer in told.items():
                groups.setdefault(str(answer.get(name)), []).append(process)
            if len(groups) > 1:
                each = "; ".join(f"{value} on {self._names(group)}" for value, group in groups.items())
                return (
                    f"the processes differ in {name}: {each}. Start the same command with the same code on every host"
                )
        return ""

    def _missing(self, missing: Iterable[int]) -> str:
        if not (names := self._names(missing)):
            return ""
        here = self._names(self._hosts.keys() - set(missing))
        return (
            f"of {self.place.processes} processes these did not answer within {self._seconds:g} s: {names}; "
            f"{here} did. Start the same command on every host, and see the output of those"
        )

    def _names(self, processes: Iterable[int]) -> str:
        """Numbers with their hosts, at most eight of them."""
        numbers = sorted(processes)
        names = [f"{number} ({self._hosts[number]})" if number in self._hosts else str(number) for number in numbers]
        return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

    def _tell_all(self, message: dict[str, Any]) -> None:
        for channel in self._channels.values():
            channel.send(message)

    def _listen(self, process: int) -> None:
        """A thread of `watch`: hears one connection until its end."""
        hear = self._hear_process if self.place.process == 0 else self._hear_verdict
        channel = self._channels[process]
        while (message := channel.receive(_SILENCE)) is not None:
            if "alive" not in message:
                hear(process, message)
        how = f"has not answered for {_SILENCE:g} s" if channel.timed_out else "ended without a word"
        hear(process, {"failed": how, "status": 1, "process": 0})

    def _give_signs(self) -> None:
        """A thread of `watch`: tells the others that this process has not stopped."""
        while not self._settled.wait(_SILENCE / _SIGNS):
            self._tell_all({"alive": True})

    def _hear_process(self, process: int, message: dict[str, Any]) -> None:
        """Process 0: what another one says."""
        if "done" in message:
            self._check_off(process)
        elif not self._settled.is_set() and self._settle(process, message["failed"], message["status"]):
            self._channels[process].receive(_LINGER)  # It is showing its traceback.
            self._linger()
            self._end(self._first)

    def _hear_verdict(self, _: int, message: dict[str, Any]) -> None:
        """The others: what process 0 says."""
        if "all_done" in message or message["process"] == self.place.process:
            self._settled.set()
        elif not self._settled.is_set():
            self._end(message)

    def _check_off(self, process: int) -> None:
        """Process 0: one more is done; all hear of the last one."""
        with self._lock:
            self._done.add(process)
            if len(self._done) == self.place.processes:
                self._tell_all({"all_done": True})
                self._settled.set()

    def _settle(self, process: int, failed: str, status: int) -> bool:
        """Process 0: whether this failure is the first, of which then all hear."""
        with self._lock:
            if self._first:
                return False
            self._first = {"process": process, "host": self._hosts[process], "failed": failed, "status": status}
        self._tell_all(self._first)
        return True

    def _linger(self) -> None:
        """Process 0: lets the others end first. JAX aborts where the process that serves it is gone."""
        deadline = time.monotonic() + _LINGER
        for listener in self._listeners:
            if listener is not threading.current_thread():
                listener.join(max(deadline - time.monotonic(), 0))

    def _end(self, failure: dict[str, Any]) -> None:
        """Ends this process at once: its main thread may wait for ever for a device that waits for the dead."""
        name = f"{failure['process']} ({failure.get('host', self.place.coordinator)})"
        print(f"prm_jax: process {name} {failure['failed']}; this one ends with it", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(failure["status"])
