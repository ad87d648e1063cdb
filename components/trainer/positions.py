"""Held-out nats by position in the song: does the model gain from what it has heard?

A mean over windows hides where a model is good. Here held-out songs are read from
their first event on, the state carried and never begun anew, up to event 325 (three
windows of the paper's and 25 more), and the nats of events 1 to 325 stand in bins,
the n-gram's on the same events beside them. The first event of all is never predicted.
A model of sliding windows carries nothing: it has figures from the window's length on,
each after the window before it.

The songs come from the evaluation windows, which tile them, so that it works wherever
the Trainer does; the n-gram from its tables beside the windows.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.files import POSITIONS_FILE
from components.progress import report
from components.trainer.inference import InferenceModel, Weights
from components.trainer.settings import ModelSettings, TrainerSettings
from music.ngram import NGramModel
from music.vocabulary import Vocabulary
from music.windows import WindowSpec

REACH = 325
BIN = 25
# Songs of a larger split that are read, a sample by their ids, which are hashes. An
# event costs a sliding window as many steps as it is long.
MOST_SONGS = 256
MOST_SONGS_SLIDING = 16
_ROWS = 64
_BATCH = 512
# Tables of an n-gram that lie elsewhere are copied here; more than this is too much.
_MOST_TABLE_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Bin:
    """Events at some neighbouring positions, of all songs read.

    Attributes:
      first, last: positions, both included; the event behind a song's first is 1.
      events: how many there were.
      nats: the model's mean, an event.
      ngram_nats: the n-gram's on the same events; None where there is no n-gram.
    """

    first: int
    last: int
    events: int
    nats: float
    ngram_nats: float | None


@dataclasses.dataclass(frozen=True)
class Positions:
    """Nats by position.

    Attributes:
      songs: how many were read.
      carried: whether the state is carried from a song's first event on; else each
        event follows from a window of its own.
      bins: in order, those that have events.
    """

    songs: int
    carried: bool
    bins: tuple[Bin, ...]

    def to_json(self) -> str:
        """As a file holds it."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Positions:
        """What `to_json` gave, back."""
        value = json.loads(text)
        return cls(value["songs"], value["carried"], tuple(Bin(**one) for one in value["bins"]))

    def line(self) -> str:
        """For a person: the first bin and the last."""
        if not self.bins:
            return "no held-out song is long enough to tell nats by position"
        told = []
        for one in dict.fromkeys((self.bins[0], self.bins[-1])):
            beside = "" if one.ngram_nats is None else f" (n-gram {one.ngram_nats:.3f})"
            place = f"at events {one.first} to {one.last}, {one.events:,} in all"
            told.append(f"{one.nats:.3f}{beside} {place}")
        songs = "1 song" if self.songs == 1 else f"{self.songs:,} songs"
        return f"held-out nats by position in {songs}: {'; '.join(told)}"


def tell_positions(
    weights: Weights,
    settings: TrainerSettings,
    vocabulary: Vocabulary,
    eval_files: Sequence[str],
    run_folder: str,
) -> Positions:
    """Writes `positions.json` and tells its line.

    Args:
      weights: of the trained network.
      settings: of its training.
      vocabulary: what indices mean.
      eval_files: patterns of gzip TFRecords of windows, in an Examples artifact.
      run_folder: where the file goes, the ModelRun artifact.
    """
    # An artifact's splits are its folders.
    examples = os.path.dirname(os.path.dirname(eval_files[0]))
    with NGramBeside(examples, vocabulary) as ngram:
        positions = by_position(
            weights, settings.model, settings.window, vocabulary, eval_files, ngram
        )
    with tf.io.gfile.GFile(os.path.join(run_folder, POSITIONS_FILE), "w") as file:
        file.write(positions.to_json())
    report(
        "Trainer",
        positions.line(),
        positions=[dataclasses.asdict(one) for one in positions.bins],
    )
    return positions


def by_position(
    weights: Weights,
    settings: ModelSettings,
    window: WindowSpec,
    vocabulary: Vocabulary,
    eval_files: Sequence[str],
    ngram: NGramModel | None = None,
) -> Positions:
    """Scores the beginnings of the held-out songs.

    Args:
      weights, settings, window, vocabulary: of the model, as `InferenceModel` takes them.
      eval_files: patterns of gzip TFRecords of windows.
      ngram: the baseline, if there is one.
    """
    carried = window.form != "last"
    songs = song_beginnings(eval_files, vocabulary, MOST_SONGS if carried else MOST_SONGS_SLIDING)
    if carried:
        # One window, as long as the beginning of a song is: its state is that of the
        # song, whatever windows the model was trained on.
        window = WindowSpec(REACH)
    nats = event_nats(InferenceModel(weights, settings, window, vocabulary), songs)
    baseline = None if ngram is None else ngram.nlls(songs)
    return Positions(len(songs), carried, in_bins(nats, baseline))


def song_beginnings(
    patterns: Sequence[str], vocabulary: Vocabulary, most: int = MOST_SONGS
) -> list[np.ndarray]:
    """The first events of songs, put together from their windows.

    Args:
      patterns: of gzip TFRecords of windows.
      vocabulary: of the fields.
      most: of more songs, those with the smallest ids.

    Returns:
      int32[T, F] codes a song, T up to `REACH` + 1, in the order of their ids.
    """
    names = [field.name for field in vocabulary.fields]
    spec: dict[str, Any] = {name: tf.io.RaggedFeature(tf.int64) for name in names}
    spec["song"] = tf.io.FixedLenFeature([], tf.string)
    spec["offset"] = tf.io.FixedLenFeature([], tf.int64)
    files = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH)
    found: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for batch in records.map(lambda batch: tf.io.parse_example(batch, spec)):
        offsets, ids = batch["offset"].numpy(), batch["song"].numpy()
        splits = batch[names[0]].row_splits.numpy()
        codes = np.stack([batch[name].values.numpy() for name in names], axis=1)
        for row in np.flatnonzero(offsets <= REACH):
            empty = np.zeros((REACH + 1, len(names)), np.int32), np.zeros(REACH + 1, bool)
            events, known = found.setdefault(ids[row], empty)
            start = offsets[row]
            part = codes[splits[row] : splits[row + 1]][: REACH + 1 - start]
            events[start : start + len(part)] = part
            known[start : start + len(part)] = True
        if len(found) > 4 * most:
            found = _smallest(found, most)
    # Up to the first event that no window holds: where the song ends.
    return [
        events[: int(np.append(known, False).argmin())]
        for events, known in _smallest(found, most).values()
    ]


def _smallest(found: Mapping[bytes, Any], most: int) -> dict[bytes, Any]:
    return {song: found[song] for song in sorted(found)[:most]}


def event_nats(model: InferenceModel, songs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Nats of each event of songs' beginnings, NaN where the model has none.

    Args:
      model: its window decides: of form `every`, at least as long as the songs; of form
        `last`, the one that slides.
      songs: int32[T, F] codes each.

    Returns:
      float64[T] for each song.
    """
    nats = [np.full(len(events), np.nan) for events in songs]
    # (song, first event, events, scored ones)
    stretches = []
    for place, events in enumerate(songs):
        if not model.sliding:
            stretches.append((place, 0, len(events), len(events) - 1))
            continue
        stretches += [
            (place, cut.offset, len(cut.events), cut.scored) for cut in model.window.cut(events)
        ]
    stretches = [stretch for stretch in stretches if stretch[3] > 0]
    rows = tf.TensorSpec([None], tf.int32)
    codes_spec = tf.TensorSpec([None, None, model.fields], tf.int32)
    score = tf.function(model.score, input_signature=[codes_spec, rows, rows])
    for first in range(0, len(stretches), _ROWS):
        batch = stretches[first : first + _ROWS]
        longest = max(count for _, _, count, _ in batch)
        codes = np.zeros((len(batch), longest, model.fields), np.int32)
        for row, (place, start, count, _) in enumerate(batch):
            codes[row, :count] = songs[place][start : start + count]
        lengths, scored = np.array([stretch[2:] for stretch in batch], np.int32).T
        told = score(codes, lengths, scored).numpy()
        for row, (place, start, count, many) in enumerate(batch):
            nats[place][start + count - many : start + count] = told[row, :many]
    return nats


def in_bins(
    nats: Sequence[np.ndarray], ngram: Sequence[np.ndarray] | None = None
) -> tuple[Bin, ...]:
    """Means by position, over all songs.

    Args:
      nats: float64[T] for each song; NaN is left out.
      ngram: the baseline's, of the same events.
    """
    made = []
    for first in range(1, REACH + 1, BIN):
        here = [song[first : first + BIN] for song in nats]
        told = np.concatenate([np.zeros(0), *here])
        counts = np.isfinite(told)
        if not counts.any():
            continue
        beside = None
        if ngram is not None:
            beside = float(
                np.concatenate([song[first : first + BIN] for song in ngram])[counts].mean()
            )
        last = first + BIN - 1
        made.append(Bin(first, last, int(counts.sum()), float(told[counts].mean()), beside))
    return tuple(made)


class NGramBeside:
    """The n-gram that WindowGenerator left in an Examples artifact.

    `with NGramBeside(folder, vocabulary) as ngram`: an `NGramModel`, or None where there
    is none, or where it lies elsewhere and is too large to be fetched for this.

    Args:
      examples: folder of the artifact.
      vocabulary: of the windows.
    """

    def __init__(self, examples: str, vocabulary: Vocabulary):
        self.examples = examples
        self.vocabulary = vocabulary
        self._scratch: tempfile.TemporaryDirectory | None = None

    def __enter__(self) -> NGramModel | None:
        # Beam, which they need, takes its time to be imported.
        from components.window_generator.stages import alphabets
        from components.window_generator.tables import FOLDER, open_parts

        paths = tf.io.gfile.glob(os.path.join(self.examples, FOLDER, "ngram-*.npy"))
        if not paths:
            return None
        size = sum(tf.io.gfile.stat(path).length for path in paths)
        if "://" in self.examples and size > _MOST_TABLE_BYTES:
            return None
        self._scratch = tempfile.TemporaryDirectory()
        parts = open_parts(paths, self._scratch.name)
        # Tables do not tell their order. Contexts longer than it were never seen, and
        # the back-off ends before them: any order that is long enough is the same.
        return NGramModel(64, parts, alphabets(self.vocabulary))

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
