"""The roll call, its processes played by threads: it needs no JAX."""

import concurrent.futures
import socket
import time

import pytest

from prm_jax.errors import UserError
from prm_jax.parallel.roll_call import Place, RollCall


@pytest.fixture
def coordinator() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


def play(coordinator, facts, processes=None, seconds=30.0, numbers=None):
    """One thread for each of `facts` takes part; gives what each of them got, or the error that it got."""

    def take_part(index):
        place = Place(coordinator, processes or len(facts), index if numbers is None else numbers[index])
        try:
            roll_call = RollCall(place, seconds)
            return roll_call.agree(facts[index], offer=index + 100)
        except UserError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(len(facts)) as pool:
        return list(pool.map(take_part, range(len(facts))))


def test_all_are_there_and_hear_the_same(coordinator):
    assert play(coordinator, [{"code": "a"}] * 3) == [100, 100, 100]


def test_processes_that_did_not_come_are_named(coordinator):
    told = play(coordinator, [{"code": "a"}] * 2, processes=4, seconds=3.0)
    here = socket.gethostname()
    assert told[0] == told[1] and f"within 3 s: 2, 3; 0 ({here}), 1 ({here}) did" in told[0]


@pytest.mark.parametrize("name", ["code", "configuration", "devices"])
def test_processes_that_differ_are_named(coordinator, name):
    equal = {"code": "c", "configuration": "f", "devices": "4 x TPU v4"}
    told = play(coordinator, [equal, equal | {name: "other"}, equal])
    here = socket.gethostname()
    assert len(set(told)) == 1
    assert f"differ in {name}: {equal[name]} on 0 ({here}), 2 ({here}); other on 1 ({here})" in told[0]


def test_two_of_one_number(coordinator):
    told = play(coordinator, [{}] * 3, processes=3, numbers=[0, 1, 1])
    assert all("two processes have the number 1" in line for line in told)


def test_another_number_of_processes(coordinator):
    def report(processes, process):
        with pytest.raises(UserError, match="is one of 5, process 0 of 2"):
            RollCall(Place(coordinator, processes, process), 30.0).agree({})

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(report, (2, 5), (0, 1)))


def test_a_process_0_that_is_not_there(coordinator):
    start = time.monotonic()
    with pytest.raises(UserError, match="process 1 did not reach process 0 at 127.0.0.1:"):
        RollCall(Place(coordinator, 2, 1), 0.3)
    assert time.monotonic() - start < 10


def test_strangers_are_let_pass(coordinator):
    def knock():
        host, port = coordinator.split(":")
        while True:
            try:
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(b"GET / HTTP/1.1\n")
                return
            except OSError:
                time.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        knocking = pool.submit(knock)
        lead = concurrent.futures.ThreadPoolExecutor(1).submit(
            lambda: RollCall(Place(coordinator, 2, 0), 30.0).agree({}, offer=1)
        )
        knocking.result()
        assert RollCall(Place(coordinator, 2, 1), 30.0).agree({}) == 1 == lead.result()


def test_a_port_that_is_taken(coordinator):
    host, port = coordinator.split(":")
    with socket.create_server((host, int(port))), pytest.raises(UserError, match="choose another port"):
        RollCall(Place(coordinator, 2, 0), 0.3)


def test_none_is_done_before_all_are(coordinator):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        leading = pool.submit(RollCall, Place(coordinator, 2, 0), 30.0)
        other, lead = RollCall(Place(coordinator, 2, 1), 30.0), leading.result()
    lead.watch()
    other.watch()
    assert not other.finish(seconds=0.3)
    assert lead.finish(seconds=30.0) and other.finish(seconds=30.0)
