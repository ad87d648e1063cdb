"""Several servers behind one connection: calls go round, and round what is dead."""

import socket
import threading
import time

import grpc
import numpy as np
import pytest

from client import exchange
from client.connection import Connection
from client.generation import GenerationClient, Sampling
from music.errors import SegueError

KEYS = {"keys": np.array(["limits"])}
PRIME = np.array([[0, 128, 0], [0, 60, 12], [6, 64, 12]], np.int32)


@pytest.fixture
def pair(serve):
    return serve(), serve()


def both(pair):
    return ",".join(server.target for server in pair)


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def connected_to_all(connection, servers):
    """Calls until each server has had one; connections are made side by side."""
    wait_until(lambda: connection.predict("describe", KEYS) and all(s.calls for s in servers))
    for server in servers:
        server.calls.clear()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_calls_go_round(pair):
    with Connection(both(pair)) as connection:
        connected_to_all(connection, pair)
        for _ in range(10):
            connection.predict("describe", KEYS)
    assert [len(server.calls) for server in pair] == [5, 5]


@pytest.mark.parametrize("way", ["stream", "step_loop"])
def test_a_song_in_pieces_is_the_same_whoever_answers(pair, way):
    sampling = Sampling(seed=5)
    with Connection(pair[0].target) as connection:
        (whole,) = GenerationClient(connection).generate([PRIME], 30, sampling)
    with Connection(both(pair)) as connection:
        connected_to_all(connection, pair)
        client = GenerationClient(connection)
        options = {"chunk": 4} if way == "stream" else {}
        parts = list(getattr(client, way)(PRIME, 30, sampling, **options))
    assert np.array_equal(np.concatenate([part.events for part in parts]), whole.events)
    assert all(len(server.calls) >= 3 for server in pair)
    assert {version for server in pair for _, version, _ in server.calls} == {3}


def test_one_that_was_never_there_is_passed_over(toy):
    with Connection(f"127.0.0.1:{free_port()},{toy.target}") as connection:
        for _ in range(5):
            connection.predict("describe", KEYS)


def test_one_that_dies_is_passed_over_and_used_again_when_it_is_back(serve, pair):
    first, second = pair
    with Connection(both(pair)) as connection:
        connected_to_all(connection, pair)
        second.stop()
        for _ in range(10):
            connection.predict("describe", KEYS)
        assert len(first.calls) >= 10
        back = serve(port=second.port)
        wait_until(lambda: connection.predict("describe", KEYS) and back.calls)


def test_a_call_under_way_on_one_that_dies_is_asked_of_another(pair, monkeypatch):
    monkeypatch.setattr(exchange, "RETRY_PAUSES", (0.01, 0.02, 0.04))
    entered, leave = threading.Event(), threading.Event()

    def hang():
        entered.set()
        leave.wait(10)

    first, second = pair
    with Connection(both(pair)) as connection:
        connected_to_all(connection, pair)
        second.before = hang
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(connection.predict("describe", KEYS)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert entered.wait(5)
        stopper = threading.Thread(target=second.stop)
        stopper.start()
        for thread in threads:
            thread.join(10)
        leave.set()
        stopper.join(10)
    assert len(answers) == 2
    assert len(first.calls) == 2


def test_when_all_are_away_it_is_said_of_all(pair, monkeypatch):
    monkeypatch.setattr(exchange, "RETRY_PAUSES", (0.01,))
    with Connection(both(pair)) as connection:
        connection.predict("describe", KEYS)
        for server in pair:
            server.stop()
        with pytest.raises(SegueError) as caught:
            connection.predict("describe", KEYS)
    assert str(caught.value).startswith(f"all model servers at {both(pair)} stopped answering")


def test_where_none_was_ever_there_it_is_told_at_once():
    target = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    begun = time.monotonic()
    with Connection(target) as connection, pytest.raises(SegueError) as caught:
        connection.predict("describe", KEYS)
    assert str(caught.value) == (
        f"no model server answers at {target}; start one with `segue serve --root DIR`, "
        "or name another with --target"
    )
    assert time.monotonic() - begun < 4


def test_a_name_that_stands_for_several_is_one_target(toy, serve):
    """`localhost` may stand for ::1 as well, at which the toy does not listen."""
    with Connection([f"localhost:{toy.port}", serve().target]) as connection:
        for _ in range(4):
            connection.predict("describe", KEYS)
    assert toy.calls


def test_a_version_that_one_of_them_lacks_is_told_with_what_to_wait_for(serve, make_model):
    notes = {"name": "notes"}
    pair = serve({3: make_model(notes)}), serve({3: make_model(notes), 4: make_model(notes)})
    with Connection(both(pair)) as connection:
        connected_to_all(connection, pair)
        calls = (connection.call("describe", KEYS, version=4) for _ in range(2))
        with pytest.raises(SegueError, match="wait until every target has it"):
            list(calls)


def test_a_refusal_of_one_is_not_asked_of_another(pair):
    with Connection(both(pair)) as connection:
        connected_to_all(connection, pair)
        for server in pair:
            server.failures.append((grpc.StatusCode.INTERNAL, "broken"))
        with pytest.raises(SegueError, match="one of the model servers at .* failed with INTERNAL"):
            connection.predict("describe", KEYS)
    assert sum(len(server.failures) for server in pair) == 1
