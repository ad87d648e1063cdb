"""Songs by a model server: one, many, many callers, a swap under load, memory.

Everything goes over gRPC to the embedded server in a process of its own, which
shares the cores with the callers. The floor is arithmetic: what a song costs in
floating-point operations against the machine's matmul rate, taken in the same run.
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._served import Served, network_and_facts, random_prime, served, timed

STEPS = 250
PRIME = 75
KERAS_NOTES = 20
CLIENTS = (1, 8, 32, 128)
CALLS = 10_000
Rows = list[dict[str, Any]]


def measure() -> Rows:
    """Every part, one after the other."""
    rows = [*_one_song(), *_many_songs()]
    for batching in (True, False):
        rows += _callers(batching)
    return rows + _swap() + _memory()


def _row(what: str, value: float, unit: str, note: str = "") -> dict[str, Any]:
    row = {"what": what, "value": value, "unit": unit, "note": note}
    wide = f"  {what:<44} {value:10.3f} {unit:<8} {note}"
    print(wide.rstrip(), flush=True)
    return row


# ---- one song --------------------------------------------------------------


def _one_song() -> Rows:
    """A song of 250 notes by each way of making it."""
    from client.connection import Connection
    from client.generation import GenerationClient, Sampling

    prime, sampling = random_prime(PRIME), Sampling(seed=1)
    with served() as server, Connection(server.target) as connection:
        client = GenerationClient(connection)
        client.describe()
        ways: list[tuple[str, Callable[[], object], int]] = [
            ("generate, one call", lambda: client.generate([prime], STEPS, sampling), 15),
            (
                "generate and resume, chunks of 25",
                lambda: list(client.stream(prime, STEPS, sampling)),
                7,
            ),
            ("step, a call a note", lambda: list(client.step_loop(prime, STEPS, sampling)), 3),
            (
                "predict_next, a call a note",
                lambda: list(client.paper_loop(prime, STEPS, sampling)),
                1,
            ),
        ]
        seconds = [(what, timed(way, runs)) for what, way, runs in ways]
    seconds.append((f"keras predict, a call a note ({KERAS_NOTES} timed)", _keras_predict()))
    first = seconds[0][1]
    return [
        _row(f"250 notes: {what}", took, "s", f"{took / first:.1f} x") for what, took in seconds
    ]


def _keras_predict() -> float:
    """Seconds for 250 notes by `keras.Model.predict` on a window of 75, a call a note."""
    code = (
        "import time, numpy as np\n"
        "from benchmarks._served import network_and_facts, random_prime\n"
        "network = network_and_facts()[0]\n"
        f"heard = random_prime({PRIME})[None] % 10\n"
        "network.predict([heard, heard], verbose=0)\n"
        "began = time.perf_counter()\n"
        f"for _ in range({KERAS_NOTES}):\n"
        "    network.predict([heard, heard], verbose=0)\n"
        "print(time.perf_counter() - began)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) * STEPS / KERAS_NOTES


# ---- many songs in one call ------------------------------------------------


def song_flop(prime: int, steps: int) -> float:
    """Floating-point operations of a song's matmuls, with the weights as they are served."""
    cells, heads = _multiplications()
    return 2.0 * ((prime - 1 + steps) * cells + steps * heads)


@functools.cache
def _multiplications() -> tuple[int, int]:
    """(those of a step through the cells, those of the heads of one)."""
    from components.trainer.inference import InferenceModel
    from components.trainer.network import extract_weights

    network, settings, window, vocabulary = network_and_facts()
    model = InferenceModel(extract_weights(network, settings), settings, window, vocabulary)
    cells = sum(int(np.prod(kernel.shape)) for kernel in (model.recurrent, *model.cells))
    heads = sum(int(np.prod(kernel.shape)) for kernel in (model.dense, *model.heads))
    return cells, heads


def matmul_rate() -> float:
    """The machine's float32 matmul rate, all cores, in GFLOP/s: the best of some."""
    code = (
        "import time, tensorflow as tf\n"
        "a = tf.random.normal([2048, 2048])\n"
        "best = 1e9\n"
        "for _ in range(12):\n"
        "    began = time.perf_counter()\n"
        "    tf.matmul(a, a).numpy()\n"
        "    best = min(best, time.perf_counter() - began)\n"
        "print(2 * 2048**3 / best / 1e9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _many_songs() -> Rows:
    from client.connection import Connection
    from client.generation import GenerationClient, Sampling

    peak = matmul_rate()
    prime, sampling = random_prime(PRIME), Sampling(seed=1)
    with served() as server, Connection(server.target) as connection:
        client = GenerationClient(connection)
        took = timed(lambda: client.generate([prime] * 64, STEPS, sampling), 5)
    rate = 64 * song_flop(PRIME, STEPS) / took / 1e9
    return [
        _row("matmul, float32, 2048 cubed", peak, "GFLOP/s", "the machine's rate in this run"),
        _row("64 songs in one call", took, "s", f"{64 / took:.0f} songs a second"),
        _row("64 songs in one call", rate, "GFLOP/s", f"{100 * rate / peak:.0f}% of that rate"),
    ]


# ---- many callers ----------------------------------------------------------


def _callers(batching: bool) -> Rows:
    """Callers who each ask for one song after the other."""
    from client.connection import Connection
    from client.generation import GenerationClient, Sampling

    rows = []
    prime = random_prime(PRIME)
    flag = f"--enable_continuous_batching={str(batching).lower()}"
    with served(flag) as server, Connection(server.target) as connection:
        client = GenerationClient(connection)
        client.describe()
        for callers in CLIENTS:
            songs = max(2, 64 // callers)

            def ask(place: int) -> None:
                client.generate([prime], STEPS, Sampling(seed=place))

            took, each = _at_once(ask, callers, songs)
            rows.append(
                _row(
                    f"{callers} callers, batching {'on' if batching else 'off'}",
                    callers * songs / took,
                    "songs/s",
                    f"p50 {_percentile(each, 50):.2f} s, p99 {_percentile(each, 99):.2f} s",
                )
            )
    return rows


def _at_once(ask: Callable[[int], None], callers: int, times: int) -> tuple[float, list[float]]:
    """Seconds for all, and for each call."""
    each: list[float] = []
    failures: list[BaseException] = []

    def call(caller: int) -> None:
        try:
            for turn in range(times):
                began = time.perf_counter()
                ask(caller * times + turn)
                each.append(time.perf_counter() - began)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failures:
        raise failures[0]
    return took, each


def _percentile(values: list[float], percent: int) -> float:
    return float(np.percentile(values, percent))


# ---- a swap under load, and memory -----------------------------------------


def _notes(server: Served) -> Callable[[int], None]:
    """A note a call, of whatever version is the newest."""
    from client.connection import Connection

    connection = Connection(server.target)
    inputs = {
        "prime": random_prime(2)[None],
        "prime_length": np.array([2], np.int32),
        "steps": np.array([1], np.int32),
        "temperature": np.ones(1, np.float32),
        "top_k": np.zeros(1, np.int32),
        "top_p": np.ones(1, np.float32),
        "may_end": np.zeros(1, bool),
        "position": np.zeros(1, np.int32),
    }

    def ask(place: int) -> None:
        connection.call("generate", inputs | {"seed": np.array([place])})

    return ask


def _swap() -> Rows:
    """10,000 calls while new versions are pushed and warmed up; a failed call raises."""
    with served() as server:
        ask = _notes(server)
        callers = 8
        _, quiet = _at_once(ask, callers, CALLS // callers // 4)
        swaps = 0
        over = threading.Event()

        def push() -> None:
            nonlocal swaps
            while not over.wait(3.0):
                server.push(2 + swaps)
                swaps += 1

        pusher = threading.Thread(target=push)
        pusher.start()
        try:
            _, busy = _at_once(ask, callers, CALLS // callers)
        finally:
            over.set()
            pusher.join()
    return [
        _row("a note a call, 8 callers", 1e3 * statistics.median(quiet), "ms", "p50"),
        _row("a note a call, 8 callers", 1e3 * _percentile(quiet, 99), "ms", "p99"),
        _row(
            f"the same while {swaps} versions are pushed",
            1e3 * _percentile(busy, 99),
            "ms",
            f"p99 of {len(busy):,} calls, none failed; p50 {1e3 * statistics.median(busy):.1f} ms",
        ),
    ]


def _memory() -> Rows:
    """The server's memory after the first calls and after many more."""
    with served() as server:
        ask = _notes(server)
        _at_once(ask, 8, 250)
        before = server.megabytes()
        _at_once(ask, 8, CALLS // 8)
        after = server.megabytes()
    return [
        _row("memory after 2,000 calls", before, "MB"),
        _row("memory after 10,000 more", after, "MB", f"{after - before:+.1f} MB"),
    ]
