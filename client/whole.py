"""A given piece and its continuation as one song.

The piece keeps its notes as they were read, up to the event that the model last heard;
what the model plays on is a part of its own, so that an editor shows which is which.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from client.assembling import event_onsets, onset_in_bar, song_of
from client.making import Made
from client.priming import Prime
from music.codec import Codec
from music.song import ONSET, PART, Song


def with_prime(codec: Codec, prime: Prime, made: Made) -> Song:
    """The song that was primed with, up to where the prime ends, and the new one.

    Args:
      codec: of the events.
      prime: with its song.
      made: what goes on from it.

    Returns:
      The piece's notes in its own parts and the new ones in the next part; times count
      from the piece's beginning. With a codec that knows no time both are played back as
      the codec does.

    Raises:
      ValueError: the prime is of no song.
    """
    if prime.song is None:
        raise ValueError("a song from nothing continues no other")
    if codec.fields[0].name == "step":
        heard = _heard(codec, prime)
        last = int(codec.onsets(prime.song)[prime.offset + len(prime) - 1])
        begin = last + int(made.events[0, 0])
        # `made.song` begins in its first bar; its first event stands there at:
        onset = onset_in_bar(codec, prime, made.events)
    else:
        heard = song_of(codec, prime.events).notes
        begin = int(event_onsets(codec, np.zeros((len(prime) + 1, 1)))[-1])
        onset = 0
    new = made.song.notes.copy()
    new[:, ONSET] += begin - onset
    new[:, PART] += int(heard[:, PART].max(initial=-1)) + 1
    return dataclasses.replace(made.song, notes=np.concatenate([heard, new]))


def _heard(codec: Codec, prime: Prime) -> np.ndarray:
    """The notes of the prime's song up to the last one that the model heard."""
    assert prime.song is not None
    notes = prime.song.notes
    spelled = codec.encode(prime.song)[: prime.offset + len(prime)]
    field, code = codec.boundary or (0, -1)
    count = int((spelled[:, field] != code).sum())
    return notes[:count]
