"""What a pushed version keeps, so that another training can begin where its own ended.

A served graph has its first layer multiplied out, embeddings into kernels: good for
playing, and no way back. So the weights as they were trained lie beside it, to the
bit, with the vocabulary that gives them their meaning, counts and all; and what the
version was asked for: its settings, and which music. All of it is in `assets.extra`,
which servers pass by.

A version is named here by what it holds, not by its number: a *start* is the SHA-256
of weights and vocabulary. The same version in another folder is the same start, and a
step that depends on one is reused while it is the same.

Nothing here loads TensorFlow: the command line asks, every night, whether there is
anything to do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.read_back import check, intact, read
from components.trainer.settings import ModelSettings
from components.versions import parked_versions, version_path, versions
from music.errors import SegueError

WEIGHTS_FILE = "assets.extra/weights.npz"
KEPT_VOCABULARY_FILE = "assets.extra/vocabulary.json"
REQUEST_FILE = "assets.extra/request.json"

REMEDY = "remove that version, or train from scratch once: --warm-start none"
# Of the array in the weights' file that holds the network's shape, as JSON.
SHAPE = "model"
_REQUEST = {"settings": dict, "music": str, "folder": str, "start": str}
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Request:
    """What a version was asked for.

    Attributes:
      settings: everything that decides what is learned and how it is judged, JSON types.
      music: of the songs (`components.midi_parser.reader.music_digest`).
      folder: of the files, names and all (`music.folder.fingerprint`).
      start: of the version that its training began from; empty is from scratch.
    """

    settings: Mapping[str, Any]
    music: str
    folder: str
    start: str = ""

    def to_json(self) -> str:
        """As a file holds it; the same request gives the same text."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Request:
        """What `to_json` gave, back.

        Raises:
          Odd: it is no request.
        """
        value = json.loads(text)
        check(value, _REQUEST)
        return cls(**{name: value[name] for name in _REQUEST})


# Of a step that is made without a run around it.
NO_REQUEST = Request({}, "", "")


@dataclasses.dataclass(frozen=True)
class Known:
    """A version that tells what it was asked for.

    Attributes:
      number: of the version.
      path: its folder.
      parked: whether it was taken out of service.
      request: what it was asked for.
    """

    number: int
    path: str
    parked: bool
    request: Request


def known_versions(serving_dir: str) -> list[Known]:
    """Every version that tells what it was asked for: those in reach of servers first.

    Versions of before there were requests are left out, and so is what cannot be read:
    it is compared with, and a comparison that fails makes a training more.
    """
    found = []
    for number, parked, path in _folders(serving_dir):
        if os.path.exists(os.path.join(path, REQUEST_FILE)):
            try:
                request = read(Path(path, REQUEST_FILE), Request.from_json)
            except SegueError:
                continue
            found.append(Known(number, path, parked, request))
    return found


def start_of(version: str) -> str:
    """The start that a version is: 64 hexadecimal digits.

    Args:
      version: its folder.

    Raises:
      SegueError: it keeps no weights, as those of earlier Segues, or they cannot be read.
    """
    digest = hashlib.sha256()
    for name in (KEPT_VOCABULARY_FILE, WEIGHTS_FILE):
        path = os.path.join(version, name)
        if not os.path.exists(path):
            raise SegueError(
                f"version {os.path.basename(version)} keeps no weights to begin from "
                f"({path} is missing); {REMEDY}"
            )
        with intact(path, REMEDY), open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def read_shape(version: str) -> ModelSettings:
    """The shape of the network whose weights a version keeps.

    Raises:
      SegueError: there are none, or the file is damaged.
    """
    import numpy as np

    path = os.path.join(version, WEIGHTS_FILE)
    with intact(path, REMEDY), np.load(path, allow_pickle=False) as file:
        return ModelSettings(**json.loads(file[SHAPE].tobytes()))


def find_start(serving_dir: str, start: str) -> str:
    """The folder of a version that is a start, wherever it stands now.

    Raises:
      SegueError: it is gone, or has changed.
    """
    for _, _, path in _folders(serving_dir):
        if os.path.exists(os.path.join(path, WEIGHTS_FILE)) and start_of(path) == start:
            return path
    raise SegueError(
        f"the version that this training was to begin from is no longer in {serving_dir}; "
        "run the pipeline again"
    )


def _folders(serving_dir: str) -> list[tuple[int, bool, str]]:
    """Number, whether it is parked, and folder of every version, the one in service first."""
    numbers = [(number, False) for number in reversed(versions(serving_dir))]
    numbers += [(number, True) for number in reversed(parked_versions(serving_dir))]
    return [
        (number, parked, version_path(serving_dir, number, parked)) for number, parked in numbers
    ]
