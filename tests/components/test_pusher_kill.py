"""kill -9 in the middle of a push: no half version, ever, and the server never notices.

The pushes run in processes of their own, forked from one that has imported TFX already,
and are killed at random instants of their life. `SEGUE_SEED` repeats a run.
"""

import multiprocessing
import os
import random
import threading
import time
from pathlib import Path

import pytest

KILLS = 25


@pytest.fixture(scope="module")
def forks():
    """Processes that start at once, with the Pusher imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.pusher.executor"])
    return context


def contents(folder):
    """{relative path: bytes} of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def numbered(folder):
    return sorted(int(name) for name in os.listdir(folder) if name.isdigit())


@pytest.mark.slow
def test_a_push_that_is_killed_leaves_whole_versions_and_a_server_that_serves(
    exported, forks, tmp_path
):
    from client.connection import Connection
    from components.pusher.executor import push
    from serving.config import ServerConfig
    from serving.server import ModelServer

    seed = int(os.environ.get("SEGUE_SEED", random.SystemRandom().randrange(2**32)))
    print("seed", seed)
    chance = random.Random(seed)
    model = exported("small").path
    folder = tmp_path / "serving" / "segue"
    whole = contents(folder / str(push(model, str(folder))))
    assert "assets.extra/tf_serving_warmup_requests" in whole

    def unfinished():
        return {name for name in os.listdir(folder) if name.startswith(".pushing-")}

    def started():
        process = forks.Process(target=push, args=(model, str(folder)))
        process.start()
        return process

    started().join()  # it waits for the imports of the process that forks
    began = time.perf_counter()
    process = started()
    process.join()
    life = time.perf_counter() - began
    assert process.exitcode == 0
    assert len(numbered(folder)) == 3

    # Warmed up at the end: here a good push is to be taken up at once.
    config = ServerConfig(
        folder, port=0, file_system_poll_wait_seconds=0.05, enable_model_warmup=False
    )
    stop, answers, failures = threading.Event(), [], []
    with ModelServer(config) as server, Connection(server.address) as connection:

        def call():
            while not stop.is_set():
                try:
                    answers.append(connection.call("describe", {"keys": ["limits"]}).version)
                except Exception as error:
                    failures.append(error)

        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        killed = in_the_middle = finished = 0
        while killed < KILLS:
            assert killed + finished < 20 * KILLS
            before = unfinished()
            process = started()
            if killed % 2:  # once it writes: chance alone may miss that on a busy machine
                while process.is_alive() and unfinished() <= before:
                    time.sleep(1e-4)
            process.join(chance.uniform(0, (0.2 if killed % 2 else 1.2) * life))
            process.kill()
            process.join()
            killed += process.exitcode == -9
            finished += process.exitcode == 0
            assert process.exitcode in (0, -9)
            in_the_middle += bool(unfinished())
            for number in numbered(folder):
                assert contents(folder / str(number)) == whole
        print(f"{killed} killed, {in_the_middle} of them in the middle, {finished} finished")
        assert in_the_middle >= 1

        last = push(model, str(folder))
        assert [name for name in os.listdir(folder) if not name.isdigit()] == []
        assert numbered(folder)[-1] == last
        deadline = time.monotonic() + 60
        while connection.call("describe", {"keys": ["limits"]}).version != last:
            assert time.monotonic() < deadline
        stop.set()
        caller.join(20)
    assert failures == []
    assert set(answers) <= set(numbered(folder))
    assert answers == sorted(answers)

    with ModelServer(ServerConfig(folder, port=0, max_num_load_retries=0)) as server:
        assert server.manager.wait_available(0) == last
