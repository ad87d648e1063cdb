"""Nats a frame: what a distribution over rolls pays for a piece, however it is spelled.

The published measure is -log p(x_t | x_0 .. x_t-1), x_t in {0,1}^88, summed over all
frames of a piece but the first and divided by their number (all pieces together).
`MarkovChain` and `ChordBigram` are computed by it here and reproduce their published
figures to the second decimal, so the measure is the same one.

A model of events pays for a frame what its spelling costs (`benchmarks._poly`): the
steps, pitches and durations of its notes. Two figures are given:

As the model says. A piece pays for every note from its second frame on all that the
product's model asks, and the closing boundary's step, which is its last frame's end
mark; not that the piece ends there, which the published measure takes as given. This
is dearer than the frames' own likelihood in every respect: probability that the model
spends on what spells no frame (a pitch that does not ascend, one outside the keys, an
early end, steps that are no whole frame, another duration) is lost, and the first
frame's end mark is paid although that frame is given. Different frames have different
spellings, and each spelling begins where the first frame ended, so that over all
continuations exp(-nats) sums to at most one: a proper likelihood's lower bound.

Renormalised. The same logits with everything that cannot follow masked away: what is
left is a distribution over the frames that sums to exactly one. Given the first frame
it has ended already (its end mark is taken off), the piece's length is given (the end
mark and the silence behind the last note are one tail of the step's distribution), and
a note lasts a frame by definition.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._poly import FRAME, LOWEST, MAX_FRAMES, to_codes
from music.codec import BOUNDARY
from music.errors import SegueError
from music.ngram import NGramModel

# Events that a batch reads before its heads are worked out, which bounds the memory.
_STRETCH = 256
_ROWS = 64


class RollModel(abc.ABC):
    """Something that gives a roll's frames a likelihood."""

    @abc.abstractmethod
    def nats(self, rolls: Sequence[np.ndarray]) -> list[float]:
        """For each roll, bool[frames, keys], the nats of all its frames but the first."""

    def nats_a_frame(self, rolls: Sequence[np.ndarray]) -> float:
        """The published measure."""
        return sum(self.nats(rolls)) / frames_of(rolls)


def frames_of(rolls: Sequence[np.ndarray]) -> int:
    """How many frames are paid for."""
    return sum(len(roll) - 1 for roll in rolls)


# ---- baselines of whole frames -------------------------------------------------


class MarkovChain(RollModel):
    """Every key for itself: on or off, given whether it was on in the frame before.

    p(b | a) = (c(ab) + 1/2) / (c(a) + 1), counts of a key in the training rolls, with
    the half counts of Krichevsky & Trofimov 1981, so that no frame is impossible.
    """

    def __init__(self, train: Sequence[np.ndarray]):
        counts = np.full((2, 2, train[0].shape[1]), 0.5)
        for roll in train:
            for before in (0, 1):
                here = roll[:-1] == before
                counts[before, 1] += (here & roll[1:]).sum(axis=0)
                counts[before, 0] += (here & ~roll[1:]).sum(axis=0)
        self._nats = -np.log(counts / counts.sum(axis=1, keepdims=True))

    def frame_nats(self, roll: np.ndarray) -> np.ndarray:
        """float64[frames - 1]."""
        before, now = roll[:-1].astype(int), roll[1:].astype(int)
        return self._nats[before, now, np.arange(roll.shape[1])].sum(axis=1)

    def nats(self, rolls: Sequence[np.ndarray]) -> list[float]:
        return [float(self.frame_nats(roll).sum()) for roll in rolls]


class ChordBigram(RollModel):
    """A whole frame given the whole frame before it, by Witten-Bell (see `music.ngram`).

    A bigram backs off to the chord's frequency over all frames, and that to
    `MarkovChain`, which no chord is impossible to: a chord that training never had
    (10% of JSB's test frames) pays, and is not dropped.
    """

    def __init__(self, train: Sequence[np.ndarray]):
        self._base = MarkovChain(train)
        self._seen: Counter[bytes] = Counter()
        self._followers: defaultdict[bytes, Counter[bytes]] = defaultdict(Counter)
        for roll in train:
            chords = _chords(roll)
            self._seen.update(chords)
            for before, now in itertools.pairwise(chords):
                self._followers[before][now] += 1

    def nats(self, rolls: Sequence[np.ndarray]) -> list[float]:
        return [sum(self._frames(roll)) for roll in rolls]

    def _frames(self, roll: np.ndarray) -> Iterator[float]:
        chords = _chords(roll)
        base = np.exp(-self._base.frame_nats(roll))
        kinds, total = len(self._seen), self._seen.total()
        for before, now, probability in zip(chords[:-1], chords[1:], base, strict=True):
            probability = (self._seen[now] + kinds * probability) / (total + kinds)
            seen = self._followers.get(before)
            if seen:
                probability = (seen[now] + len(seen) * probability) / (seen.total() + len(seen))
            yield -float(np.log(probability))


def _chords(roll: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(roll, axis=1)]


# ---- models of events ----------------------------------------------------------


class NGramRolls(RollModel):
    """The product's n-gram, as it says itself."""

    def __init__(self, ngram: NGramModel):
        self._ngram = ngram

    def nats(self, rolls: Sequence[np.ndarray]) -> list[float]:
        songs = [to_codes(roll) for roll in rolls]
        paid = []
        for events, nll in zip(songs, self._ngram.nlls(songs), strict=True):
            tokens = events.ravel().tolist()
            closing = -np.log(self._ngram.probability(0, tokens[:-3], tokens[-3]))
            paid.append(float(nll[_later(events)].sum()) + float(closing))
        return paid


@dataclasses.dataclass(frozen=True)
class Paid:
    """Nats of a piece's frames but the first.

    Attributes:
      model: as the model says.
      renormalised: of the distribution that is left when what spells no frame is
        masked away.
    """

    model: float
    renormalised: float


class NetworkRolls(RollModel):
    """A trained network, its state carried from the first event of each piece.

    Args:
      model: an `InferenceModel` of kind `chain` on codes of `_poly.to_codes`.

    Raises:
      SegueError: the model is one of sliding windows, which carries no state.
    """

    def __init__(self, model: Any):
        import tensorflow as tf

        if model.sliding:
            raise SegueError("a model of sliding windows cannot score whole pieces; train a chain")
        self._model = model
        signature = [tf.TensorSpec([None, None, 3], tf.int32), tf.TensorSpec([None, None])]
        self._read = tf.function(self._stretch, input_signature=signature)
        # The codes of whole frames, 0 to MAX_FRAMES of them, and the pitches.
        self._steps = np.arange(MAX_FRAMES + 1) * FRAME

    def nats(self, rolls: Sequence[np.ndarray]) -> list[float]:
        return [paid.model for paid in self.paid(rolls)]

    def paid(self, rolls: Sequence[np.ndarray]) -> list[Paid]:
        """For each roll what it pays, both ways; all have the same keys."""
        songs = [to_codes(roll) for roll in rolls]
        order = sorted(range(len(songs)), key=lambda place: len(songs[place]))
        result: dict[int, Paid] = {}
        for first in range(0, len(order), _ROWS):
            places = order[first : first + _ROWS]
            prices = self._prices([songs[place] for place in places], rolls[0].shape[1])
            for place, row in zip(places, prices, strict=True):
                result[place] = _pay(songs[place], row)
        return [result[place] for place in range(len(songs))]

    def _prices(self, songs: list[np.ndarray], keys: int) -> Iterator[np.ndarray]:
        """For each song what `_price` says of its events but the first, float64[6, T - 1]."""
        longest = max(map(len, songs))
        steps = -(-(longest - 1) // _STRETCH) * _STRETCH
        codes = np.zeros((len(songs), steps + 1, 3), np.int32)
        for row, events in enumerate(songs):
            codes[row, : len(events)] = events
        state = np.zeros((len(songs), self._model.state_size), np.float32)
        parts = []
        for first in range(0, steps, _STRETCH):
            part = codes[:, first : first + _STRETCH + 1]
            *scores, state = self._read(part, state)
            parts.append(_price(part, keys, *(score.numpy().astype(float) for score in scores)))
        prices = np.concatenate(parts, axis=2)
        for row, events in enumerate(songs):
            yield prices[:, row, : len(events) - 1]

    def _stretch(self, codes, state):
        """What the last S of int32[N, S + 1, 3] codes cost, and what they could have been.

        Returns:
          Nats [N, S, 3] (step, pitch, duration), the log-probabilities of all steps of
          whole frames [N, S, MAX_FRAMES + 1] and of all pitches [N, S, 128], the state.
        """
        import tensorflow as tf

        model = self._model
        rows, steps = tf.shape(codes)[0], tf.shape(codes)[1] - 1
        indices = model.to_indices(codes)
        by_time, ones = model.columns(indices), tf.ones([rows, 1])
        outputs = tf.TensorArray(tf.float32, size=steps, element_shape=[None, None])

        def body(t, state, outputs):
            state = model.consume([tf.gather(column, t) for column in by_time], state, ones)
            return t + 1, state, outputs.write(t, model.read(state))

        _, parts, outputs = tf.while_loop(
            lambda t, *_: t < steps, body, (tf.constant(0), model.split_state(state), outputs)
        )
        read = tf.reshape(tf.transpose(outputs.stack(), [1, 0, 2]), [-1, model.read_size])
        coming, target = (tf.reshape(value[:, 1:], [-1, 3]) for value in (codes, indices))
        ones = tf.ones_like(read[:, :1])
        sums = model.before_heads(read, ones)
        earlier: list[Any] = []
        nats, could = [], []
        for field, codes_of in enumerate((self._steps, np.arange(BOUNDARY), None)):
            logits = tf.nn.log_softmax(model.logits(sums, field, earlier, ones))
            table = model.vocabulary.tables[field]
            share = model.vocabulary.share_nll[field]
            paid = -tf.gather(logits, target[:, field], batch_dims=1)
            nats.append(paid + tf.gather(tf.constant(share), coming[:, field]))
            if codes_of is not None:
                could.append(tf.gather(logits, table[codes_of], axis=1) - share[codes_of])
            earlier.append(target[:, field])
        shaped = [
            tf.reshape(value, [rows, steps, value.shape[-1]])
            for value in (tf.stack(nats, axis=1), *could)
        ]
        return (*shaped, tf.concat(parts, axis=1))


def nats_a_frame(model: Any, rolls: Sequence[np.ndarray]) -> float:
    """What an `InferenceModel` itself asks for a frame: the figure that is claimed."""
    return NetworkRolls(model).nats_a_frame(rolls)


def _later(events: np.ndarray) -> np.ndarray:
    """bool[T]: notes of the second frame and later ones."""
    return (np.cumsum(events[:, 0]) >= FRAME) & (events[:, 1] != BOUNDARY)


# What `_price` tells of an event, nats: as the model says, its step and all of it; and
# renormalised, its step, its pitch, the end mark that its step would hold, and the end
# mark with the silence of its step at least.
_STEP, _ALL, _STEP_THERE, _PITCH_THERE, _END, _SILENCE = range(6)


def _price(
    codes: np.ndarray, keys: int, nats: np.ndarray, steps: np.ndarray, pitches: np.ndarray
) -> np.ndarray:
    """float64[6, N, S] from `NetworkRolls._stretch`'s scores of codes [N, S + 1, 3]."""
    before, step, pitch = codes[:, :-1, 1], codes[:, 1:, 0], codes[:, 1:, 1]
    # A frame goes on until its highest key; behind a boundary it begins.
    lowest = np.where(before == BOUNDARY, LOWEST, before + 1)
    goes_on = np.where(lowest < LOWEST + keys, steps[..., 0], -np.inf)
    ends = _log_sum(steps[..., 1:])
    whole = np.logaddexp(goes_on, ends)
    frames = step[..., None] // FRAME
    chosen = np.take_along_axis(steps, frames, axis=2)[..., 0]
    # Of all steps at least as long.
    tail = _log_sum(np.where(np.arange(steps.shape[2]) >= frames, steps, -np.inf))

    lowest = np.where(step > 0, LOWEST, lowest)
    numbers = np.arange(pitches.shape[2])
    can = (numbers >= lowest[..., None]) & (numbers < LOWEST + keys)
    # Where nothing can, nothing is asked: behind the end of a song.
    ascending = _log_sum(np.where(can, pitches, -np.inf))
    note = np.take_along_axis(pitches, np.minimum(pitch, BOUNDARY - 1)[..., None], axis=2)
    return np.stack(
        [
            nats[..., 0],
            nats.sum(axis=2),
            whole - chosen,
            ascending - note[..., 0],
            whole - ends,
            whole - tail,
        ]
    )


def _log_sum(logs: np.ndarray) -> np.ndarray:
    """log of the sum of exp over the last axis; minus infinity where all are."""
    top = np.maximum(logs.max(axis=-1, keepdims=True), np.finfo(float).min)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(logs - top).sum(axis=-1)) + top[..., 0]


def _pay(events: np.ndarray, prices: np.ndarray) -> Paid:
    """A piece's nats from those of its events but the first, float64[6, T - 1]."""
    later = _later(events)[1:]
    said = prices[_ALL, later].sum() + prices[_STEP, -1]
    there = prices[_STEP_THERE, later].sum() + prices[_PITCH_THERE, later].sum()
    # The first frame has ended where the first event behind it begins.
    behind = min(int(np.append(later, True).argmax()), len(later) - 1)
    there += prices[_SILENCE, -1] - prices[_END, behind]
    return Paid(float(said), float(there))
