"""Which songs a model learns from, and which it is judged by.

The split is by song: windows of one song overlap, and a song on both sides makes
the validation loss a lie. A song's rank is a hash of its transposition-invariant
notes, as a number in [0, 1); songs under the share are held out. A rank depends
on nothing but the music, so a duplicate or a transposition always falls on the
same side, and a song stays on its side while the catalogue around it grows.

A catalogue so small that a side would be empty is the exception: there a song
that its rank would leave in training may be held out, since one has to be. Such
songs are remembered (`held_out`), because while a catalogue grows, no model may
learn from what an earlier one was judged by. (Where songs are taken away until
only held-out ones are left, one of them has to be learned from.) No rule that
looks at the present catalogue alone can do without this memory: of every two
songs one would have to be held out.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterable

TRAIN, EVAL = "train", "eval"
SPLITS = (TRAIN, EVAL)


def rank(fingerprint: str, salt: str = "") -> float:
    """A song's place in [0, 1), from `Song.fingerprint()`; another salt, another order."""
    digest = hashlib.sha256(f"{salt}:{fingerprint}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclasses.dataclass(frozen=True)
class Extremes:
    """The two smallest and the two largest ranks of many: all that `eval_bound` needs.

    Attributes:
      ranks: up to four, distinct, ascending.
    """

    ranks: tuple[float, ...] = ()

    def add(self, ranks: Iterable[float]) -> Extremes:
        """With further ranks taken in."""
        distinct = sorted({*self.ranks, *ranks})
        return Extremes(tuple(distinct if len(distinct) <= 4 else distinct[:2] + distinct[-2:]))


def eval_bound(ranks: Collection[float], share: float) -> float:
    """Songs ranked below this are held out.

    The bound is the share itself; only in a catalogue so small that it would
    leave one side empty does it move, just far enough to give that side a song.

    Args:
      ranks: of all songs, or their `Extremes`.
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


@dataclasses.dataclass(frozen=True)
class Splitter:
    """Which side a song belongs to.

    Attributes:
      share: of songs to hold out, 0 < share < 1.
      salt: another salt, another order.
      held_out: fingerprints of songs that were held out beyond the share once.
    """

    share: float
    salt: str = ""
    held_out: frozenset[str] = frozenset()

    def rank(self, fingerprint: str) -> float:
        """As `rank`, but under the share for a song that was held out before."""
        number = rank(fingerprint, self.salt)
        return number * self.share if fingerprint in self.held_out else number

    def side(self, fingerprint: str, extremes: Extremes) -> str:
        """`eval` or `train`, given the extremes of all songs' ranks."""
        return split_of(self.rank(fingerprint), eval_bound(extremes.ranks, self.share))

    def beyond_share(self, fingerprint: str, extremes: Extremes) -> bool:
        """Whether a song is held out though its rank is not under the share."""
        return self.rank(fingerprint) >= self.share and self.side(fingerprint, extremes) == EVAL
