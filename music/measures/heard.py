"""A song as a model knows it.

A codec leaves things out (the paper's has no rhythm), and a vocabulary moves rare codes
to frequent ones or drops them. A model can copy only what it heard, so what it plays is
held against songs that went the same way. Where a note stands in the composer's own
song is kept beside, so that a copy is told by the bar in which a reader finds it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from music.codec import build_codec
from music.song import ONSET, Song
from music.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
    """A song as a model knows it, and where its notes come from.

    Attributes:
      song: with the id, title, tempo and time signature of the original.
      onsets: int32[N]: of each of its notes, the onset in the original, ticks.
    """

    song: Song
    onsets: np.ndarray


def as_heard(song: Song, vocabulary: Vocabulary) -> Heard:
    """A song through a vocabulary's codec and back, rare codes moved or dropped.

    Args:
      song: a real one.
      vocabulary: the model's.
    """
    codec = build_codec(dict(vocabulary.codec))
    events, onsets = codec.encode(song), codec.onsets(song)
    if vocabulary.closed:
        kept = vocabulary.keeps(events)
        events, onsets = events[kept], onsets[kept]
    played = codec.decode(vocabulary.snap(events))
    heard = dataclasses.replace(song, notes=played.notes, percussion=0)
    # Notes of one onset come from events of one onset: the first of them says where.
    places = np.searchsorted(codec.onsets(played), played.notes[:, ONSET])
    return Heard(heard, onsets[np.minimum(places, max(len(onsets) - 1, 0))])
