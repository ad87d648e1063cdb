"""Where a training stands, on disk, so that a killed one goes on.

Keras's BackupAndRestore keeps the model's weights and the number of the epoch. A
training that shall end as if it had never been killed also needs dropout's seeds,
the best weights so far, the epochs' figures, the seconds used, and inside an epoch
the running loss: one file holds them all. It is an uncompressed .npz with a digest
behind it, so that half a file or a damaged one is told from a whole one. It is
written under another name, brought to the disk, and renamed; the one before stays
until the next, to fall back on.

A checkpoint belongs to one training: the settings, the vocabulary, the windows to
the byte, the libraries and the devices make its key, and no other is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.progress import report
from components.trainer.history import Epoch
from components.trainer.settings import TrainerSettings
from music.vocabulary import Vocabulary

# Folders of other trainings that are left beside the one under way.
OTHERS_KEPT = 1
_DIGEST_BYTES = 16
_NAME = re.compile(r"checkpoint-(\d{8})-(\d{8})\.npz")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
      epochs: those that are finished.
      step: of the epoch after them; 0 is its beginning.
      seconds: spent in that epoch.
      ended: whether there is nothing left to do.
    """

    epochs: tuple[Epoch, ...] = ()
    step: int = 0
    seconds: float = 0.0
    ended: bool = False

    @property
    def best(self) -> int:
        """The number of the first epoch with the least held-out nats, from 1; 0: none."""
        if not self.epochs:
            return 0
        return 1 + min(range(len(self.epochs)), key=lambda place: self.epochs[place].nats)


def training_key(
    settings: TrainerSettings,
    vocabulary: Vocabulary,
    patterns: Sequence[str],
    machine: dict[str, Any],
) -> str:
    """Names a training: whatever could make it end otherwise gives another name.

    Args:
      settings: of the training; the fingerprint of the code is among them.
      vocabulary: what indices mean.
      patterns: of all files of windows, in order; every byte of them counts.
      machine: what it runs on, JSON types.

    Returns:
      32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    libraries = {"keras": keras.__version__, "tensorflow": tf.__version__}
    facts = {"settings": settings.to_dict(), "machine": machine, "versions": libraries}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(vocabulary.to_json().encode())
    for pattern in patterns:
        for name in sorted(tf.io.gfile.glob(pattern)):
            digest.update(f"\n{os.path.basename(name)} ".encode())
            with tf.io.gfile.GFile(name, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:32]


class Checkpoints:
    """The checkpoints of one training.

    Args:
      folder: theirs alone; None keeps none.
      key: of the training, `training_key`.
      network: built; its weights and seeds are kept.
      others: further variables: the optimizer's, the running loss.
    """

    def __init__(self, folder: str | None, key: str, network: keras.Model, others: Sequence[Any]):
        self.folder = None if folder is None else Path(folder)
        self.key = key
        self.network = network
        self.variables = [*network.variables, *others]
        self.best: list[np.ndarray] = []
        self._complained = False

    def save(self, progress: Progress) -> None:
        """Keeps the training as it stands; a disk that refuses is told, once."""
        if self.folder is None:
            return
        arrays = {f"state-{at}": v.numpy() for at, v in enumerate(self.variables)}
        # The best weights are the present ones where the last epoch was the best.
        if progress.epochs and (progress.step or progress.best < len(progress.epochs)):
            arrays |= {f"best-{at}": value for at, value in enumerate(self.best)}
        header = {"key": self.key, "progress": dataclasses.asdict(progress)}
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        path = self.folder / f"checkpoint-{len(progress.epochs):08d}-{progress.step:08d}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, arrays)
            for _, old in self._found()[2:]:
                old.unlink()
        except OSError as error:
            if not self._complained:
                report(
                    "Trainer",
                    f"cannot keep a checkpoint in {self.folder} ({error.strerror}); the training "
                    "goes on, and would begin anew if it were stopped",
                )
            self._complained = True

    def restore(self) -> Progress:
        """Brings the variables to where the newest whole checkpoint left them.

        Returns:
          Where that is; the beginning, with nothing changed, where there is none.
        """
        if self.folder is None or not self.folder.is_dir():
            return Progress()
        for left in self.folder.glob("*.partial"):
            left.unlink()
        for _, path in self._found():
            try:
                progress, state, best = self._read(path)
            except (OSError, ValueError) as why:
                report("Trainer", f"the checkpoint {path} is left out: {why}")
                path.unlink(missing_ok=True)
                continue
            for variable, value in zip(self.variables, state, strict=True):
                variable.assign(value)
            self.best = best
            return progress
        return Progress()

    def _found(self) -> list[tuple[tuple[int, int], Path]]:
        """(epochs, step) and path of every checkpoint, the newest first."""
        assert self.folder is not None
        matches = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        found = [((int(m[1]), int(m[2])), path) for m, path in matches if m]
        return sorted(found, reverse=True)

    def _read(self, path: Path) -> tuple[Progress, list[np.ndarray], list[np.ndarray]]:
        """Reads and checks a whole file before anything is changed by it."""
        content = path.read_bytes()
        body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if _digest(body) != digest:
            raise ValueError("it is damaged")
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            if header["key"] != self.key:
                raise ValueError("it is of another training")
            value = header["progress"]
            epochs = tuple(Epoch(**epoch) for epoch in value.pop("epochs"))
            progress = Progress(epochs, **value)
            state = [file[f"state-{at}"] for at in range(len(self.variables))]
            for variable, stored in zip(self.variables, state, strict=True):
                if tuple(variable.shape) != stored.shape:
                    raise ValueError(f"{variable.path} has another shape")
            weights = self.network.weights
            if f"best-{len(weights) - 1}" in file:
                return progress, state, [file[f"best-{at}"] for at in range(len(weights))]
        by_variable = {id(v): value for v, value in zip(self.variables, state, strict=True)}
        return progress, state, [by_variable[id(weight)] for weight in weights]


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    partial = path.with_suffix(".partial")
    body = io.BytesIO()
    np.savez(body, **arrays)
    with open(partial, "wb") as file:
        file.write(body.getbuffer())
        file.write(_digest(body.getbuffer()))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_folder(base: str, key: str) -> str:
    """The folder of a training below `base`; old ones of other trainings go.

    Args:
      base: of all trainings of a root.
      key: of the training.
    """
    others = [path for path in Path(base).glob("*") if path.is_dir() and path.name != key]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[OTHERS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return str(Path(base) / key)


def discard(folder: str | None) -> None:
    """Removes a training's folder, when what came of it lies elsewhere."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
