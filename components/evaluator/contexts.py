"""Nats by how much the model had heard: what is a longer window worth?

The Evaluator's signature gives the nats of every event by itself (`nll_steps`). An event
of a window follows from all that stand before it there, one at the least and the window's
length less one at the most; its nats go to the bin of their number. What the last bins do
not gain over those before them a longer window will hardly give.

Nats by position in the song, the state carried on, are the Trainer's (`positions.json`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from components.files import CONTEXTS_FILE

BIN = 25
# Windows of a larger split that are read, evenly spread.
MOST_WINDOWS = 8_192
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Context:
    """Events that follow from about as many others.

    Attributes:
      first, last: how many, both included.
      events: that follow from so many.
      nats: their mean.
    """

    first: int
    last: int
    events: int
    nats: float


def by_context(
    model: str, patterns: Sequence[str], field: str, most: int = MOST_WINDOWS
) -> list[Context]:
    """Scores held-out windows, event by event.

    Args:
      model: folder of the SavedModel.
      patterns: of gzip TFRecords of windows.
      field: name of one of an event's fields, by which events are counted.
      most: windows that are read of a larger number, every so manieth.

    Returns:
      In order, those that have events.
    """
    names = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP")
    count = int(records.reduce(np.int64(0), lambda so_far, _: so_far + 1))
    records = records.shard(max(1, -(-count // most)), 0)
    spec = {field: tf.io.RaggedFeature(tf.int64), "scored": tf.io.FixedLenFeature([], tf.int64)}
    score = tf.saved_model.load(model).signatures["serving_default"]
    sums, counts = np.zeros(0), np.zeros(0, np.int64)
    for examples in records.batch(_BATCH):
        parsed = tf.io.parse_example(examples, spec)
        lengths = parsed[field].row_lengths().numpy()
        scored = parsed["scored"].numpy()
        nats = score(examples=examples)["nll_steps"].numpy().astype(np.float64)
        row, step = np.nonzero(np.arange(nats.shape[1]) < scored[:, None])
        place = ((lengths - scored)[row] + step - 1) // BIN
        bins = max(len(sums), int(place.max(initial=-1)) + 1)
        sums = np.pad(sums, (0, bins - len(sums)))
        counts = np.pad(counts, (0, bins - len(counts)))
        np.add.at(sums, place, nats[row, step])
        np.add.at(counts, place, 1)
    return [
        Context(1 + BIN * at, BIN * (at + 1), int(counts[at]), float(sums[at] / counts[at]))
        for at in np.flatnonzero(counts).tolist()
    ]


def write_contexts(contexts: Sequence[Context], folder: str) -> None:
    """Leaves `contexts.json`; a mean that is no number as null."""
    rows = [dataclasses.asdict(one) for one in contexts]
    for row in rows:
        row["nats"] = row["nats"] if np.isfinite(row["nats"]) else None
    with open(os.path.join(folder, CONTEXTS_FILE), "w") as file:
        file.write(json.dumps(rows, indent=1, sort_keys=True, allow_nan=False) + "\n")
