"""Trainings that are made once: the trials of a search, the arms of a study.

A trial is `fit` with some settings on some windows, and nothing else: there is one
way of training. What it was is kept as `history.json` in a folder of its own, under
a key of all that decides it (the settings, the bytes of the windows and of the
vocabulary, the code that trains, the libraries, the kind of machine), and whoever asks
for the same trial again is given that file. So a search or a study that was killed
goes on where it was: what is done is read, the training under way goes on from its
checkpoint, and no state of the search itself has to survive.

A training that broke down, its loss no number, is a result too and is kept as one.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import importlib.resources
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.files import HISTORY_FILE
from components.progress import LOGGER
from components.trainer.history import History
from components.trainer.settings import TrainerSettings
from music.vocabulary import Vocabulary

BROKEN_FILE = "broken.json"
CHECKPOINT_FOLDER = "checkpoint"

# Modules of this package that have no part in how a network is fitted; any other,
# new ones included, changes the keys when its code changes.
_APART = {
    "checkpoints", "export", "history", "inference", "module", "positions", "sampling", "space",
    "telling", "trials", "tuning", "warm",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Trial:
    """A training that was asked for.

    Attributes:
      key: of all that decides it, 32 hexadecimal digits.
      history: what it was; None when it broke down.
      reason: why it broke down; empty when it did not.
      kept: whether it was there already.
    """

    key: str
    history: History | None
    reason: str = ""
    kept: bool = False


class Trials:
    """The trials on one set of windows.

    Args:
      store: folder where trials are kept, each in a folder named by its key.
      vocabulary: what indices mean.
      train_files, eval_files: patterns of gzip TFRecords of windows.
    """

    def __init__(
        self,
        store: str | Path,
        vocabulary: Vocabulary,
        train_files: Sequence[str],
        eval_files: Sequence[str],
    ):
        self.store = Path(store)
        self.vocabulary = vocabulary
        self.train_files = list(train_files)
        self.eval_files = list(eval_files)

    def key(self, settings: TrainerSettings) -> str:
        """The name of the trial's folder; a preset's name and the rest of the code do not count."""
        from components.trainer import checkpoints, devices

        return checkpoints.training_key(
            dataclasses.replace(settings, preset="", code=training_code()),
            self.vocabulary,
            [*self.train_files, *self.eval_files],
            devices.machine(settings.training.precision),
        )

    def find(self, settings: TrainerSettings) -> Trial | None:
        """The trial as it is kept; None when it has not been made."""
        key = self.key(settings)
        folder = self.store / key
        # A file that is no longer whole is as good as none: the trial is made again.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            history = History.from_json((folder / HISTORY_FILE).read_text("utf-8"))
            # A kill between the two may have left it.
            shutil.rmtree(folder / CHECKPOINT_FOLDER, ignore_errors=True)
            return Trial(key, history, kept=True)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            broken = json.loads((folder / BROKEN_FILE).read_text("utf-8"))
            return Trial(key, None, str(broken["reason"]), kept=True)
        return None

    def run(self, settings: TrainerSettings) -> Trial:
        """The trial as it is kept, or made now.

        Raises:
          SegueError: as `fit`, but for a training that broke down, which is a result.
        """
        found = self.find(settings)
        if found is not None:
            return found
        import keras

        from components.trainer import checkpoints
        from components.trainer.telling import BrokeDown
        from components.trainer.training import fit

        key = self.key(settings)
        folder = self.store / key
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = str(folder / CHECKPOINT_FOLDER)
        try:
            history = fit(
                settings,
                self.vocabulary,
                self.train_files,
                self.eval_files,
                checkpoint_dir=checkpoint,
            ).history
        except BrokeDown as error:
            value = {"reason": str(error), "settings": settings.to_dict()}
            _put(folder / BROKEN_FILE, json.dumps(value, indent=1, sort_keys=True) + "\n")
            trial = Trial(key, None, str(error))
        else:
            _put(folder / HISTORY_FILE, history.to_json())
            trial = Trial(key, history)
        finally:
            keras.backend.clear_session()  # or every graph stays until the last trial
        checkpoints.discard(checkpoint)
        return trial


@contextlib.contextmanager
def without_epochs() -> Iterator[None]:
    """Leaves the lines of single trainings untold: a trial is told as one.

    Ticks, from which a terminal draws its bar, pass.
    """

    def other(record: logging.LogRecord) -> bool:
        return getattr(record, "stage", "") != "Trainer" or record.levelno < logging.INFO

    LOGGER.addFilter(other)
    try:
        yield
    finally:
        LOGGER.removeFilter(other)


def training_code() -> str:
    """SHA-256 (hex) over the code that fits a network; comments and layout do not count."""
    digest = hashlib.sha256()
    folder = Path(str(importlib.resources.files(__package__)))
    for path in sorted(folder.glob("*.py")):
        if path.stem not in _APART:
            tree = ast.parse(path.read_text("utf-8"))
            digest.update(f"{path.stem}\0{ast.dump(tree)}\0".encode())
    return digest.hexdigest()


def _put(path: Path, text: str) -> None:
    """Writes a file that is there whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
