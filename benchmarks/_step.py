"""One training step: how fast, against the matmul peak, and where its time goes.

Steps run as in a training, `network.fit` over a `tf.data.Dataset`, on made-up
windows: what is in them makes no difference to the arithmetic. The peak is taken
in the same process between them, so that what else the machine does disturbs both.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._contest import Contest
from benchmarks._flops import Multiplier, operations, products
from benchmarks._long import PRESETS
from components.trainer.settings import TrainerSettings
from music.vocabulary import Vocabulary


@dataclasses.dataclass
class Trained:
    """A compiled network and what its steps take.

    Attributes:
      settings: its own.
      sizes: of its vocabulary.
      network: ready to be fitted.
      batches: of one call, made up.
      steps: in them.
    """

    settings: TrainerSettings
    sizes: tuple[int, ...]
    network: Any
    batches: Any
    steps: int

    @property
    def operations(self) -> int:
        """Of a step's matrix products."""
        training, window = self.settings.training, self.settings.window
        return operations(
            products(self.settings.model, self.sizes, training.batch_size, window.length)
        )

    @property
    def targets(self) -> int:
        """Events that a step learns from."""
        every = self.settings.window.length if self.settings.model.kind == "chain" else 1
        return self.settings.training.batch_size * every

    def seconds(self) -> float:
        """A step's, over one call."""
        began = time.perf_counter()
        self.network.fit(self.batches, verbose=0)
        return (time.perf_counter() - began) / self.steps


def preset_settings(preset: str, *overrides: str) -> TrainerSettings:
    """`TrainerSettings` of a preset of this benchmark or of Segue's."""
    from pipeline.configuration import load_configuration

    name = PRESETS.get(preset, preset)
    return load_configuration(Path("."), Path("out"), name, overrides).trainer()


def notes_vocabulary() -> Vocabulary:
    """Of the `notes` codec, of about the size that a composer's songs have."""
    from music.codec import NotesCodec
    from music.vocabulary import build_vocabulary

    ticks = {3 * tick: 20 for tick in range(40)}
    return build_vocabulary(NotesCodec(), [ticks, {60: 20}, ticks], min_count=10)


def chords_vocabulary(classes: int = 107) -> Vocabulary:
    """Of the `chords` codec; 107 classes are Reichardt's."""
    from music.codec import ChordsCodec
    from music.vocabulary import build_vocabulary

    counts = dict.fromkeys(range(40, 40 + classes), 20)
    return build_vocabulary(ChordsCodec(), [counts], min_count=10, closed=True)


def trained(
    settings: TrainerSettings, vocabulary: Vocabulary, steps: int, keras_lstm: bool = False
) -> Trained:
    """A fresh network, compiled as the Trainer compiles it.

    Args:
      settings: of the network and its batch.
      vocabulary: what its heads are for.
      steps: of a call.
      keras_lstm: Keras's own LSTM layers in place of ours.
    """
    import keras
    import tensorflow as tf

    from components.trainer import training
    from components.trainer.network import build_network

    network = build_network(settings.model, settings.window, vocabulary)
    if keras_lstm:
        network = keras.models.clone_model(network, clone_function=_with_keras_lstm)
    training._compile(network, settings.model, settings.training, steps)
    rng = np.random.default_rng(1)
    rows, length = settings.training.batch_size, settings.window.length
    sizes = vocabulary.sizes
    if settings.model.kind == "paper":
        x: Any = rng.random((rows, length, 1), np.float32)
        y = tf.one_hot(rng.integers(sizes[0], size=rows), sizes[0])
        weight = np.ones(rows, np.float32)
    else:
        index = np.stack([rng.integers(s, size=(rows, length + 1)) for s in sizes], axis=-1)
        index = index.astype(np.int32)
        x = (index[:, :-1], index[:, 1:])
        y, weight = np.zeros((rows, length), np.float32), np.ones((rows, length), np.float32)
    batches = tf.data.Dataset.from_tensors((x, y, weight)).repeat(steps)
    return Trained(settings, sizes, network, batches, steps)


def _with_keras_lstm(layer: Any) -> Any:
    from keras import layers

    from components.trainer.lstm import SequenceLSTM

    if isinstance(layer, SequenceLSTM):
        return layers.LSTM(layer.units, return_sequences=True, name=layer.name)
    return layer.__class__.from_config(layer.get_config())


@dataclasses.dataclass(frozen=True)
class Rate:
    """What a network's steps reached.

    Attributes:
      seconds: a step's, the best of the calls.
      targets: a second.
      flops: operations a second in matrix products.
      peak: of large matmuls, the best of those taken before, between and after.
    """

    seconds: float
    targets: float
    flops: float
    peak: float

    @property
    def share(self) -> float:
        """Of the peak."""
        return self.flops / self.peak


def measure_rate(one: Trained, multiplier: Multiplier, calls: int = 3) -> Rate:
    """Steps and peak in turn, after a call that compiles."""
    one.seconds()
    peaks, steps = [multiplier.peak(0.25)], []
    for _ in range(calls):
        steps.append(one.seconds())
        peaks.append(multiplier.peak(0.25))
    best = min(steps)
    return Rate(best, one.targets / best, one.operations / best, max(peaks))


def epoch_seconds(contest: Contest, settings: TrainerSettings, steps: int) -> tuple[float, float]:
    """Seconds of an epoch's steps and of judging it, from a few steps on the real windows.

    Args:
      contest: whose windows.
      settings: the contestant's.
      steps: to time; the whole epoch is never run.

    Returns:
      The training steps of an epoch, and its pass over the held-out windows.
    """
    from components.trainer import training
    from components.trainer.data import WindowData
    from components.trainer.network import build_network

    vocabulary, form = contest.vocabulary, settings.window.form
    data = WindowData(settings, vocabulary)
    network = build_network(settings.model, settings.window, vocabulary)
    windows = data.count(contest.train(form), "train")
    epoch = -(-windows // settings.training.batch_size)
    training._compile(network, settings.model, settings.training, epoch)
    batches = data.train(contest.train(form)).repeat()
    # One pipeline for all calls, as in a training, where it is read once.
    stream = iter(batches)
    steps = min(steps, epoch)

    def call(count: int) -> float:
        taken = [next(stream) for _ in range(count)]
        began = time.perf_counter()
        for x, y, weight in taken:
            network.train_on_batch(x, y, sample_weight=weight)
        return (time.perf_counter() - began) / count

    call(1)
    step = min(call(steps), call(steps))
    held_out = data.evaluation(contest.common(form))
    network.evaluate(held_out, verbose=0)
    began = time.perf_counter()
    network.evaluate(held_out, verbose=0)
    return step * epoch, time.perf_counter() - began


# ---- where the time goes ---------------------------------------------------


def parts(one: Trained, multiplier: Multiplier, calls: int = 5) -> list[tuple[str, float]]:
    """Seconds of a step of a `chain` network, piece by piece.

    The pieces are timed by what a step takes without them: a graph is run as far as
    a point, then one piece further, and the difference is the piece's. `floor` lines
    are the matrix products of that kind by themselves, one after the other.

    Returns:
      (piece, seconds) in the order of a step; the last is the whole step.
    """
    import keras
    import tensorflow as tf

    network, model = one.network, one.settings.model
    (x, _, weight) = next(iter(one.batches))
    names = [layer.name for layer in network.layers]
    last = max(place for place, name in enumerate(names) if name.startswith("dropout"))
    body = keras.Model(network.inputs, network.layers[last].output)
    variables = network.trainable_variables

    @tf.function
    def recur():
        return tf.reduce_sum(body(x, training=True))

    @tf.function
    def ahead():
        return tf.reduce_sum(network(x, training=True) * weight)

    @tf.function
    def back():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(x, training=True) * weight)
        return tf.add_n(
            [tf.reduce_sum(tf.convert_to_tensor(g)) for g in tape.gradient(loss, variables)]
        )

    def best(call: Callable[[], object]) -> float:
        call()
        took = []
        for _ in range(calls):
            began = time.perf_counter()
            call()
            took.append(time.perf_counter() - began)
        return min(took)

    reached = [best(lambda f=f: float(f())) for f in (recur, ahead, back)]
    one.seconds()
    whole = min(one.seconds() for _ in range(calls))
    training, window = one.settings.training, one.settings.window
    floor = multiplier.floor(products(model, one.sizes, training.batch_size, window.length))
    pieces = [
        ("embeddings and LSTM layers, forward", reached[0]),
        ("heads and nats, forward", reached[1] - reached[0]),
        ("backward", reached[2] - reached[1]),
        ("optimizer, metrics, input", whole - reached[2]),
        *((f"floor: {part}", seconds) for part, seconds in floor.items()),
        ("floor", sum(floor.values())),
        ("step", whole),
    ]
    return pieces


def by_operation(one: Trained, folder: Path) -> list[tuple[str, float, int]]:
    """What TensorFlow's profiler counts in some steps, by kind of operation.

    Args:
      one: a network that has run before.
      folder: for the profiler's files.

    Returns:
      (operation, share of all, count a step), the largest first. Operations of
      several threads overlap, so shares say what the processors did, not when.
    """
    import tensorflow as tf

    one.seconds()
    tf.profiler.experimental.start(str(folder))
    one.seconds()
    tf.profiler.experimental.stop()
    (path,) = folder.rglob("*.xplane.pb")
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for kind, took in _traced(path.read_bytes()):
        seconds[kind] = seconds.get(kind, 0.0) + took
        counts[kind] = counts.get(kind, 0) + 1
    total = sum(seconds.values())
    ordered = sorted(seconds, key=lambda kind: -seconds[kind])
    return [(kind, seconds[kind] / total, counts[kind] // one.steps) for kind in ordered]


def _traced(data: bytes) -> list[tuple[str, float]]:
    """(kind, seconds) of every operation of a profile."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(data)
    found = []
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                # An executor's events are called "name:Kind".
                name, colon, kind = names[event.metadata_id].rpartition(":")
                # Kinds with an underscore before them are what optimization made.
                if colon and (kind.startswith("_") or hasattr(tf.raw_ops, kind)):
                    found.append((kind, event.duration_ps / 1e12))
    return found
