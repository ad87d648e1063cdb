"""What several folders of tests share: the real command, and models that are not trained.

A model is exported once a session. What Keras would leave at zero (biases, the tables
of what an event's earlier fields say of the next) is moved off it, so that no test
passes because a term is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
SHARED_SONGS = REPOSITORY.parent / "shared" / "data" / "openscore-lieder"


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def segue():
    """Runs `segue` in a process of its own: segue("generate", "--seed", 7)."""

    def run(*arguments: object, cwd: Path | None = None, timeout: float = 800) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
            cwd=cwd or REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def one_line():
    """Checks that a command failed with one line for a person, and returns it."""

    def check(ran: Ran, code: int = 1) -> str:
        assert ran.code == code, ran
        lines = ran.err.splitlines()
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("segue: ")
        assert "Traceback" not in ran.out
        return lines[0].removeprefix("segue: ")

    return check


@pytest.fixture(scope="session")
def reichardt() -> Path:
    """43 real songs that lie beside the project where it is developed."""
    folder = SHARED_SONGS / "Reichardt_Louise"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: real songs that are not part of the project")
    return folder


# ---- untrained models ----

# How often made-up music holds a number of ticks; the rarest are not kept.
TICKS = {0: 400, 3: 20, 6: 100, 8: 11, 12: 300, 18: 9, 24: 200, 48: 90, 96: 15, 5: 2, 700: 1}


def _vocabulary(name):
    from music.codec import ChordsCodec, NotesCodec
    from music.vocabulary import build_vocabulary

    if name == "notes":
        counts = [TICKS, {48: 5, 60: 90, 64: 40, 128: 20}, TICKS]
        return build_vocabulary(NotesCodec(), counts, min_count=5)
    # 128 notes and 47 chords make the paper's 175 classes; 20 tokens are too rare.
    tokens = [*range(128), *(128 + 7 * chord for chord in range(1, 68))]
    counts = {token: 12 if index < 175 else 3 for index, token in enumerate(tokens)}
    return build_vocabulary(ChordsCodec(), [counts], min_count=10, closed=name == "paper")


@pytest.fixture(scope="session")
def vocabulary():
    """vocabulary("notes" | "chords" | "paper"): as a VocabularyBuilder might make it."""
    return _vocabulary


class Exported:
    """A network, the InferenceModel made of it, and the folder it was saved to."""

    def __init__(self, kind, settings, window, vocabulary, path, bias=None):
        import keras

        from components.trainer.export import export
        from components.trainer.inference import InferenceModel
        from components.trainer.network import build_network, extract_weights

        keras.utils.set_random_seed(11)
        self.kind, self.settings, self.window = kind, settings, window
        self.vocabulary, self.path = vocabulary, str(path)
        self.network = build_network(settings, window, vocabulary)
        rng = np.random.default_rng(5)
        for layer in self.network.layers:
            if layer.name.startswith(("dense", "head", "condition", "embedding")):
                layer.set_weights(
                    [w + 0.3 * rng.standard_normal(w.shape) for w in layer.get_weights()]
                )
        if bias is not None:
            bias(self.network)
        self.weights = extract_weights(self.network, settings)
        self.model = InferenceModel(self.weights, settings, window, vocabulary)
        self.training = {"preset": kind, "nats": 3.25, "parameters": self.network.count_params()}
        export(self.model, self.training, self.path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """exported(kind): an `Exported`, the same one each time.

    `chain` and `paper` have the default size; `small` and `small paper` are for
    what takes many calls, and `ending` all but always draws the boundary.
    """
    from components.trainer.settings import ModelSettings
    from music.windows import WindowSpec

    made = {}
    tiny = {"units": (24, 40, 24), "dense": 32, "embedding": 12}

    def end_soon(network):
        kernel, bias = network.get_layer("head_1").get_weights()
        bias[128] += 12.0
        network.get_layer("head_1").set_weights([kernel, bias])

    def kinds(kind):
        return {
            "chain": (ModelSettings(), WindowSpec(), "notes", None),
            "small": (ModelSettings(**tiny, activation="gelu"), WindowSpec(6), "notes", None),
            "ending": (ModelSettings(**tiny), WindowSpec(6), "notes", end_soon),
            "paper": (ModelSettings("paper"), WindowSpec(75, "last"), "paper", None),
            "small paper": (
                ModelSettings("paper", **tiny), WindowSpec(75, "last"), "paper", None
            ),
        }[kind]  # fmt: skip

    def exported(kind):
        if kind not in made:
            settings, window, name, bias = kinds(kind)
            path = tmp_path_factory.mktemp("exported") / "model"
            made[kind] = Exported(kind, settings, window, _vocabulary(name), path, bias)
        return made[kind]

    return exported
