"""The Beam stages of WindowGenerator: encode, fit the n-gram, cut, write."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from music.codec import build_codec
from music.ngram import NGramCounts, NGramModel
from music.song import Song
from music.split import EVAL, SPLITS, TRAIN
from music.vocabulary import Vocabulary
from music.windows import Window, WindowSpec

Encoded = tuple[str, tuple[str, np.ndarray]]  # (split, (song id, int32[T, F] codes))


def encode(pair: tuple[str, Song], vocabulary: Vocabulary) -> Encoded:
    """(split, song) as (split, (song id, codes)), without what the vocabulary drops."""
    side, song = pair
    events = build_codec(dict(vocabulary.codec)).encode(song)
    admitted = vocabulary.admit(events)
    Metrics.counter("segue", "events").inc(len(events))
    Metrics.counter("segue", "dropped").inc(len(events) - len(admitted))
    return side, (song.id, admitted)


class CountNGrams(beam.CombineFn):
    """Counts of many songs, gathered in pieces.

    Args:
      order: the longest n-gram.
    """

    def __init__(self, order: int):
        super().__init__()
        self.order = order

    def create_accumulator(self):
        return NGramCounts(self.order)

    def add_input(self, accumulator, events):
        return accumulator.add(events)

    def merge_accumulators(self, accumulators: Iterable[NGramCounts]):
        return functools.reduce(NGramCounts.merge, accumulators, NGramCounts(self.order))

    def extract_output(self, accumulator):
        return accumulator


def alphabets(vocabulary: Vocabulary) -> tuple[int, ...]:
    """How many codes each field could take, for the n-gram's uniform end."""
    if vocabulary.closed:
        return vocabulary.sizes
    return tuple(field.size for field in build_codec(dict(vocabulary.codec)).fields)


def to_example(
    window: Window, song: str, names: Sequence[str], ngram_nll: float | None
) -> tf.train.Example:
    """A window as the Examples artifact holds it.

    Args:
      window: what to write.
      song: its song's id.
      names: of the fields.
      ngram_nll: mean nats of the scored events under the n-gram; None leaves it out.
    """

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


class _Cut(beam.DoFn):
    """(split, (song, codes)) -> ((split, shard), (song, offset, record))."""

    def __init__(self, window: WindowSpec, vocabulary: Vocabulary, shards: int):
        self.window = window
        self.vocabulary = vocabulary
        self.shards = shards
        self._model: tuple[NGramCounts, NGramModel] | None = None

    def process(self, element: Encoded, counts: NGramCounts) -> Iterator:
        side, (song, events) = element
        names = [field.name for field in self.vocabulary.fields]
        shard = int(hashlib.sha256(song.encode()).hexdigest()[:8], 16) % self.shards
        nll = self._ngram(counts).nll(events) if side == EVAL and len(events) else None
        for window in self.window.cut(events):
            mean = None
            if nll is not None:
                stop = window.offset + len(window.events)
                mean = float(nll[stop - window.scored : stop].mean())
            example = to_example(window, song, names, mean)
            Metrics.counter("segue", f"windows_{side}").inc()
            Metrics.counter("segue", f"scored_{side}").inc(window.scored)
            # Protobuf maps have no order of their own: deterministic bytes want one.
            record = example.SerializeToString(deterministic=True)
            yield (side, shard), (song, window.offset, record)

    def _ngram(self, counts: NGramCounts) -> NGramModel:
        if self._model is None or self._model[0] is not counts:
            self._model = counts, NGramModel(counts, alphabets(self.vocabulary))
        return self._model[1]


def write_shard(element, uris: dict[str, str], shards: int) -> None:
    """Writes one file of a split, in the order of (song, offset)."""
    (side, shard), rows = element
    name = f"windows-{shard:05d}-of-{shards:05d}.gz"
    target = os.path.join(uris[side], name)
    # Readers take every file of a split's folder, so what is not finished yet
    # lies one folder up.
    temporary = os.path.join(os.path.dirname(uris[side]), f".{side}-{name}")
    tf.io.gfile.makedirs(uris[side])
    with tf.io.TFRecordWriter(temporary, "GZIP") as writer:
        for _, _, record in sorted(rows):
            writer.write(record)
    tf.io.gfile.rename(temporary, target, overwrite=True)


class WriteWindows(beam.PTransform):
    """(split, song) -> gzip TFRecord files under the splits' folders.

    Args:
      vocabulary: of the codec, the fields and what is dropped.
      window: how songs are cut.
      order: of the n-gram.
      uris: a folder for each split.
      shards: files a split.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        window: WindowSpec,
        order: int,
        uris: dict[str, str],
        shards: int,
    ):
        super().__init__()
        self.vocabulary = vocabulary
        self.window = window
        self.order = order
        self.uris = {side: uris[side] for side in SPLITS}
        self.shards = shards

    def expand(self, songs):
        encoded = songs | "Encode" >> beam.Map(encode, self.vocabulary)
        counts = (
            encoded
            | "TrainOnly" >> beam.Filter(lambda element: element[0] == TRAIN)
            | "Events" >> beam.Map(lambda element: element[1][1])
            | "CountNGrams" >> beam.CombineGlobally(CountNGrams(self.order))
        )
        return (
            encoded
            | "Cut"
            >> beam.ParDo(
                _Cut(self.window, self.vocabulary, self.shards), pvalue.AsSingleton(counts)
            )
            | "ByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.Map(write_shard, self.uris, self.shards)
        )
