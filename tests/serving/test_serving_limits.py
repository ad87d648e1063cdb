"""Places that are taken in turn, and calls that wait for one."""

import threading
import time
from concurrent import futures

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving import calls
from serving.errors import ServingError
from serving.limits import Places, Room, run_in

FOREVER = {"n": np.int32(2**31 - 1)}


def test_there_are_so_many_places():
    places = Places(2)
    assert places.take()
    assert places.take()
    assert not places.take(timeout=0.01)
    places.give_back()
    assert places.take(timeout=0)


def test_places_are_given_in_the_order_of_asking(eventually):
    places = Places(1)
    assert places.take()
    got = []

    def ask(name):
        assert places.take(timeout=20)
        got.append(name)
        places.give_back()

    threads = []
    for name in range(5):
        threads.append(threading.Thread(target=ask, args=(name,)))
        threads[-1].start()
        eventually(lambda name=name: len(places._queue) == name + 1)
    places.give_back()
    for thread in threads:
        thread.join(20)
    assert got == [0, 1, 2, 3, 4]


def test_more_places_let_those_in_who_wait(eventually):
    places = Places(1)
    assert places.take()
    with futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(places.take, 20) for _ in range(2)]
        eventually(lambda: len(places._queue) == 2)
        places.resize(3)
        assert [w.result(20) for w in waiting] == [True, True]
    places.resize(1)
    for _ in range(2):
        places.give_back()
        assert not places.take(timeout=0)
    places.give_back()
    assert places.take(timeout=0)


def test_who_gives_up_leaves_the_queue():
    places = Places(1)
    assert places.take()
    asked = []
    assert not places.take(wanted=lambda: asked.append(1) or len(asked) < 2)
    assert len(asked) == 2
    assert not places._queue
    places.give_back()
    assert places.take(timeout=0)


def test_a_run_is_told_what_time_is_left():
    places = Places(1)
    assert places.take()
    timer = threading.Timer(0.3, places.give_back)
    timer.start()
    with run_in(places, 5.0) as left:
        assert 1.0 < left < 4.75
    with run_in(places, None) as left:
        assert left is None
    with run_in(None, 3.0) as left:
        assert left == 3.0


def test_a_run_that_waits_too_long_is_refused():
    places = Places(1)
    assert places.take()
    with pytest.raises(ServingError, match="Deadline exceeded") as caught, run_in(places, 0.01):
        pytest.fail("there was no place")
    assert caught.value.code.name == "DEADLINE_EXCEEDED"
    places.give_back()
    with pytest.raises(ZeroDivisionError), run_in(places, 1.0):
        raise ZeroDivisionError
    assert places.take(timeout=0)  # an error gives the place back


class HungUp:
    """The context of a call that has ended."""

    def add_callback(self, _):
        return False


def test_a_run_whose_caller_went_away_is_not_begun():
    places = Places(1)
    assert places.take()
    with (
        calls.following(HungUp()),
        pytest.raises(ServingError) as caught,
        run_in(places, 60.0),
    ):
        pytest.fail("there was no place")
    assert caught.value.code.name == "CANCELLED"


@pytest.fixture
def narrow(serve, base, push):
    """A server that runs one model at a time."""
    push(base, 1)
    return serve(max_concurrent_runs=1)


def _occupy(server, client, eventually, seconds):
    """A run that ends with its deadline."""
    call = client.prediction.Predict.future(client.request(FOREVER, "slow"), timeout=seconds)
    eventually(lambda: server.manager.calls == 1)
    return call


def test_calls_wait_for_a_run_until_their_deadline(narrow, connect, eventually, fails):
    client = connect(narrow)
    client.one(1.0)
    long = _occupy(narrow, client, eventually, 3)
    began = time.monotonic()
    fails("DEADLINE_EXCEEDED", client.one, 1.0, timeout=0.3)
    assert time.monotonic() - began < 2
    assert client.one(1.0, timeout=20) == (2.0, 1)  # when the long one is over
    assert long.code().name == "DEADLINE_EXCEEDED"


def test_a_caller_that_hangs_up_leaves_the_queue(narrow, connect, eventually):
    client = connect(narrow)
    client.one(1.0)
    _occupy(narrow, client, eventually, 10)
    waiting = client.prediction.Predict.future(client.request({"x": [1.0]}, "one"))
    eventually(lambda: narrow.manager.calls == 2)
    waiting.cancel()
    eventually(lambda: narrow.manager.calls == 1, within=5)


def test_waiting_calls_do_not_stop_what_needs_no_run(narrow, connect, eventually):
    client = connect(narrow)
    _occupy(narrow, client, eventually, 5)
    waiting = [
        client.prediction.Predict.future(client.request({"x": [1.0]}, "one")) for _ in range(40)
    ]
    eventually(lambda: narrow.manager.calls == 41)
    assert client.statuses() == [(1, 30, 0)]
    assert {w.result(20).outputs["y"].float_val[0] for w in waiting} == {2.0}


def test_one_call_too_many_is_refused(serve, base, push, connect, eventually, fails):
    push(base, 1)
    server = serve(max_concurrent_calls=2)
    client = connect(server)
    calls = [
        client.prediction.Predict.future(client.request(FOREVER, "slow"), timeout=4)
        for _ in range(2)
    ]
    eventually(lambda: server.manager.calls == 2)
    message = fails("RESOURCE_EXHAUSTED", client.one, 1.0)
    assert message == "Concurrent calls exceed 2 (--max_concurrent_calls)"
    # Health answers all the same: a full server is not a dead one.
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service="PredictionService"), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert [call.code().name for call in calls] == ["DEADLINE_EXCEEDED"] * 2

    def answers():
        try:
            return client.one(1.0) == (2.0, 1)
        except Exception:
            return False

    eventually(answers)


def test_room_is_held_together_and_given_back():
    room = Room(100)
    with room.hold(60), room.hold(40), room.hold(0):
        with pytest.raises(ServingError) as caught, room.hold(1):
            pytest.fail("there was no room")
        assert caught.value.code.name == "RESOURCE_EXHAUSTED"
    with pytest.raises(ZeroDivisionError), room.hold(100):
        raise ZeroDivisionError
    with room.hold(100):
        pass
