"""One training step: how fast, against the matmul peak, and where its time goes.

Steps run as in a training, Keras's training function over a `tf.data.Dataset`, on
made-up windows: what is in them makes no difference to the arithmetic. The peak is taken
in the same process between them, so that what else the machine does disturbs both.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._contest import Contest
from benchmarks._flops import Multiplier, Speed, Taken, operations, products, taken
from benchmarks._long import PRESETS
from components.trainer.settings import TrainerSettings
from music.vocabulary import Vocabulary


@dataclasses.dataclass
class Trained:
    """A compiled network and what its steps take.

    Attributes:
      settings: its own.
      vocabulary: what its indices mean.
      network: ready to be fitted.
      batches: for one measurement, made up.
      steps: in them.
    """

    settings: TrainerSettings
    vocabulary: Vocabulary
    network: Any
    batches: Any
    steps: int

    @property
    def operations(self) -> int:
        """Of a step's matrix products."""
        training, window = self.settings.training, self.settings.window
        return operations(
            products(self.settings.model, self.vocabulary, training.batch_size, window.length)
        )

    @property
    def targets(self) -> int:
        """Events that a step learns from."""
        every = self.settings.window.length if self.settings.model.kind == "chain" else 1
        return self.settings.training.batch_size * every

    def step(self) -> Taken:
        """What a step takes, the mean of some."""
        took = taken(lambda: run_steps(self, self.batches, self.steps))
        return Taken(took.wall / self.steps, took.cpu / self.steps)


def run_steps(one: Trained, batches: Any, steps: int) -> None:
    """Some steps of a training, to their end."""
    iterator, logs = iter(batches), None
    for _ in range(0, steps, one.settings.training.steps_per_execution):
        logs = one.network.train_function(iterator)
    if logs is not None:
        float(logs["nats"])  # waits


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
    import tensorflow as tf

    network = _compiled(settings, vocabulary, steps, keras_lstm)
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
    return Trained(settings, vocabulary, network, batches, steps)


def _compiled(
    settings: TrainerSettings, vocabulary: Vocabulary, steps: int, keras_lstm: bool = False
) -> Any:
    import keras

    from components.trainer import devices, training
    from components.trainer.network import build_network

    with devices.building(settings.training.precision):
        network = build_network(settings.model, settings.window, vocabulary)
        if keras_lstm:
            network = keras.models.clone_model(network, clone_function=_with_keras_lstm)
        training._compile(network, settings.model, settings.training, steps)
        network.make_train_function()
    return network


def _with_keras_lstm(layer: Any) -> Any:
    from keras import layers

    from components.trainer.lstm import SequenceLSTM

    if isinstance(layer, SequenceLSTM):
        return layers.LSTM(layer.units, return_sequences=layer.return_sequences, name=layer.name)
    return layer.__class__.from_config(layer.get_config())


@dataclasses.dataclass(frozen=True)
class Rate:
    """What a network's steps reached.

    Attributes:
      targets: a second.
      flops: operations a second in matrix products.
      peak: of large matmuls, the best of those taken before, between and after.
    """

    targets: float
    flops: Speed
    peak: Speed

    @property
    def share(self) -> Speed:
        """Of the peak, from 0 to 1."""
        return Speed(self.flops.wall / self.peak.wall, self.flops.cpu / self.peak.cpu)


def multiplier_for(settings: TrainerSettings) -> Multiplier:
    """Matmuls of the kind that a network of these settings multiplies on this machine."""
    from components.trainer import devices

    kind = devices.policy_name(settings.training.precision).removeprefix("mixed_")
    return Multiplier(kind)


def measure_rate(one: Trained, multiplier: Multiplier, calls: int = 3) -> Rate:
    """Steps and peak in turn, after a call that compiles; the best of each."""
    one.step()
    peak, step = multiplier.peak(0.2), one.step()
    for _ in range(calls - 1):
        peak, step = peak.most(multiplier.peak(0.2)), step.least(one.step())
    peak = peak.most(multiplier.peak(0.2))
    return Rate(one.targets / step.wall, Speed.of(one.operations, step), peak)


def epoch_seconds(contest: Contest, settings: TrainerSettings, steps: int) -> tuple[Taken, Taken]:
    """Seconds of an epoch's steps and of judging it, from a few steps on the real windows.

    Args:
      contest: whose windows.
      settings: the contestant's.
      steps: to time; the whole epoch is never run.

    Returns:
      The training steps of an epoch, and its pass over the held-out windows.
    """
    from components.trainer.data import WindowData

    vocabulary, form = contest.vocabulary, settings.window.form
    data = WindowData(settings, vocabulary)
    shown, held_out = data.train(contest.train(form)), data.evaluation(contest.common(form))
    network = _compiled(settings, vocabulary, shown.steps)
    steps = min(steps, shown.steps)
    one = Trained(settings, vocabulary, network, shown.epoch(0).take(steps), steps)
    one.step()
    learning = one.step().least(one.step())
    network.evaluate(held_out, verbose=0)
    judging = taken(lambda: network.evaluate(held_out, verbose=0))
    return Taken(learning.wall * shown.steps, learning.cpu * shown.steps), judging


# ---- where the time goes ---------------------------------------------------


def parts(one: Trained, multiplier: Multiplier, calls: int = 5) -> list[tuple[str, Taken]]:
    """What a step of a `chain` network takes, piece by piece.

    The pieces are timed by what a step takes without them: a graph is run as far as
    a point, then one piece further, and the difference is the piece's. `floor` lines
    are the matrix products of that kind by themselves, one after the other.

    Returns:
      (piece, what it takes) in the order of a step, `step`, and the floor.
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
    def ahead_to_top():
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

    pieces = [lambda: float(ahead_to_top()), lambda: float(ahead()), lambda: float(back())]
    best = []
    for call in pieces:
        call()  # compiles
        best.append(taken(call))
    one.step()
    whole = one.step()
    # In turn, so that what else the machine does disturbs all alike.
    for _ in range(calls):
        best = [took.least(taken(call)) for took, call in zip(best, pieces, strict=True)]
        whole = whole.least(one.step())
    training, window = one.settings.training, one.settings.window
    floor = multiplier.floor(products(model, one.vocabulary, training.batch_size, window.length))

    def between(after: Taken, before: Taken) -> Taken:
        return Taken(after.wall - before.wall, after.cpu - before.cpu)

    return [
        ("embeddings and LSTM layers, forward", best[0]),
        ("heads and nats, forward", between(best[1], best[0])),
        ("backward", between(best[2], best[1])),
        ("optimizer, metrics, input", between(whole, best[2])),
        ("step", whole),
        *((f"floor: {part}", took) for part, took in floor.items()),
        ("floor", Taken(sum(t.wall for t in floor.values()), sum(t.cpu for t in floor.values()))),
    ]


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

    one.step()
    tf.profiler.experimental.start(str(folder))
    one.step()
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
                _, colon, kind = names[event.metadata_id].rpartition(":")
                # Kinds with an underscore before them are what optimization made.
                if colon and (kind.startswith("_") or hasattr(tf.raw_ops, kind)):
                    found.append((kind, event.duration_ps / 1e12))
    return found
