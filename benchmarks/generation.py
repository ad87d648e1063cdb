"""A song of 250 notes: one `generate` call against a call a note, over gRPC.

The default network, freshly initialised (the arithmetic is that of a trained
one), is exported and served by the embedded server in a process of its own.
Medians of several runs; `predict_next` reads its window of 75 anew for each note.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 250
RUNS = 7


def measure() -> list[dict[str, Any]]:
    """Seconds a song for each way of making it."""
    from client.connection import Connection
    from client.generation import GenerationClient, Sampling

    with tempfile.TemporaryDirectory() as folder:
        export_fresh(Path(folder, "segue", "1"))
        process, target = serve(Path(folder, "segue"), Path(folder, "port"))
        try:
            with Connection(target) as connection:
                client = GenerationClient(connection)
                client.describe()
                prime = random_prime(75)
                sampling = Sampling(seed=1)
                ways: list[tuple[str, Callable[[], object], int]] = [
                    (
                        "generate, one call",
                        lambda: client.generate([prime], STEPS, sampling),
                        RUNS,
                    ),
                    (
                        "generate and resume, chunks of 25",
                        lambda: list(client.stream(prime, STEPS, sampling)),
                        RUNS,
                    ),
                    (
                        "step, a call a note",
                        lambda: list(client.step_loop(prime, STEPS, sampling)),
                        3,
                    ),
                    (
                        "predict_next, a call a note",
                        lambda: list(client.paper_loop(prime, STEPS, sampling)),
                        1,
                    ),
                    (
                        "generate, 64 songs in one call",
                        lambda: client.generate([prime] * 64, STEPS, sampling),
                        3,
                    ),
                ]
                seconds = [(what, timed(way, runs)) for what, way, runs in ways]
        finally:
            process.terminate()
            process.wait()
    first = seconds[0][1]
    return [{"what": what, "seconds": took, "ratio": took / first} for what, took in seconds]


def timed(way: Callable[[], object], runs: int) -> float:
    """The median of some runs after one that is not counted."""
    way()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        way()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def random_prime(length: int) -> np.ndarray:
    """Codes int32[length, 3] of the `notes` codec."""
    numbers = np.random.default_rng(1)
    columns = [numbers.choice([0, 6, 12], length), numbers.integers(48, 84, length)]
    return np.stack([*columns, numbers.choice([6, 12, 24], length)], axis=1).astype(np.int32)


def export_fresh(path: Path) -> None:
    """The default network with random weights, as the Trainer would export it."""
    from components.trainer.export import export
    from components.trainer.inference import InferenceModel
    from components.trainer.network import build_network, extract_weights
    from components.trainer.settings import ModelSettings
    from music.codec import NotesCodec
    from music.vocabulary import build_vocabulary
    from music.windows import WindowSpec

    times = dict.fromkeys((0, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 96), 100)
    vocabulary = build_vocabulary(NotesCodec(), [times, {60: 100}, times], min_count=10)
    settings, window = ModelSettings(), WindowSpec()
    network = build_network(settings, window, vocabulary)
    weights = extract_weights(network, settings)
    path.parent.mkdir(parents=True)
    export(InferenceModel(weights, settings, window, vocabulary), {"preset": "none"}, str(path))


def serve(model: Path, port_file: Path) -> tuple[subprocess.Popen, str]:
    """An embedded server in a process of its own, and its address."""
    flags = ["--port=0", f"--port_file={port_file}", f"--model_base_path={model}"]
    process = subprocess.Popen([sys.executable, "-m", "serving", *flags], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server did not come up")
        time.sleep(0.05)
    return process, f"127.0.0.1:{port_file.read_text().strip()}"
