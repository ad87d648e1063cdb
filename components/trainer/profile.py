"""The pitch-class profile: which key a song is in, as its own notes tell it.

An LSTM that is shown every crop in thirteen keys has to learn each interval and
each scale thirteen times over, and learns them late: its songs wander through all
twelve tones. What a key is does not depend on the key. So the song keeps a running
count of its pitch classes (a pitch-class profile, as in Fujishima 1999; of key and
profile see Krumhansl 1990, "Cognitive Foundations of Musical Pitch"), at several
paces of forgetting, and a small layer reads it from each of the twelve classes in
turn, with the same weights: what the profile looks like from there, whatever the
key, and how likely that class makes it. Such weight sharing over the twelve
transpositions is what Lattner, Grachten and Widmer (2018) ask of a model of music.

With m[d, j] the profile of pace d, a the head's hidden layer and c a pitch class,

    z[c] = relu(sum over d, k of m[d, (c + k) mod 12] K[d, k] + a B + b),
    g[c] = z[c] . v,

and the logit of a code gains the sum of g over the classes that it sounds. v
begins at zero: the layer begins as if it was not there.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from components.trainer.settings import PROFILE_DECAYS, PROFILE_SIZE
from music.codec import build_codec
from music.vocabulary import Vocabulary

PACES = len(PROFILE_DECAYS)


def classes_of(vocabulary: Vocabulary) -> np.ndarray:
    """The pitch classes of the kept codes of the pitched field, float32[V, 12]."""
    codec = build_codec(dict(vocabulary.codec))
    kept = vocabulary.fields[codec.pitched].kept
    return codec.pitch_classes()[list(kept)].astype(np.float32)


def seen_from() -> np.ndarray:
    """int32[12 (j), 12 (c)]: the place k of class j as it is seen from class c."""
    classes = np.arange(12)
    return (classes[:, None] - classes[None, :]) % 12


@keras.saving.register_keras_serializable("segue")
class PitchClassProfile(layers.Layer):
    """What the profile of the events so far adds to the logits of the pitched field.

    Takes the heard events' indices int32[N, T] and the head's hidden layer
    float[N * T, dense]; gives float32[N * T, V].

    Weights: kernel [PACES, 12, width], signal_kernel [dense, width], bias [width],
    readout [width].

    Args:
      classes: float32[V, 12], as `classes_of` gives them.
      width: units of the layer.
    """

    def __init__(self, classes: np.ndarray, width: int, **kwargs):
        super().__init__(**kwargs)
        self.classes = np.asarray(classes, np.float32)
        self.width = width

    def build(self, shapes):
        _, hidden = shapes
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.kernel = self.add_weight(
            shape=(PACES, 12, self.width), initializer=normal, name="kernel"
        )
        self.signal_kernel = self.add_weight(
            shape=(hidden[-1], self.width), initializer="glorot_uniform", name="signal_kernel"
        )
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros", name="bias")
        self.readout = self.add_weight(shape=(self.width,), initializer="zeros", name="readout")

    def call(self, inputs):
        heard, hidden = inputs
        hidden = ops.cast(hidden, "float32")
        profile = ops.reshape(profiles(ops.take(self.classes, heard, axis=0)), (-1, PROFILE_SIZE))
        turned = ops.reshape(ops.take(self.kernel, seen_from(), axis=1), (PROFILE_SIZE, -1))
        seen = ops.reshape(ops.matmul(profile, turned), (-1, 12, self.width))
        told = ops.matmul(hidden, self.signal_kernel) + self.bias
        read = ops.relu(seen + told[:, None, :])
        return ops.matmul(ops.matmul(read, self.readout), self.classes.T)

    def compute_output_shape(self, shapes):
        return (shapes[1][0], len(self.classes))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes.tolist(), "width": self.width}


def profiles(sounded):
    """The profile after each event.

    Args:
      sounded: float32[N, T, 12], the classes that each event sounds.

    Returns:
      float32[N, T, PACES, 12]: pace d's is (1 - decay) times the sum of what was
      sounded, an event's share falling by decay with each later one.
    """
    steps = ops.shape(sounded)[1]
    place = ops.arange(steps)
    age = ops.cast(place[:, None] - place[None, :], "float32")
    weights = [
        ops.where(age >= 0, (1 - decay) * ops.power(decay, ops.maximum(age, 0.0)), 0.0)
        for decay in PROFILE_DECAYS
    ]
    return ops.einsum("dts,nsc->ntdc", ops.stack(weights), sounded)
