"""The profile: what the song has sounded, and where it may go from there in any key.

An LSTM that is shown every crop in thirteen keys has to learn each interval and each
scale thirteen times over, and learns them late: its songs wander through all twelve
tones. What a key is does not depend on the key, nor what a step up is on where it
begins. So the song keeps running counts of what it has sounded, at several paces of
forgetting, and a small layer looks at them from each tone in turn, with the same
weights: what they look like from there, and how likely that makes the tone. Such weight
sharing over transpositions is what Lattner, Grachten and Widmer (2018) ask of a model
of music. There are two views:

- `classes`, the pitch-class profile (Fujishima 1999; of key and profile see Krumhansl
  1990, "Cognitive Foundations of Musical Pitch"): all twelve classes, seen from each
  of them. It knows the key, and the harmony of the last notes.
- `pitches`: the last notes themselves, two octaves up and down, seen from each pitch.
  It knows intervals, voices and where they lie.

With m[d, j] the profile of pace d, a the head's hidden layer and t a tone,

    z[t] = relu(sum over d, k of m[d, t + k] K[d, k] + a B + b),    g[t] = z[t] . v,

where t + k goes round in twelve classes, and stops at the reach in pitches; the logit
of a code gains g of the pitch that it is, and the sum of g over the classes that it
sounds. v begins at zero: the layer begins as if it was not there.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from keras import layers, ops

from components.trainer.settings import CLASS_DECAYS, FARTHEST, PITCH_DECAYS
from music.codec import build_codec
from music.vocabulary import Vocabulary

PITCHES = 128
# Semitones up and down that a pitch sees.
REACH = 24


@dataclasses.dataclass(frozen=True)
class View:
    """A way to look at n tones from each of them.

    Attributes:
      name: of its layer.
      decays: what is left of an event after the next one, a pace each.
      sounded: float32[V, n], the tones that each kept code sounds.
      offsets: int32[n, n], the row of the kernel by which a tone is seen from another;
        `distances` where it is out of sight.
      distances: the number of the kernel's rows, a pace.
    """

    name: str
    decays: tuple[float, ...]
    sounded: np.ndarray
    offsets: np.ndarray
    distances: int

    @property
    def tones(self) -> int:
        """n."""
        return self.sounded.shape[1]

    @property
    def size(self) -> int:
        """The numbers of its profile: paces times n."""
        return len(self.decays) * self.tones


def views(vocabulary: Vocabulary) -> tuple[View, View]:
    """Both views of the pitched field of a vocabulary."""
    codec = build_codec(dict(vocabulary.codec))
    field = vocabulary.fields[codec.pitched]
    kept = np.array(field.kept, np.int32)
    classes = codec.pitch_classes()[kept].astype(np.float32)
    tones = np.arange(12)
    # Pitches that training cannot come to, wherever it moves its songs, are left out:
    # half of the 128 would do nothing but take time.
    counted = [code for code, _ in field.counts if code < PITCHES]
    low, high = min(counted, default=0) - FARTHEST, max(counted, default=PITCHES) + FARTHEST
    own = kept[(kept < PITCHES) & (kept >= low) & (kept <= high)]
    pitched = (kept[:, None] == own[None, :]).astype(np.float32)
    seen = own[:, None] - own[None, :] + REACH
    return (
        View("classes", CLASS_DECAYS, classes, (tones[:, None] - tones[None, :]) % 12, 12),
        View(
            "pitches",
            PITCH_DECAYS,
            pitched,
            np.where((seen >= 0) & (seen <= 2 * REACH), seen, 2 * REACH + 1),
            2 * REACH + 1,
        ),
    )


def written_out(kernel: np.ndarray, view: View) -> np.ndarray:
    """A kernel float[paces, distances, width] from every tone: [size, n width]."""
    unseen = np.zeros_like(kernel[:, :1])
    turned = np.concatenate([kernel, unseen], axis=1)[:, view.offsets]
    return turned.reshape(view.size, -1)


@keras.saving.register_keras_serializable("segue")
class Profile(layers.Layer):
    """What a view of the events so far adds to the logits of the pitched field.

    Takes the heard events' indices int32[N, T] and the head's hidden layer
    float[N * T, dense]; gives float32[N * T, V].

    Weights: kernel [paces, distances, width], signal_kernel [dense, width], bias
    [width], readout [width].

    Args:
      view: what is looked at.
      width: units of the layer.
    """

    def __init__(self, view: View, width: int, **kwargs):
        super().__init__(name=f"profile_{view.name}", dtype="float32", **kwargs)
        self.view = view
        self.width = width

    def build(self, shapes):
        _, hidden = shapes
        self.kernel = self.add_weight(
            shape=(len(self.view.decays), self.view.distances, self.width),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="kernel",
        )
        self.signal_kernel = self.add_weight(
            shape=(hidden[-1], self.width), initializer="glorot_uniform", name="signal_kernel"
        )
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros", name="bias")
        self.readout = self.add_weight(shape=(self.width,), initializer="zeros", name="readout")

    def call(self, inputs):
        heard, hidden = inputs
        view, width = self.view, self.width
        sounded = ops.take(view.sounded, heard, axis=0)
        profile = ops.reshape(profiles(sounded, view.decays), (-1, view.size))
        kernel = ops.pad(self.kernel, ((0, 0), (0, 1), (0, 0)))
        turned = ops.reshape(ops.take(kernel, view.offsets, axis=1), (view.size, -1))
        seen = ops.reshape(ops.matmul(profile, turned), (-1, view.tones, width))
        told = ops.matmul(ops.cast(hidden, "float32"), self.signal_kernel) + self.bias
        read = ops.reshape(ops.relu(seen + told[:, None, :]), (-1, width))
        gain = ops.reshape(ops.matmul(read, self.readout[:, None]), (-1, view.tones))
        return ops.matmul(gain, view.sounded.T)

    def compute_output_shape(self, shapes):
        return (shapes[1][0], len(self.view.sounded))


def profiles(sounded, decays):
    """The profile after each event.

    Args:
      sounded: float32[N, T, n], what each event sounds.
      decays: a number below 1 for each pace.

    Returns:
      float32[N, T, paces, n]: pace d's is (1 - decay) times the sum of what was
      sounded, an event's share falling by decay with each later one.
    """
    place = ops.arange(ops.shape(sounded)[1])
    age = ops.cast(place[:, None] - place[None, :], "float32")
    weights = [
        ops.where(age >= 0, (1 - decay) * ops.power(decay, ops.maximum(age, 0.0)), 0.0)
        for decay in decays
    ]
    # One matmul a window: [paces T, T] by [T, n].
    steps = ops.shape(sounded)[1]
    stacked = ops.reshape(ops.stack(weights, axis=1), (-1, steps))
    made = ops.matmul(stacked, sounded)
    return ops.reshape(made, (-1, steps, len(decays), sounded.shape[-1]))
