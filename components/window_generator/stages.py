"""The Beam stages of WindowGenerator: encode, fit the n-gram, cut, write.

One file of songs becomes one file of windows, by one worker, some songs at a
time. Between workers travel names, places and counters, never songs or windows:
what crosses a shuffle, or waits for a side input, an in-memory runner holds in
memory until it is done, and a window is 76 times its share of the song in the
paper's form.

The n-gram takes two steps before the held-out songs are written: each file of
training songs is counted into sorted runs, and each part of the n-gram is added
up from them. Its parts are ranges of keys, as many as keep one small.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam import pvalue
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from components.stages import SongShards, put_in_place, read_songs
from components.window_generator import tables
from components.window_generator.tables import Stretch
from components.window_generator.tfrecord import RecordWriter
from components.window_generator.wire import serialized_windows
from music.codec import build_codec
from music.ngram import NGramCounts, NGramModel, table_entries
from music.song import Song
from music.split import EVAL, SPLITS, TRAIN
from music.vocabulary import Vocabulary
from music.windows import Window, WindowSpec

if TYPE_CHECKING:  # workers do not need it
    import tensorflow as tf

# Training events for which the n-gram gets another part. An event leaves up to
# 3 x 7 entries of 16 bytes (at worst 330 MiB a part; 25 MiB on real songs).
EVENTS_A_PART = 2**20
# All are open at once when songs are scored, and a process may open 1,024 files.
MAX_PARTS = 256
# Entries that a worker holds before it writes a run: 64 MiB, and some as much again.
ENTRIES_A_RUN = 2**22


def encode(song: Song, vocabulary: Vocabulary) -> tuple[np.ndarray, int]:
    """int32[T, F] codes without what the vocabulary drops, and how many events it dropped."""
    events = build_codec(dict(vocabulary.codec)).encode(song)
    admitted = vocabulary.admit(events)
    return admitted, len(events) - len(admitted)


def alphabets(vocabulary: Vocabulary) -> tuple[int, ...]:
    """How many codes each field could take, for the n-gram's uniform end."""
    if vocabulary.closed:
        return vocabulary.sizes
    return tuple(field.size for field in build_codec(dict(vocabulary.codec)).fields)


def training_events(vocabulary: Vocabulary) -> int:
    """How many events the vocabulary was counted in."""
    return sum(count for _, count in vocabulary.fields[0].counts)


def parts_for(vocabulary: Vocabulary) -> int:
    """How many parts the n-gram of the vocabulary's training songs has."""
    return min(max(1, -(-training_events(vocabulary) // EVENTS_A_PART)), MAX_PARTS)


def to_example(
    window: Window, song: str, names: Sequence[str], ngram_nll: float | None
) -> tf.train.Example:
    """A window as the Examples artifact holds it (`wire` writes the same bytes, sooner).

    Args:
      window: what to write.
      song: its song's id.
      names: of the fields.
      ngram_nll: mean nats of the scored events under the n-gram; None leaves it out.
    """
    import tensorflow as tf

    def ints(values) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    features = {name: ints(window.events[:, column]) for column, name in enumerate(names)}
    features["song"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[song.encode()]))
    features["offset"] = ints([window.offset])
    features["scored"] = ints([window.scored])
    if ngram_nll is not None:
        nats = tf.train.FloatList(value=[ngram_nll])
        features["ngram_nll"] = tf.train.Feature(float_list=nats)
    return tf.train.Example(features=tf.train.Features(feature=features))


class _CountShard(beam.DoFn):
    """The path of a file of songs -> (part, Stretch), a run or more written."""

    def __init__(self, vocabulary: Vocabulary, order: int, folder: str, parts: int):
        self.vocabulary = vocabulary
        self.order = order
        self.folder = folder
        self.parts = parts

    def process(self, path: str) -> Iterator[tuple[int, Stretch]]:
        name = os.path.splitext(os.path.basename(path))[0]
        counts, runs = NGramCounts(self.order), 0
        for songs in read_songs(path):
            for song in songs:
                counts.add(encode(song, self.vocabulary)[0])
            if len(counts) >= ENTRIES_A_RUN and table_entries(counts.table()) >= ENTRIES_A_RUN:
                yield from self._write(counts, f"{name}-{runs:05d}")
                counts, runs = NGramCounts(self.order), runs + 1
        yield from self._write(counts, f"{name}-{runs:05d}")

    def _write(self, counts: NGramCounts, name: str) -> Iterator[tuple[int, Stretch]]:
        return enumerate(tables.write_run(self.folder, name, counts.table(), self.parts))


class AddUp(beam.CombineFn):
    """Stretches of runs -> the table of all their counts.

    The counts of an accumulator lie in files: it is a list of their places.
    """

    def create_accumulator(self) -> list[Stretch]:
        return []

    def add_input(self, accumulator: list[Stretch], stretch: Stretch) -> list[Stretch]:
        return [*accumulator, stretch]

    def merge_accumulators(self, accumulators: Iterable[list[Stretch]]) -> list[Stretch]:
        return [stretch for accumulator in accumulators for stretch in accumulator]

    def extract_output(self, accumulator: list[Stretch]) -> np.ndarray:
        return tables.add_up(accumulator)


def _write_part(element: tuple[int, np.ndarray], folder: str, parts: int) -> str:
    part, table = element
    Metrics.counter("segue", "ngram_entries").inc(table_entries(table))
    return tables.write_part(folder, part, parts, table)


class FitNGram(beam.PTransform):
    """Paths of files of songs -> paths of the n-gram's parts (`music.ngram`).

    Args:
      vocabulary: of the codec and what is dropped.
      order: in tokens.
      folder: where the n-gram lies.
    """

    def __init__(self, vocabulary: Vocabulary, order: int, folder: str):
        super().__init__()
        self.vocabulary = vocabulary
        self.order = order
        self.folder = folder

    def expand(self, paths):
        parts = parts_for(self.vocabulary)
        return (
            paths
            | "Count" >> beam.ParDo(_CountShard(self.vocabulary, self.order, self.folder, parts))
            | "AddUp" >> beam.CombinePerKey(AddUp())
            | "WritePart" >> beam.Map(_write_part, self.folder, parts)
        )


class _WriteShard(beam.DoFn):
    """The path of a file of songs -> the path of its file of windows."""

    def __init__(
        self, side: str, folder: str, vocabulary: Vocabulary, window: WindowSpec, order: int
    ):
        self.side = side
        self.folder = folder
        self.vocabulary = vocabulary
        self.window = window
        self.order = order
        self.names = [field.name for field in vocabulary.fields]

    def setup(self) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._model: tuple[list[str], NGramModel] | None = None

    def teardown(self) -> None:
        self._model = None
        self._scratch.cleanup()

    def process(self, path: str, ngram: Sequence[str] | None = None) -> Iterator[str]:
        name = os.path.basename(path).replace("songs-", "windows-").replace(".parquet", ".gz")
        # Readers take every file of a split's folder, so what is not finished yet
        # lies one folder up; a runner may give a shard to two workers at once.
        temporary = os.path.join(
            os.path.dirname(self.folder), f".{self.side}-{name}-{uuid.uuid4().hex}"
        )
        model = None if ngram is None else self._ngram(sorted(ngram))
        with (
            FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file,
            RecordWriter(file) as writer,
        ):
            for songs in read_songs(path):
                self._write(writer, songs, model)
        target = os.path.join(self.folder, name)
        put_in_place(temporary, target)
        yield target

    def _ngram(self, paths: list[str]) -> NGramModel:
        """Opened once for all the shards of a worker."""
        if self._model is None or self._model[0] != paths:
            parts = tables.open_parts(paths, self._scratch.name)
            self._model = paths, NGramModel(self.order, parts, alphabets(self.vocabulary))
        return self._model[1]

    def _write(self, writer: RecordWriter, songs: list[Song], model: NGramModel | None) -> None:
        encoded = [encode(song, self.vocabulary) for song in songs]
        nats: list = [None] * len(songs)
        if model is not None:
            nats = model.nlls([events for events, _ in encoded])
        for song, (events, dropped), nll in zip(songs, encoded, nats, strict=True):
            windows = scored = 0
            scored_nats = 0.0
            for window, record in serialized_windows(events, self.window, song.id, self.names, nll):
                writer.write(record)
                windows += 1
                scored += window.scored
                if nll is not None:
                    stop = window.offset + len(window.events)
                    scored_nats += float(nll[stop - window.scored : stop].sum())
            for counter, count in {
                "events": len(events) + dropped,
                "dropped": dropped,
                f"windows_{self.side}": windows,
                f"scored_{self.side}": scored,
                # Beam counts in whole numbers.
                "ngram_micronats": round(1e6 * scored_nats),
            }.items():
                Metrics.counter("segue", counter).inc(count)


class WriteWindows(beam.PTransform):
    """A Songs artifact -> gzip TFRecord files under the splits' folders.

    Songs-0000i-of-0000N becomes windows-0000i-of-0000N, in its order; held-out
    windows carry the n-gram's nats.

    Args:
      songs: uri of the artifact.
      vocabulary: of the codec, the fields and what is dropped.
      window: how songs are cut.
      order: of the n-gram.
      uris: a folder for each split.
      ngram: a folder for the n-gram.
    """

    def __init__(
        self,
        songs: str,
        vocabulary: Vocabulary,
        window: WindowSpec,
        order: int,
        uris: dict[str, str],
        ngram: str,
    ):
        super().__init__()
        self.songs = songs
        self.vocabulary = vocabulary
        self.window = window
        self.order = order
        self.uris = {side: uris[side] for side in SPLITS}
        self.ngram = ngram

    def expand(self, pipeline):
        shards = {side: pipeline | side >> SongShards(self.songs, side) for side in SPLITS}
        write = {
            side: _WriteShard(side, self.uris[side], self.vocabulary, self.window, self.order)
            for side in SPLITS
        }
        ngram = shards[TRAIN] | "NGram" >> FitNGram(self.vocabulary, self.order, self.ngram)
        train = shards[TRAIN] | "WriteTrain" >> beam.ParDo(write[TRAIN])
        held_out = shards[EVAL] | "WriteEval" >> beam.ParDo(write[EVAL], pvalue.AsList(ngram))
        return (train, held_out) | "Written" >> beam.Flatten()
