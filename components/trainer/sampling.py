"""Drawing one code from logits, inside the graph, row by row alike.

A row's draw depends on its own logits, settings and random number, and on
nothing else in the batch. The random numbers come from a counter, not from a
generator with a state: the number of an event's field is a hash of (seed,
position, field), so a song made in one call, in chunks, or note by note is the
same song.

Strategies change the distribution, never the loop: temperature divides the
logits (0 takes the likeliest), top-k keeps the k likeliest (ties with the k-th
included), top-p then keeps the smallest set of codes that holds the share p of
the probability (nucleus sampling, Holtzman et al. 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Sampling(NamedTuple):
    """The sampling inputs of a signature, one value a row.

    Attributes:
      temperature: float32[N], 0 for the likeliest.
      top_k: int32[N], 0 for off.
      top_p: float32[N], 1 for off.
      may_end: bool[N], whether the song's boundary may be drawn.
      seed: int64[N].
      position: int32[N], index in the song of the first event to be made.
    """

    temperature: tf.Tensor
    top_k: tf.Tensor
    top_p: tf.Tensor
    may_end: tf.Tensor
    seed: tf.Tensor
    position: tf.Tensor

    @classmethod
    def specs(cls) -> list[tf.TensorSpec]:
        """The inputs' specs, in this order."""
        dtypes = (tf.float32, tf.int32, tf.float32, tf.bool, tf.int64, tf.int32)
        pairs = zip(cls._fields, dtypes, strict=True)
        return [tf.TensorSpec([None], dtype, name) for name, dtype in pairs]

    def checks(self) -> list[tf.Operation]:
        """Assertions that turn a nonsensical setting into INVALID_ARGUMENT."""
        return [
            tf.debugging.Assert(
                tf.reduce_all(tf.math.is_finite(self.temperature) & (self.temperature >= 0)),
                ["temperature must be 0 (the likeliest) or more, got", self.temperature],
            ),
            tf.debugging.Assert(
                tf.reduce_all(self.top_k >= 0),
                ["top_k must be 0 (off) or more, got", self.top_k],
            ),
            tf.debugging.Assert(
                tf.reduce_all((self.top_p > 0) & (self.top_p <= 1)),
                ["top_p must be above 0 and at most 1 (off), got", self.top_p],
            ),
            tf.debugging.Assert(
                tf.reduce_all(self.position >= 0),
                ["position must be 0 or more, got", self.position],
            ),
        ]


# Fields an event may have at most; part of what a seed means, so never change it.
_FIELDS = 16
_GAMMA = 0x9E3779B97F4A7C15


def uniforms(seed: tf.Tensor, position: tf.Tensor, steps: tf.Tensor, fields: int) -> tf.Tensor:
    """The random numbers of events `position` to `position + steps - 1`.

    SplitMix64's finaliser (Steele, Lea & Flood 2014) applied to the seed, and
    again to that hash plus the place of (event, field) in a Weyl sequence; its
    upper 23 bits make a float32 exactly.

    Args:
      seed: int64[N].
      position: int32[N].
      steps: int32 scalar.
      fields: how many an event has, at most 16.

    Returns:
      float32[N, steps, fields] in [0, 1), multiples of 2**-23: `draw` relies on
      a number times a sum being less than the sum.
    """
    gamma = tf.constant(_GAMMA, tf.uint64)
    events = tf.cast(position, tf.int64)[:, None] + tf.range(tf.cast(steps, tf.int64))[None, :]
    places = events[:, :, None] * _FIELDS + tf.range(fields, dtype=tf.int64)
    keys = _mix(tf.bitcast(seed, tf.uint64) + gamma)
    bits = _mix(keys[:, None, None] + gamma * tf.bitcast(places + 1, tf.uint64))
    top = tf.bitwise.right_shift(bits, tf.constant(41, tf.uint64))
    return tf.cast(tf.cast(top, tf.int64), tf.float32) * (2.0**-23)


def _mix(bits: tf.Tensor) -> tf.Tensor:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None)):
        shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))
        bits = tf.bitwise.bitwise_xor(bits, shifted)
        if factor is not None:
            bits = bits * tf.constant(factor, tf.uint64)
    return bits


_LOWEST = float("-inf")
# So cold that whatever is less likely than the likeliest never comes up.
_FROZEN = 1e-30


class Prepared(NamedTuple):
    """The settings as the loop wants them, made once a call.

    Attributes:
      rows: int32[N], 0, 1, 2 ...
      temperature: float32[N, 1], above 0.
      top_k, top_p: as in `Sampling`.
      truncates: bool, whether any row cuts something off.
    """

    rows: tf.Tensor
    temperature: tf.Tensor
    top_k: tf.Tensor
    top_p: tf.Tensor
    truncates: tf.Tensor


def prepare(sampling: Sampling) -> Prepared:
    """What need not be worked out anew for each event."""
    temperature = tf.where(sampling.temperature <= 0, _FROZEN, sampling.temperature)
    return Prepared(
        rows=tf.range(tf.shape(temperature)[0]),
        temperature=temperature[:, None],
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        truncates=tf.reduce_any((sampling.top_k > 0) | (sampling.top_p < 1)),
    )


def forbid(size: int, code: int, unless: tf.Tensor) -> tf.Tensor:
    """What to add to logits [N, size] so that one code is out of reach.

    Returns:
      float32[N, size]: minus infinity in that column, except where bool[N] allows
      it; 0 elsewhere.
    """
    column = tf.one_hot(code, size, on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(column[None, :] & ~unless[:, None], _LOWEST, 0.0)


def below_largest(logits: tf.Tensor) -> tf.Tensor:
    """Logits [N, V] less the row's largest: at most 0, so that no temperature overflows."""
    return logits - tf.reduce_max(logits, axis=-1, keepdims=True)


def draw(below: tf.Tensor, uniform: tf.Tensor, prepared: Prepared) -> tf.Tensor:
    """One index a row, by inversion of the cumulative distribution.

    An index that is drawn has a share above 0, whatever the number. Of several
    that are the likeliest at temperature 0, the number 0 draws the first.

    Args:
      below: float32[N, V], of `below_largest`.
      uniform: float32[N, 1] in [0, 1), of `uniforms`.
      prepared: the rows' settings.

    Returns:
      int32[N].
    """
    scaled = below / prepared.temperature
    # Sorting costs more than all the rest, and most calls do not truncate. For
    # a row that does not, both branches give the same bits.
    scaled = tf.cond(prepared.truncates, lambda: _truncate(scaled, prepared), lambda: scaled)
    cumulative = tf.cumsum(tf.exp(scaled), axis=-1)
    target = uniform * cumulative[:, -1:]
    return tf.reduce_sum(tf.cast(cumulative <= target, tf.int32), axis=-1)


def _truncate(scaled: tf.Tensor, prepared: Prepared) -> tf.Tensor:
    size = scaled.shape[-1]
    ordered = tf.sort(scaled, axis=-1, direction="DESCENDING")
    keep = tf.where(prepared.top_k > 0, tf.minimum(prepared.top_k, size), size)
    kth = tf.gather(ordered, keep - 1, batch_dims=1)
    scaled = tf.where(scaled < kth[:, None], _LOWEST, scaled)
    ordered = tf.where(ordered < kth[:, None], _LOWEST, ordered)
    probabilities = tf.nn.softmax(ordered)
    before = tf.cumsum(probabilities, axis=-1, exclusive=True)
    inside = (before < prepared.top_p[:, None]) | (prepared.top_p >= 1)[:, None]
    last = tf.maximum(tf.reduce_sum(tf.cast(inside, tf.int32), axis=-1), 1) - 1
    floor = tf.gather(ordered, last, batch_dims=1)
    return tf.where(scaled < floor[:, None], _LOWEST, scaled)
