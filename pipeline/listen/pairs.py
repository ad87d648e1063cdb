"""The pairs of a listening test: as alike as can be, but for who wrote them.

What gives a song away has to go: both excerpts of a pair have the same length and the
same tempo, every note sounds alike loud on the same instrument, and both are cut out of
the middle of their songs by one rule. (What a model plays begins where its prime ended,
often within a chord, and never ends; a composer's song begins on a full chord and closes.)
A song is never held against the one that it goes on from. Which is which, and the order
of the pairs, is drawn by hashes, so that the same songs and the same seed make the same
test.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from music.errors import SegueError
from music.song import DURATION, ONSET, PITCH, TICKS_PER_QUARTER, Song

# Quarters a minute where a song does not say, and what a pair is played at most and least.
TEMPO, SLOWEST, FASTEST = 96.0, 50.0, 160.0
# An excerpt of fewer notes is none.
FEWEST_NOTES = 8

Notes = tuple[tuple[float, float, int], ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two excerpts.

    Attributes:
      a, b: (onset in seconds, duration in seconds, MIDI pitch) of each note.
      composer: which of them is the composer's, "a" or "b".
      real, new: titles of the composer's song and the model's.
    """

    a: Notes
    b: Notes
    composer: str
    real: str
    new: str


def make_pairs(
    real: Sequence[Song], new: Sequence[Song], seconds: float, most: int, seed: int
) -> list[Pair]:
    """Pairs of excerpts, each song in one of them at most.

    Args:
      real: the composer's songs, as the model hears them.
      new: the model's; one that goes on from a song of the composer's has its id.
      seconds: of an excerpt.
      most: pairs, at most.
      seed: of the draw.

    Raises:
      SegueError: there is no pair: too few songs are long enough.
    """
    left = sorted(range(len(real)), key=lambda n: _rank(seed, "real", real[n]))
    pairs: list[Pair] = []
    for song in sorted(new, key=lambda song: _rank(seed, "new", song)):
        if len(pairs) == most:
            break
        for place in left:
            pair = _pair(real[place], song, seconds, seed)
            if pair is not None:
                pairs.append(pair)
                left.remove(place)
                break
    if not pairs:
        raise SegueError(
            f"no pair can be made of {len(real):,} songs of the composer's and {len(new):,} of the "
            f"model's: excerpts of {seconds:g} seconds take songs that last as long; choose fewer "
            "--seconds"
        )
    return pairs


def _pair(real: Song, new: Song, seconds: float, seed: int) -> Pair | None:
    if (real.id and real.id == new.id) or real.fingerprint() == new.fingerprint():
        return None
    tempo = min(max(real.tempo or TEMPO, SLOWEST), FASTEST)
    ticks = seconds * tempo / 60 * TICKS_PER_QUARTER
    theirs, ours = (_section(song, ticks, _draw(seed, "section", song)) for song in (real, new))
    if theirs is None or ours is None:
        return None
    scale = 60 / tempo / TICKS_PER_QUARTER
    played = {
        "composer": tuple((o * scale, d * scale, p) for o, d, p in theirs),
        "model": tuple((o * scale, d * scale, p) for o, d, p in ours),
    }
    is_first = _draw(seed, "order", new) % 2 == 0
    a, b = ("composer", "model") if is_first else ("model", "composer")
    return Pair(played[a], played[b], "a" if is_first else "b", real.title, new.title)


def _section(song: Song, ticks: float, draw: int) -> list[tuple[float, float, int]] | None:
    """(onset, duration, pitch) in ticks from one of the inner onsets on, so many ticks of them.

    Neither the first onset nor the last is in it, whoever wrote the song.
    """
    onsets = np.unique(song.notes[:, ONSET])[1:-1]
    onsets = onsets[onsets + ticks <= onsets[-1]] if len(onsets) else onsets
    if not len(onsets):
        return None
    start = int(onsets[draw % len(onsets)])
    found = [
        (float(onset - start), float(min(duration, start + ticks - onset)), int(pitch))
        for onset, duration, pitch in song.notes[:, [ONSET, DURATION, PITCH]].tolist()
        if start <= onset < start + ticks
    ]
    return found if len(found) >= FEWEST_NOTES else None


def _rank(seed: int, purpose: str, song: Song) -> bytes:
    return hashlib.sha256(f"{seed} {purpose} {song.fingerprint()}".encode()).digest()


def _draw(seed: int, purpose: str, song: Song) -> int:
    return int.from_bytes(_rank(seed, purpose, song)[:8], "big")
