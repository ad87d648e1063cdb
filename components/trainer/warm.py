"""The weights that a version keeps for the training after it: written, and read back.

An uncompressed .npz of the arrays of `Weights`, float32, each under a name of its own,
with the network's shape as JSON beside them. The same weights make the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np

from components.kept import KEPT_VOCABULARY_FILE, REMEDY, SHAPE, WEIGHTS_FILE, find_start
from components.read_back import Odd, intact
from components.trainer.inference import Weights
from components.trainer.settings import ModelSettings
from music.errors import SegueError
from music.vocabulary import Vocabulary


def to_arrays(weights: Weights) -> dict[str, np.ndarray]:
    """The numbers of a network by name; `from_arrays` gives them back."""
    arrays: dict[str, np.ndarray] = {}
    for layer, (kernel, bias) in enumerate(weights.cells):
        arrays |= {f"cell_{layer}_kernel": kernel, f"cell_{layer}_bias": bias}
    arrays |= {f"embedding_{f}": table for f, table in enumerate(weights.embeddings)}
    for name in ("dense", "heads"):
        for f, (kernel, bias) in enumerate(getattr(weights, name)):
            arrays |= {f"{name}_{f}_kernel": kernel, f"{name}_{f}_bias": bias}
    for f, tables in enumerate(weights.conditions):
        arrays |= {f"condition_{f}_{g}": table for g, table in enumerate(tables)}
    for view, numbers in enumerate(weights.profile):
        arrays |= {f"profile_{view}_{at}": array for at, array in enumerate(numbers)}
    return arrays


def from_arrays(arrays: dict[str, np.ndarray]) -> Weights:
    """What `to_arrays` was given.

    Raises:
      KeyError: an array is missing.
    """

    def count(pattern: str) -> int:
        return next(n for n in range(len(arrays) + 1) if pattern.format(n) not in arrays)

    def pairs(name: str, many: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        return tuple(
            (arrays[f"{name}_{n}_kernel"], arrays[f"{name}_{n}_bias"]) for n in range(many)
        )

    fields = count("heads_{}_kernel")
    weights = Weights(
        cells=pairs("cell", count("cell_{}_kernel")),
        embeddings=tuple(arrays[f"embedding_{f}"] for f in range(count("embedding_{}"))),
        dense=pairs("dense", fields),
        conditions=tuple(
            tuple(arrays[f"condition_{f}_{g}"] for g in range(f)) for f in range(fields)
        ),
        heads=pairs("heads", fields),
        profile=tuple(
            tuple(arrays[f"profile_{view}_{at}"] for at in range(count(f"profile_{view}_{{}}")))
            for view in range(count("profile_{}_0"))
        ),
    )
    if set(to_arrays(weights)) != set(arrays):
        raise KeyError(sorted(set(arrays) - set(to_arrays(weights)))[0])
    return weights


def keep(version: str, weights: Weights, settings: ModelSettings, vocabulary: Vocabulary) -> None:
    """Puts into a SavedModel's folder what another training begins from.

    Args:
      version: the folder.
      weights: as they were trained.
      settings: the network's shape.
      vocabulary: what its indices mean, with the counts that it was made of.
    """
    shape = json.dumps(dataclasses.asdict(settings), sort_keys=True).encode()
    path = os.path.join(version, WEIGHTS_FILE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    np.savez(path, **to_arrays(weights), **{SHAPE: np.frombuffer(shape, np.uint8)})
    with open(os.path.join(version, KEPT_VOCABULARY_FILE), "w", encoding="utf-8") as file:
        file.write(vocabulary.to_json())


def read_weights(version: str) -> Weights:
    """The weights that a version keeps, to the bit.

    Raises:
      SegueError: there are none, or the file is damaged.
    """
    path = os.path.join(version, WEIGHTS_FILE)
    with intact(path, REMEDY), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != SHAPE}
        if odd := sorted(name for name, one in arrays.items() if one.dtype != np.float32):
            raise Odd(f"{odd[0]} is not float32")
        return from_arrays(arrays)


def begin(serving_dir: str, start: str, vocabulary: Vocabulary) -> Weights:
    """The weights of a start.

    Args:
      serving_dir: folder of the versions.
      start: which of them, as `components.kept.start_of` names it.
      vocabulary: of the windows to be learned from, which must be the version's own.

    Raises:
      SegueError: it is gone or damaged, or the vocabulary is another one.
    """
    version = find_start(serving_dir, start)
    path = os.path.join(version, KEPT_VOCABULARY_FILE)
    with intact(path, REMEDY), open(path, encoding="utf-8") as file:
        own = file.read()
    if own != vocabulary.to_json():
        raise SegueError(
            f"the windows are written with another vocabulary than that of {version}, whose "
            "weights the training begins from; run the pipeline again, with --no-cache"
        )
    return read_weights(version)
