"""Pushes and `segue models` under a server that is in use: nobody notices but by the answers."""

import threading
import time

import pytest

TOYS = {2: 2.0, 3: 3.0}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def base(root):
    folder = root / "serving" / "segue"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def models(segue, root):
    """models(command, ...): `segue models ... --json` on the root, which must succeed."""

    def models(*arguments):
        ran = segue("models", *arguments, "--root", root, "--json")
        assert ran.code == 0, ran.err
        return ran.json

    return models


@pytest.fixture
def release(toys, base):
    """release(factor): the version that the Pusher makes of a toy."""
    from components.pusher.executor import push

    return lambda factor: push(str(toys[factor]), str(base))


@pytest.fixture
def callers(connect):
    """callers(server): threads that call all the time; gives what they were answered."""
    stop = threading.Event()
    threads, answers, failures = [], [], []

    def call(client):
        while not stop.is_set():
            try:
                answers.append(client.one(1.0))
            except Exception as error:
                failures.append(error)

    def callers(server):
        for _ in range(2):
            threads.append(threading.Thread(target=call, args=(connect(server),), daemon=True))
            threads[-1].start()
        return answers

    yield callers
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert len(answers) > 100


def test_a_user_pushes_rolls_back_pins_and_prunes_under_load(
    base, serve, connect, callers, release, models, eventually
):
    factors = {}

    def push(factor):
        version = release(factor)
        factors[version] = TOYS[factor]
        return version

    first = push(2)
    server = serve()
    client = connect(server)
    answers = callers(server)

    def serves(version):
        eventually(lambda: client.one(1.0) == (factors[version], version))
        eventually(lambda: [s for s in client.statuses() if s[1] == 30] == [(version, 30, 0)])

    second = push(3)
    serves(second)

    assert models("rollback")["in_service"] == first
    serves(first)
    assert models("rollback", "--to", second)["in_service"] == second
    serves(second)

    assert models("pin", first)["parked"] == [second]
    serves(first)
    third = push(3)
    fourth = push(2)
    listing = models("list", "--target", server.address)
    assert [(row["version"], row["state"], row["pinned"]) for row in listing["versions"]] == [
        (fourth, "parked", False),
        (third, "parked", False),
        (second, "parked", False),
        (first, "in service", True),
    ]
    assert [row["server"] and row["server"]["state"] for row in listing["versions"]] == [
        None,
        None,
        "END",
        "AVAILABLE",
    ]
    assert models("unpin")["in_service"] == fourth
    serves(fourth)
    assert not {third} & {status[0] for status in client.statuses()}  # it was never loaded

    assert models("prune", "--keep", 1)["deleted"] == [first, second, third]
    assert client.one(1.0) == (2.0, fourth)
    fifth = push(3)
    serves(fifth)
    assert {version for _, version in answers} == {first, second, fourth, fifth}
    assert all(value == factors[version] for value, version in answers)


def test_a_rollback_is_seen_within_the_poll(base, serve, connect, release, models, eventually):
    first, second = release(2), release(3)
    client = connect(serve(file_system_poll_wait_seconds=1.0))
    assert client.one(1.0) == (3.0, second)
    models("rollback")
    began = time.monotonic()
    eventually(lambda: client.one(1.0) == (2.0, first))
    # A poll and the load of a model that takes a fraction of a second.
    assert time.monotonic() - began < 5


def test_the_list_tells_why_a_server_does_not_take_a_version(
    base, serve, connect, push, release, models, segue, root, eventually
):
    good = release(2)
    server = serve(max_num_load_retries=0)
    client = connect(server)
    damaged = good + 100
    push(base, damaged, 3, lambda folder: (folder / "saved_model.pb").write_bytes(b"no graph"))
    eventually(lambda: client.statuses()[0][:2] == (damaged, 50))
    row = models("list", "--target", server.address)["versions"][0]
    assert (row["version"], row["server"]["state"]) == (damaged, "END")
    assert "saved_model.pb" in row["server"]["error"]
    table = segue("models", "list", "--root", root, "--target", server.address).out
    assert "END: " in table
    assert client.one(1.0) == (2.0, good)
    assert models("rollback")["in_service"] == good


def test_a_server_that_starts_on_a_damaged_version_is_mended_by_a_rollback(
    base, serve, connect, push, release, models, eventually
):
    """It would try for five minutes; a rollback is taken up in the pause between two tries."""
    good = release(2)
    push(base, good + 100, 3, lambda folder: (folder / "saved_model.pb").write_bytes(b"no graph"))
    started = []
    thread = threading.Thread(target=lambda: started.append(serve()), daemon=True)
    thread.start()
    thread.join(1.0)
    assert started == []
    assert models("rollback")["in_service"] == good
    (server,) = eventually(lambda: started)
    assert connect(server).one(1.0) == (2.0, good)
