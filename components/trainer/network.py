"""The network as Keras trains it.

Both kinds share the paper's stack, LSTM 256, 512, 256 with dropout between, and
its Dense 256 before the output. `paper` is the paper's own model, layer by layer:
one scaled index in, a softmax over the vocabulary out, 264,192 + 1,574,912 +
787,456 + 65,792 parameters and 257 for each class.

`chain` predicts every event of a window from those before it, and each of its
fields from the fields before it: p(step | h) p(pitch | h, step)
p(duration | h, step, pitch), so that the sum of the cross-entropies is the
negative log-likelihood of the event. It takes the events twice, as what is heard
and as what comes next, and returns nats.
"""

from __future__ import annotations

import dataclasses
import hashlib

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from components.trainer.inference import Weights
from components.trainer.lstm import SequenceLSTM
from components.trainer.profile import Profile, views
from components.trainer.settings import ModelSettings
from music.codec import build_codec
from music.errors import SegueError
from music.vocabulary import Vocabulary
from music.windows import WindowSpec


def build_network(
    settings: ModelSettings, window: WindowSpec, vocabulary: Vocabulary
) -> keras.Model:
    """A fresh network; weights follow `keras.utils.set_random_seed`.

    Returns:
      `paper`: float32[N, L, 1] -> float32[N, V] probabilities. `chain`:
      (heard int32[N, T, F], next int32[N, T, F]) -> float32[N, T] nats.
    """
    if settings.kind == "paper":
        return _paper(settings, window, vocabulary.sizes[0])
    return _chain(settings, vocabulary)


def _regularizer(settings: ModelSettings) -> keras.Regularizer | None:
    if settings.l1 or settings.l2:
        return keras.regularizers.L1L2(settings.l1, settings.l2)
    return None


def _paper(settings: ModelSettings, window: WindowSpec, classes: int) -> keras.Model:
    first, second, third = settings.units
    return keras.Sequential(
        [
            keras.Input((window.length, 1)),
            _recurrent(first, "lstm_1"),
            layers.Dropout(settings.dropout, name="dropout_1"),
            _recurrent(second, "lstm_2"),
            layers.Dropout(settings.dropout, name="dropout_2"),
            _recurrent(third, "lstm_3", return_sequences=False),
            layers.Dense(
                settings.dense,
                activation=settings.activation,
                kernel_regularizer=_regularizer(settings),
                name="dense_0",
            ),
            layers.Dropout(settings.dropout, name="dropout_3"),
            layers.Dense(
                classes,
                activation="softmax",
                kernel_regularizer=_regularizer(settings),
                dtype="float32",
                name="head_0",
            ),
        ],
        name="segue_paper",
    )


def _recurrent(
    units: int, name: str, weight_drop: float = 0.0, return_sequences: bool = True
) -> layers.Layer:
    """Keras's LSTM where cuDNN runs it, ours on a processor; the weights are alike."""
    if tf.config.list_physical_devices("GPU") and not weight_drop:
        return layers.LSTM(units, return_sequences=return_sequences, name=name)
    return SequenceLSTM(units, weight_drop, return_sequences, name=name)


@keras.saving.register_keras_serializable("segue")
class EventNats(layers.Layer):
    """Cross-entropy of one field, nats: (logits [N * T, V], index [N, T]) -> [N, T]."""

    def call(self, logits, index):
        flat = ops.reshape(index, (-1,))
        nats = keras.losses.sparse_categorical_crossentropy(flat, logits, from_logits=True)
        return ops.reshape(nats, ops.shape(index))


def _chain(settings: ModelSettings, vocabulary: Vocabulary) -> keras.Model:
    sizes = vocabulary.sizes
    heard = keras.Input((None, len(sizes)), dtype="int32", name="heard")
    coming = keras.Input((None, len(sizes)), dtype="int32", name="next")
    embedded = []
    for f, size in enumerate(sizes):
        signal = layers.Embedding(size, settings.embedding, name=f"embedding_{f}")(heard[:, :, f])
        if settings.event_dropout:
            signal = layers.Dropout(
                settings.event_dropout, noise_shape=(None, None, 1), name=f"event_dropout_{f}"
            )(signal)
        embedded.append(signal)
    signal = layers.Concatenate()(embedded) if len(embedded) > 1 else embedded[0]
    for index, units in enumerate(settings.units, start=1):
        signal = _recurrent(units, f"lstm_{index}", settings.weight_drop)(signal)
        # The last dropout replaces the paper's, which stands behind its dense
        # layer: here there is one such layer a field.
        signal = layers.Dropout(
            settings.dropout,
            noise_shape=(None, 1, units) if settings.variational else None,
            name=f"dropout_{index}",
        )(signal)
    # Row by row: of a matrix, TensorFlow makes a kernel's gradient in one matmul; of
    # windows it makes one a window and adds them up.
    flat = ops.reshape(signal, (-1, settings.units[-1]))
    nats = []
    pitched = build_codec(dict(vocabulary.codec)).pitched
    for f, size in enumerate(sizes):
        terms = [
            layers.Dense(
                settings.dense, kernel_regularizer=_regularizer(settings), name=f"dense_{f}"
            )(flat)
        ]
        terms += [
            layers.Embedding(
                sizes[g], settings.dense, embeddings_initializer="zeros", name=f"condition_{f}_{g}"
            )(ops.reshape(coming[:, :, g], (-1,)))
            for g in range(f)
        ]
        before = layers.Add()(terms) if len(terms) > 1 else terms[0]
        hidden = layers.Activation(settings.activation)(before)
        logits = layers.Dense(
            size, kernel_regularizer=_regularizer(settings), dtype="float32", name=f"head_{f}"
        )(hidden)
        if settings.profile and f == pitched:
            gains = [Profile(view, settings.profile) for view in views(vocabulary)]
            logits = layers.Add(dtype="float32")(
                [logits, *(gain([heard[:, :, f], hidden]) for gain in gains)]
            )
        nats.append(EventNats(dtype="float32")(logits, coming[:, :, f]))
    total = layers.Add(dtype="float32")(nats) if len(nats) > 1 else nats[0]
    return keras.Model([heard, coming], total, name="segue_chain")


def weights_digest(weights: Weights) -> str:
    """SHA-256 (hex) of a network's numbers: which model it is, whatever it is called."""
    digest = hashlib.sha256()
    for array in tf.nest.flatten(dataclasses.astuple(weights)):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def extract_weights(network: keras.Model, settings: ModelSettings) -> Weights:
    """The numbers of a trained network, for `InferenceModel`; `put_weights` puts them back."""

    def numbers(name: str) -> list[np.ndarray]:
        return [ops.convert_to_numpy(w).astype(np.float32) for w in network.get_layer(name).weights]

    def cell(name: str) -> tuple[np.ndarray, np.ndarray]:
        kernel, recurrent, bias = numbers(name)
        return np.concatenate([kernel, recurrent]), bias

    def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
        kernel, bias = numbers(name)
        return kernel, bias

    names = {layer.name for layer in network.layers}
    fields = sum(name.startswith("head_") for name in names)
    embeddings: tuple[np.ndarray, ...] = ()
    if settings.kind == "chain":
        embeddings = tuple(numbers(f"embedding_{f}")[0] for f in range(fields))
    return Weights(
        cells=tuple(cell(f"lstm_{index}") for index in (1, 2, 3)),
        embeddings=embeddings,
        dense=tuple(pair(f"dense_{f}") for f in range(fields)),
        conditions=tuple(
            tuple(numbers(f"condition_{f}_{g}")[0] for g in range(f)) for f in range(fields)
        ),
        heads=tuple(pair(f"head_{f}") for f in range(fields)),
        profile=tuple(
            tuple(numbers(name)) for name in ("profile_classes", "profile_pitches") if name in names
        ),
    )


def put_weights(network: keras.Model, weights: Weights) -> None:
    """Gives a network the numbers that `extract_weights` took from one of its shape.

    Args:
      network: built.
      weights: of a network of the same shape.

    Raises:
      SegueError: they are of another shape, with the layer that tells.
    """
    fields = len(weights.heads)
    numbers: dict[str, list[np.ndarray]] = {}
    for index, (stacked, bias) in enumerate(weights.cells, start=1):
        inputs = len(stacked) - len(bias) // 4
        numbers[f"lstm_{index}"] = [stacked[:inputs], stacked[inputs:], bias]
    for f in range(fields):
        numbers[f"dense_{f}"] = list(weights.dense[f])
        numbers[f"head_{f}"] = list(weights.heads[f])
        for g, table in enumerate(weights.conditions[f]):
            numbers[f"condition_{f}_{g}"] = [table]
    numbers |= {f"embedding_{f}": [table] for f, table in enumerate(weights.embeddings)}
    names = ("profile_classes", "profile_pitches")
    numbers |= {name: list(one) for name, one in zip(names, weights.profile, strict=False)}
    layers_there = {layer.name: layer for layer in network.layers if layer.weights}
    if odd := sorted(set(layers_there) ^ set(numbers)):
        raise SegueError(
            f"the weights to begin from are of another network: {odd[0]} is not in both"
        )
    for name, arrays in numbers.items():
        there = [tuple(weight.shape) for weight in layers_there[name].weights]
        given = [array.shape for array in arrays]
        if there != given:
            raise SegueError(
                f"the weights to begin from are of another network: {name} is {given} there and "
                f"{there} here"
            )
    for name, arrays in numbers.items():
        layers_there[name].set_weights(arrays)
