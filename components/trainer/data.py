"""Windows as a training loop wants them.

Reads the WindowGenerator's Examples and maps codes to the vocabulary's indices.
What a model of kind `chain` sees of a training window changes every epoch: a
crop of L + 1 events at a random offset, moved by a random number of semitones.
Every random choice is a function of the seed, the epoch and the window's place in
it, and of nothing that was drawn before: two runs see the same crops, and a
training that goes on at step s of epoch e sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from components.trainer.settings import TrainerSettings
from music.codec import BOUNDARY, build_codec
from music.errors import SegueError
from music.vocabulary import Vocabulary


class WindowData:
    """The windows of one run, train and eval.

    Args:
      settings: the window's form, the batch, the augmentation, the seed.
      vocabulary: what indices mean.
    """

    def __init__(self, settings: TrainerSettings, vocabulary: Vocabulary):
        self.settings = settings
        self.vocabulary = vocabulary
        self.codec = build_codec(dict(vocabulary.codec))
        self.length = settings.window.length

    def train(self, patterns: Sequence[str]) -> TrainingWindows:
        """What a training is shown, epoch by epoch.

        Args:
          patterns: of gzip TFRecord files; read and decoded once, here.

        Raises:
          SegueError: there is no window.
        """
        return TrainingWindows(self, patterns)

    def evaluation(self, patterns: Sequence[str]) -> tf.data.Dataset:
        """Batches of the held-out windows, whole, with what is scored as weights."""
        prepare = self._last_step if self.settings.model.kind == "paper" else self._whole
        windows = self._read(patterns).map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        size = max(64, self.settings.training.batch_size)
        steps = -(-self.count(patterns, "eval") // size)
        batches = windows.batch(size).cache()
        return batches.apply(tf.data.experimental.assert_cardinality(steps))

    def count(self, patterns: Sequence[str], split: str) -> int:
        """How many windows there are.

        Raises:
          SegueError: none.
        """
        count = int(self._files(patterns).reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))
        if not count:
            least = self.length + 1 if self.settings.window.form == "last" else 2
            raise SegueError(
                f"the {split} split has no window: no song in it has {least} events; "
                "give more or longer songs, or lower window.length"
            )
        return count

    def ngram_nats(self, patterns: Sequence[str]) -> float:
        """The n-gram's nats an event over held-out windows; NaN where they carry none."""
        spec = {
            "scored": tf.io.FixedLenFeature([], tf.int64),
            "ngram_nll": tf.io.FixedLenFeature([], tf.float32, default_value=float("nan")),
        }

        def add(sums, record):
            parsed = tf.io.parse_single_example(record, spec)
            scored = tf.cast(parsed["scored"], tf.float64)
            nats = tf.cast(parsed["ngram_nll"], tf.float64)
            return sums[0] + scored * nats, sums[1] + scored

        zero = tf.constant(0.0, tf.float64)
        total, scored = self._files(patterns).reduce((zero, zero), add)
        return float(total / scored)

    def _files(self, patterns: Sequence[str]) -> tf.data.Dataset:
        names = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
        return tf.data.TFRecordDataset(names, compression_type="GZIP")

    def _read(self, patterns: Sequence[str]) -> tf.data.Dataset:
        names = [field.name for field in self.codec.fields]
        spec = {name: tf.io.VarLenFeature(tf.int64) for name in names}
        spec["scored"] = tf.io.FixedLenFeature([], tf.int64)
        longest = self.settings.window.max_events

        def parse(record):
            parsed = tf.io.parse_single_example(record, spec)
            columns = [tf.cast(parsed[name].values, tf.int32) for name in names]
            events = tf.stack(columns, axis=-1)
            count = tf.shape(events)[0]
            padded = tf.pad(events, [[0, longest - count], [0, 0]])
            padded = tf.ensure_shape(padded, [longest, len(names)])
            return padded, count, tf.cast(parsed["scored"], tf.int32)

        return self._files(patterns).map(parse, num_parallel_calls=tf.data.AUTOTUNE)

    def _indices(self, codes):
        columns = [
            tf.gather(tf.constant(table), codes[:, column])
            for column, table in enumerate(self.vocabulary.tables)
        ]
        return tf.stack(columns, axis=-1)

    def _share(self, codes):
        return tf.add_n(
            [
                tf.gather(tf.constant(share), codes[:, column])
                for column, share in enumerate(self.vocabulary.share_nll)
            ]
        )

    def _last_step(self, codes, _, __):
        indices = self._indices(codes)[:, 0]
        size = self.vocabulary.sizes[0]
        heard = tf.cast(indices[:-1, None], tf.float32) / float(size)
        return heard, tf.one_hot(indices[-1], size), 1.0

    def _last_window(self, window, _):
        return self._last_step(*window)

    def _pair(self, codes, weights):
        """(heard, next), the share of each code, and what counts."""
        indices = self._indices(codes)
        return (indices[:-1], indices[1:]), self._share(codes[1:]), weights

    def _crop(self, window, number):
        codes, count, _ = window
        number = tf.bitcast(number, tf.uint64)
        wanted = self.length + 1
        choices = tf.cast(tf.maximum(count - wanted, 0) + 1, tf.uint64)
        start = tf.cast(number % choices, tf.int32)
        crop = tf.pad(codes, [[0, wanted], [0, 0]])[start : start + wanted]
        crop = tf.ensure_shape(crop, [wanted, codes.shape[1]])
        real = tf.range(wanted) < count - start
        crop, counts = self._transpose(crop, real, number // choices)
        return self._pair(crop, tf.cast(counts[1:], tf.float32))

    def _transpose(self, codes, real, number):
        """The crop in another key, and which of its events are worth predicting there.

        A closed vocabulary may not keep a chord in every key: where it does not, the
        crop is heard with the nearest one, and nothing is learned of it.
        """
        column, reach = self.codec.pitched, self.settings.training.transpose
        if not reach:
            return codes, real
        pitch = codes[:, column]
        note = real & (pitch < BOUNDARY)
        lowest = tf.reduce_min(tf.where(note, pitch, 127))
        highest = tf.reduce_max(tf.where(note, pitch, 0))
        shift = tf.cast(number % tf.constant(2 * reach + 1, tf.uint64), tf.int32) - reach
        shift = tf.clip_by_value(shift, tf.minimum(-lowest, 0), tf.maximum(127 - highest, 0))
        every = np.arange(self.codec.fields[column].size)
        moves = [self.codec.transpose(every, semitones) for semitones in range(-reach, reach + 1)]
        moved = tf.where(real, tf.gather(tf.constant(np.stack(moves))[shift + reach], pitch), pitch)
        kept = np.isin(every, self.vocabulary.fields[column].kept)
        lost = tf.gather(kept, pitch) & ~tf.gather(kept, moved)
        columns = tf.unstack(codes, axis=1)
        columns[column] = moved
        return tf.stack(columns, axis=1), real & ~lost

    def _whole(self, codes, count, scored):
        place = tf.range(1, self.settings.window.max_events)
        counts = (place >= count - scored) & (place < count)
        return self._pair(codes, tf.cast(counts, tf.float32))


class TrainingWindows:
    """The training windows, in another order and with other crops in every epoch.

    All windows lie decoded in memory; an epoch is an order of their numbers and a
    random number beside each, both from stateless generators. `tf.data`'s own
    shuffle would remember what it has drawn, so that epoch e could only be reached
    through all those before it.

    Attributes:
      windows: how many there are.
      passes: how often an epoch goes through them.
      steps: batches an epoch, the last one perhaps smaller.
    """

    def __init__(self, data: WindowData, patterns: Sequence[str]):
        training = data.settings.training
        size = training.batch_size
        self.windows = data.count(patterns, "train")
        self.passes = max(1, -(-training.least_steps // -(-self.windows // size)))
        self.steps = -(-self.windows * self.passes // size)
        prepare = data._last_window if data.settings.model.kind == "paper" else data._crop
        with tf.device("CPU:0"):
            stored = data._read(patterns).batch(self.windows).get_single_element()
            # One dataset serves all epochs, so that its functions are traced once.
            self._place = tf.Variable([0, 0], dtype=tf.int64, trainable=False)
            place = tf.data.Dataset.from_tensors(0).map(lambda _: self._place.read_value())
            chosen = place.flat_map(lambda at: self._numbers(training.seed, at, size))
            self._batches = (
                chosen.map(
                    lambda index, number: prepare(tuple(part[index] for part in stored), number),
                    num_parallel_calls=tf.data.AUTOTUNE,
                )
                .batch(size)
                .prefetch(tf.data.AUTOTUNE)
            )

    def epoch(self, number: int, step: int = 0) -> tf.data.Dataset:
        """The batches of one epoch.

        Args:
          number: of the epoch, from 0.
          step: the batch to begin with.

        Returns:
          (x, y, weight) as the network of the settings' kind takes them. It is the
          same dataset at every call: what is iterated is the epoch asked for last.
        """
        self._place.assign([number, step])
        return self._batches

    def _numbers(self, seed: int, place: tf.Tensor, size: int) -> tf.data.Dataset:
        """(index int64, random int64) of every window of an epoch, in its order."""

        def stream(which: int | tf.Tensor) -> tf.Tensor:
            first = tf.stack([tf.constant(seed, tf.int64), tf.cast(which, tf.int64)])
            return tf.random.experimental.stateless_fold_in(first, place[0])

        every = tf.range(self.windows, dtype=tf.int64)
        shuffle = tf.random.experimental.stateless_shuffle
        turns = tf.data.Dataset.range(self.passes)
        order = turns.flat_map(
            lambda turn: tf.data.Dataset.from_tensor_slices(shuffle(every, seed=stream(turn)))
        )
        numbers = tf.random.stateless_uniform(
            [self.windows * self.passes], seed=stream(-1), minval=None, maxval=None, dtype=tf.int64
        )
        beside = tf.data.Dataset.from_tensor_slices(numbers)
        return tf.data.Dataset.zip((order, beside)).skip(place[1] * size)
