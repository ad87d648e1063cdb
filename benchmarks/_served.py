"""What the serving benchmarks share: a fresh default network, served in a process of its own.

The network is freshly initialised: the arithmetic is that of a trained one.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Served(NamedTuple):
    """A server of the fresh network."""

    process: subprocess.Popen
    target: str
    folder: Path  # of the versions

    def push(self, version: int) -> None:
        """Puts the same model there as another version, as a pusher does."""
        beside = self.folder / f".pushing-{version}"
        newest = max(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        shutil.copytree(self.folder / str(newest), beside)
        beside.rename(self.folder / str(version))

    def megabytes(self) -> float:
        """Resident memory of the server's process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the system does not tell the memory of a process")


@contextlib.contextmanager
def served(*flags: str) -> Iterator[Served]:
    """A server with these flags; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        versions, port_file = Path(folder, "segue"), Path(folder, "port")
        subprocess.run(
            [sys.executable, "-m", "benchmarks._served", str(versions / "1")], check=True
        )
        command = [sys.executable, "-m", "serving", "--port=0", f"--port_file={port_file}"]
        command += [f"--model_base_path={versions}", *flags]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while not port_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server did not come up")
                time.sleep(0.05)
            yield Served(process, f"127.0.0.1:{port_file.read_text().strip()}", versions)
        finally:
            process.terminate()
            process.wait()


def network_and_facts() -> tuple[Any, Any, Any, Any]:
    """The default network: Keras model, settings, window and vocabulary."""
    import keras

    from components.trainer.network import build_network
    from components.trainer.settings import ModelSettings
    from music.codec import NotesCodec
    from music.vocabulary import build_vocabulary
    from music.windows import WindowSpec

    times = dict.fromkeys((0, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 96), 100)
    vocabulary = build_vocabulary(NotesCodec(), [times, {60: 100}, times], min_count=10)
    settings, window = ModelSettings(), WindowSpec()
    keras.utils.set_random_seed(1)
    return build_network(settings, window, vocabulary), settings, window, vocabulary


def export_fresh(path: Path) -> None:
    """Exports the network as the Trainer would, warm-up requests of the Pusher included."""
    from components.pusher.warmup import write_requests
    from components.trainer.export import export
    from components.trainer.inference import InferenceModel
    from components.trainer.network import extract_weights

    network, settings, window, vocabulary = network_and_facts()
    weights = extract_weights(network, settings)
    path.parent.mkdir(parents=True)
    export(InferenceModel(weights, settings, window, vocabulary), {"preset": "none"}, str(path))
    write_requests(str(path))


def random_prime(length: int) -> np.ndarray:
    """Codes int32[length, 3] of the `notes` codec."""
    numbers = np.random.default_rng(1)
    columns = [numbers.choice([0, 6, 12], length), numbers.integers(48, 84, length)]
    return np.stack([*columns, numbers.choice([6, 12, 24], length)], axis=1).astype(np.int32)


def timed(way: Callable[[], object], runs: int) -> float:
    """The median of some runs after one that is not counted, in seconds."""
    way()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        way()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


if __name__ == "__main__":
    export_fresh(Path(sys.argv[1]))
