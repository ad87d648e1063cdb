"""Which songs a model learns from, and which it is judged by.

The split is by song: windows of one song overlap, and a song on both sides makes
the validation loss a lie. A song's rank is a hash of its transposition-invariant
notes, as a number in [0, 1); songs under the share are held out. A rank depends
on nothing but the music, so a duplicate or a transposition always falls on the
same side, and a song stays on its side while the catalogue around it grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

TRAIN, EVAL = "train", "eval"
SPLITS = (TRAIN, EVAL)


def rank(fingerprint: str, salt: str = "") -> float:
    """A song's place in [0, 1), from `Song.fingerprint()`; another salt, another order."""
    digest = hashlib.sha256(f"{salt}:{fingerprint}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def eval_bound(ranks: Collection[float], share: float) -> float:
    """Songs ranked below this are held out.

    The bound is the share itself; only in a catalogue so small that it would
    leave one side empty does it move, just far enough to give that side a song.

    Args:
      ranks: of all songs.
      share: of songs to hold out, 0 < share < 1.
    """
    distinct = sorted(set(ranks))
    if len(distinct) < 2:
        return share
    if distinct[0] >= share:
        return (distinct[0] + distinct[1]) / 2
    if distinct[-1] < share:
        return (distinct[-2] + distinct[-1]) / 2
    return share


def split_of(song_rank: float, bound: float) -> str:
    """`eval` or `train`."""
    return EVAL if song_rank < bound else TRAIN
