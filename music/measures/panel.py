"""A panel of new songs, judged as a whole: may the model that made them be served?

One song proves little: every composer borrows a long run now and then, and one of
twenty real songs lies beyond the 95th percentile by its nature. So a panel is judged by
shares: how many of its songs copy more than the composer's own, how many are
degenerate, how far the panel as a set lies among real songs, and whether it keeps to a
key as they do. Each finding is held against a bound, and a verdict says all of them,
those that were met as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from music.errors import SegueError
from music.measures.coherence import Coherence, coherence
from music.measures.originality import SongIndex
from music.measures.reference import Measures, Reference, Spread, measure, plain
from music.song import ONSET, Song

# Fewer real sections say nothing about how real songs differ: the ceiling is taken
# between halves of them. Of more than the most a sample is taken, since memory and time
# grow with the square of their number.
FEWEST_REAL, MOST_SECTIONS = 8, 128
# The scale consistency of music in which all twelve tones are alike; and how far above it
# real songs have to lie for it to mean anything: of 250 tones drawn at random, the best
# of 24 scales holds 0.64.
NO_KEY, LEAST_KEY = 7 / 12, 0.1
# Sections of fewer notes have no features to speak of.
SHORTEST_SECTION = 16


@dataclasses.dataclass(frozen=True)
class PanelBounds:
    """What a panel has to keep to.

    Attributes:
      percentile: of the real songs' longest copied runs; a song with a longer one than
        that is a copy.
      max_copies: the share of the songs that may be copies.
      max_degenerate: the share of the songs that may be degenerate.
      min_coherence: the least mean, over the features in which songs differ at all, of
        the overlap with real songs relative to what real songs reach; 0 does not ask.
      min_tonality: how far the mean scale consistency lies at least on the way from that
        of no key (7/12: all twelve tones alike) to the real songs'; 0 does not ask.
    """

    percentile: float = 95.0
    max_copies: float = 0.2
    max_degenerate: float = 0.25
    # Notes drawn one by one as often as in Bach's chorales, without a song to belong to,
    # come to 0.82 and 0.55 at the most; a panel of the chorales themselves to 0.84 and 0.94
    # at the least. So the key tells them apart, and coherence, which real songs may lack
    # where few are held out, is left some room.
    min_coherence: float = 0.75
    min_tonality: float = 0.7

    def __post_init__(self) -> None:
        for name, most in (
            ("percentile", 100.0),
            ("max_copies", 1.0),
            ("max_degenerate", 1.0),
            ("min_coherence", 1.0),
            ("min_tonality", 1.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise SegueError(f"{name} {value!r} is not allowed; it must be 0..{most:g}")


@dataclasses.dataclass(frozen=True)
class Judged:
    """One song of a panel.

    Attributes:
      measures: its own.
      scores: z-scores of its descriptors among real songs.
      percentile: how many of 100 real songs have a shorter copied run; None where there
        are too few of them to say.
      is_copy: whether its run is beyond the bound.
      flags: what is degenerate, a phrase each.
    """

    measures: Measures
    scores: Mapping[str, float]
    percentile: float | None
    is_copy: bool
    flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One figure of a panel against its bound.

    Attributes:
      name: `copies`, `degenerate`, `coherence` or `tonality`.
      value: NaN where it cannot be told.
      bound: the most; for coherence and tonality the least.
      met: whether it keeps to it; what cannot be told does not refuse.
      words: for a person.
    """

    name: str
    value: float
    bound: float
    met: bool
    words: str


@dataclasses.dataclass(frozen=True)
class PanelVerdict:
    """What a panel was found to be.

    Attributes:
      songs: each of them, in the panel's order.
      coherence: by feature; empty where there are too few real songs.
      findings: all of them.
    """

    songs: tuple[Judged, ...]
    coherence: Mapping[str, Coherence]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every finding keeps to its bound."""
        return all(finding.met for finding in self.findings)

    @property
    def shortfalls(self) -> list[str]:
        """The words of what does not."""
        return [finding.words for finding in self.findings if not finding.met]

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "passed": self.passed,
            "songs": [
                {
                    **one.measures.as_dict(),
                    "scores": {name: plain(value) for name, value in one.scores.items()},
                    "percentile": one.percentile,
                    "is_copy": one.is_copy,
                    "flags": list(one.flags),
                }
                for one in self.songs
            ],
            "coherence": {name: dataclasses.asdict(one) for name, one in self.coherence.items()},
            "findings": [
                {**dataclasses.asdict(one), "value": plain(one.value)} for one in self.findings
            ],
        }


def judge(
    songs: Sequence[Song],
    real: Sequence[Song],
    reference: Reference,
    index: SongIndex,
    bounds: PanelBounds,
) -> PanelVerdict:
    """Judges a panel.

    Args:
      songs: new ones, each without what it was primed with.
      real: held-out songs as the model hears them, which coherence is taken against, both
        in sections of the same number of notes.
      reference: of the training songs.
      index: of the training songs.
      bounds: to be kept to.

    Raises:
      ValueError: the panel is empty.
    """
    if not songs:
        raise ValueError("a panel without songs cannot be judged")
    borrowing = reference.borrowing
    longest = borrowing.bound(bounds.percentile)
    judged = []
    for song in songs:
        found = measure(song, index)
        run = found.originality.run
        judged.append(
            Judged(
                found,
                reference.scores(found),
                borrowing.percentile(run),
                longest is not None and run > longest,
                tuple(reference.degeneration(found)),
            )
        )
    together = _coherence(songs, real)
    return PanelVerdict(
        tuple(judged),
        together,
        (
            _share("copies", judged, [one.is_copy for one in judged], bounds.max_copies,
                   ("copies", "copy"), f"more than {longest} notes in a row")
            if longest is not None
            else Finding("copies", math.nan, bounds.max_copies, True,
                         "copies cannot be told: too few training songs stand for themselves"),
            _share("degenerate", judged, [bool(one.flags) for one in judged],
                   bounds.max_degenerate, ("is", "are"), "degenerate"),
            _coherent(together, bounds.min_coherence),
            _tonal(judged, reference, bounds.min_tonality),
        ),
    )  # fmt: skip


def sections(song: Song, notes: int) -> list[Song]:
    """A song in sections of so many notes, a rest that is shorter left out."""
    found = []
    for first in range(0, len(song) - notes + 1, notes):
        part = song.notes[first : first + notes].copy()
        part[:, ONSET] -= part[0, ONSET]
        found.append(dataclasses.replace(song, notes=part))
    return found


def _coherence(songs: Sequence[Song], real: Sequence[Song]) -> dict[str, Coherence]:
    """Both sets in sections of one length, as a longer song has more of everything.

    It is the median of the shorter set, so that half of its songs and more have one.
    """
    lengths = [np.median([len(song) for song in found] or [0]) for found in (songs, real)]
    length = int(min(lengths))
    if length < SHORTEST_SECTION:
        return {}
    against, made = (
        _sample([part for song in found for part in sections(song, length)])
        for found in (real, songs)
    )
    return coherence(against, made) if len(against) >= FEWEST_REAL and made else {}


def _sample(parts: list[Song]) -> list[Song]:
    """So many of them by the hashes of their notes, or all."""
    if len(parts) <= MOST_SECTIONS:
        return parts
    return sorted(parts, key=lambda part: hashlib.sha256(part.notes.tobytes()).digest())[
        :MOST_SECTIONS
    ]


def _share(
    name: str,
    judged: Sequence[Judged],
    hit: Sequence[bool],
    most: float,
    verb: tuple[str, str],
    words: str,
) -> Finding:
    """The finding of a share; `verb` as it stands after one song and after more."""
    share = sum(hit) / len(judged)
    count = f"{sum(hit)} of {len(judged)} songs {verb[sum(hit) != 1]}"
    told = f"{count} {words} (at most {most:.0%} may)"
    return Finding(name, share, most, share <= most, told)


def _coherent(together: Mapping[str, Coherence], least: float) -> Finding:
    if not together:
        words = f"coherence cannot be told: fewer than {FEWEST_REAL} real sections to compare with"
        return Finding("coherence", math.nan, least, True, words)
    # What is the same in every section (how many notes it has, to begin with) is no merit.
    relative = [
        one.relative
        for one in together.values()
        if not one.constant and not math.isnan(one.relative)
    ]
    if not relative:
        words = "coherence cannot be told: all real songs are alike"
        return Finding("coherence", math.nan, least, True, words)
    # What is above the ceiling makes up for nothing.
    mean = float(np.mean([min(value, 1.0) for value in relative]))
    words = f"overlap with real songs {mean:.2f} of what these reach (at least {least:.2f})"
    return Finding("coherence", mean, least, mean >= least, words)


def _tonal(judged: Sequence[Judged], reference: Reference, least: float) -> Finding:
    real = reference.descriptors["scale_consistency"].mean
    made = Spread.of([one.measures.descriptors["scale_consistency"] for one in judged]).mean
    if not real >= NO_KEY + LEAST_KEY or math.isnan(made):
        words = "tonality cannot be told: the training songs keep to no key"
        if math.isnan(made):
            words = "tonality cannot be told: the songs have no notes"
        return Finding("tonality", math.nan, least, True, words)
    way = (made - NO_KEY) / (real - NO_KEY)
    words = (
        f"scale consistency {made:.2f}, the training songs' {real:.2f}: {max(way, 0.0):.2f} of "
        f"the way there from no key (at least {least:.2f})"
    )
    return Finding("tonality", way, least, least == 0 or way >= least, words)
