"""The last good version goes on serving: kills, damage by hand and deletions.

All at random instants and places; `SEGUE_SEED` repeats a run.
"""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

TRIALS = 24
GOOD, BAD = 1, 2


@pytest.fixture
def chance():
    seed = int(os.environ.get("SEGUE_SEED", random.SystemRandom().randrange(2**32)))
    print("seed", seed)
    return random.Random(seed)


@pytest.fixture
def callers(connect):
    """callers(server): threads that call; gives (answers, errors), which go on growing."""
    stop = threading.Event()
    threads = []

    def callers(server, count=2):
        answers, errors = [], []

        def call(client):
            while not stop.is_set():
                try:
                    answers.append(client.one(1.0))
                except grpc.RpcError as error:
                    errors.append(error)
                    if error.code() == grpc.StatusCode.UNAVAILABLE:
                        return

        for _ in range(count):
            threads.append(threading.Thread(target=call, args=(connect(server),), daemon=True))
            threads[-1].start()
        return answers, errors

    yield callers
    stop.set()
    for thread in threads:
        thread.join(20)


# (a) the server


class Process:
    """A server as a process, listening on a port of its choice."""

    def __init__(self, base, folder):
        self.port_file = folder / "port"
        self.log = folder / "log"
        flags = (f"--model_base_path={base}", "--port=0", f"--port_file={self.port_file}")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving", *flags],
                cwd=Path(__file__).parents[2],
                stdout=out,
                stderr=out,
            )

    def address(self):
        """Where it listens; waits until it does."""
        deadline = time.monotonic() + 120
        while not self.port_file.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return f"127.0.0.1:{self.port_file.read_text().strip()}"

    def lives(self, seconds):
        """It runs on for so long: the instant of the kill is what is random."""
        with pytest.raises(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(base, tmp_path_factory):
    """start(): a `Process` that serves `base`."""
    started = []

    def start():
        started.append(Process(base, tmp_path_factory.mktemp("server")))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.mark.slow
def test_a_killed_server_comes_back_with_the_last_good_version(
    base, push, start, connect, callers, chance
):
    """Half of the kills come while it starts and loads, half while it serves and swaps."""
    newest = 0

    def push_another():
        push(base, newest + 1, factor=2 + (newest + 1) % 2)
        return newest + 1

    newest = push_another()
    began = time.monotonic()
    server = start()
    server.address()
    life = time.monotonic() - began
    server.kill()
    swapped = 0
    for trial in range(TRIALS):
        server = start()
        if trial % 2 == 0:
            server.lives(chance.uniform(0, life))
            if chance.random() < 0.5:  # a push that it may or may not have seen
                newest = push_another()
        else:
            # The kill before has done no harm.
            client = connect(server.address())
            assert client.one(1.0) == (2.0 + newest % 2, newest)
            answers, errors = callers(server.address())
            newest = push_another()
            server.lives(chance.uniform(0, 2.0))
            assert errors == []
            assert all(value == 2.0 + version % 2 for value, version in answers)
            swapped += (2.0 + newest % 2, newest) in answers
        server.kill()
    print(f"{TRIALS} killed: half while starting ({life:.1f} s), {swapped} after a swap")
    assert connect(start().address()).one(1.0) == (2.0 + newest % 2, newest)


# (c) damage by hand


def _damage(version, chance):
    """Deletes, cuts or garbles one file; returns what it did."""
    path = chance.choice(sorted(path for path in version.rglob("*") if path.is_file()))
    kind = chance.choice(("delete", "truncate", "garble"))
    data = path.read_bytes()
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(data[: chance.randrange(len(data)) if data else 0])
    else:
        place = chance.randrange(max(1, len(data)))
        noise = chance.randbytes(chance.randrange(1, 200))
        path.write_bytes(data[:place] + noise + data[place + len(noise) :])
    return f"{kind} {path.relative_to(version)}"


def _with_warm_up(folder):
    """As the Pusher does: a graph that loads but cannot answer is found out before it serves."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "one"
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    (folder / "assets.extra").mkdir()
    requests = folder / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(requests)) as writer:
        writer.write(log.SerializeToString())


def test_a_version_that_is_pushed_damaged_never_replaces_the_good_one(
    base, push, serve, connect, callers, chance, eventually
):
    """Some damage does no harm (a fingerprint that nobody reads): then the version serves."""
    push(base, GOOD)
    server = serve(max_num_load_retries=0)
    client = connect(server)
    _, errors = callers(server, 1)
    failed = 0
    for number in range(BAD, BAD + TRIALS):
        done = []

        def change(folder, done=done):
            _with_warm_up(folder)
            done.append(_damage(folder, chance))

        push(base, number, 3, change)

        def settled(number=number):
            return [s for s in client.statuses() if s[0] == number and s[1] in (30, 50)]

        ((_, state, code),) = eventually(settled)
        print(number, done[0], state, code)
        if state == 50:
            failed += 1
            assert code != 0  # the error is told
            assert (GOOD, 30, 0) in client.statuses()
            assert client.one(1.0) == (2.0, GOOD)
        shutil.rmtree(base / str(number))
        eventually(lambda: client.one(1.0) == (2.0, GOOD))
    assert failed >= TRIALS // 4
    assert errors == []


def test_a_version_that_is_damaged_while_it_serves_goes_on_serving(
    base, push, toys, serve, connect, callers, chance, eventually
):
    """What is loaded needs its folder no longer."""
    push(base, GOOD)
    server = serve()
    client = connect(server)
    answers, errors = callers(server, 1)
    for _ in range(TRIALS):
        print(_damage(base / str(GOOD), chance))
        before = len(answers)
        eventually(lambda before=before: len(answers) > before + 2)
        assert client.one(1.0) == (2.0, GOOD)
        assert client.statuses() == [(GOOD, 30, 0)]
        shutil.copytree(toys[2], base / str(GOOD), dirs_exist_ok=True)
    assert errors == []
    assert set(answers) == {(2.0, GOOD)}


# (d) a model that is deleted


@pytest.mark.slow
def test_calls_outlive_the_folder_of_their_model(base, push, serve, connect, chance, eventually):
    push(base, GOOD)
    server = serve()
    client = connect(server)
    client.predict({"n": 10}, "slow")
    began = time.monotonic()
    client.predict({"n": 10_000}, "slow")
    # A call of most of a second, longer than the other version takes to load.
    seconds = 0.8
    count = int(10_000 * seconds / (time.monotonic() - began))
    unloading = 0
    for trial in range(TRIALS):
        number = BAD + trial
        push(base, number, 3)
        eventually(lambda number=number: client.one(1.0) == (3.0, number))
        call = client.prediction.Predict.future(client.request({"n": count}, "slow"), timeout=60)
        # Not a wait for something: the instant is what is random here.
        threading.Event().wait(chance.uniform(0, seconds))
        shutil.rmtree(base / str(number))
        eventually(lambda: client.one(1.0) == (2.0, GOOD))
        unloading += (number, 40, 0) in client.statuses()
        response = call.result()
        assert response.outputs["n"].int_val[0] == count
        assert response.model_spec.version.value == number
        eventually(lambda number=number: (number, 50, 0) in client.statuses())
    print(f"{unloading} of {TRIALS} were waited for")
    assert unloading >= 1


def test_a_call_outlives_the_last_version_of_all(base, push, serve, connect, fails, eventually):
    push(base, GOOD)
    client = connect(serve())
    call = client.prediction.Predict.future(client.request({"n": 300_000}, "slow"), timeout=60)
    eventually(lambda: client.one(1.0))
    shutil.rmtree(base / str(GOOD))
    eventually(lambda: (GOOD, 30, 0) not in client.statuses())
    message = fails("NOT_FOUND", client.one, 1.0)
    assert message == "Servable not found for request: Latest(segue)"
    assert call.result().outputs["n"].int_val[0] == 300_000
