"""What new songs are measured against: the composer's own, measured alike.

`measure` takes everything that can be said of one song by itself. A `Reference` is what
the real songs of a catalogue say together: how much they borrow from one another, how
far they go in loops, silence and range, and how their descriptors are spread. It is
small, is kept as JSON, and holds no music; the `SongIndex`, which does, lies beside it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from music.measures.degeneration import Bounds, Signs, degeneration, signs
from music.measures.descriptors import DESCRIPTORS, describe
from music.measures.originality import Originality, SelfBorrowing, SongIndex
from music.song import Song

# What both are called where they are kept.
REFERENCE_FILE, INDEX_FILE = "reference.json", "index.zip"


@dataclasses.dataclass(frozen=True)
class Measures:
    """One song.

    Attributes:
      id, title: of the song.
      signs: of degeneration.
      descriptors: the five, by name; NaN where one is not defined.
      originality: what it has from others.
    """

    id: str
    title: str
    signs: Signs
    descriptors: Mapping[str, float]
    originality: Originality

    def as_dict(self) -> dict[str, Any]:
        """As JSON types; what is no number as None."""
        return {
            "id": self.id,
            "title": self.title,
            **dataclasses.asdict(self.signs),
            "entropy": plain(self.signs.entropy),
            "descriptors": {name: plain(value) for name, value in self.descriptors.items()},
            "copied": None
            if self.originality.longest is None
            else dataclasses.asdict(self.originality.longest),
            "run": self.originality.run,
            "rates": {str(n): plain(rate) for n, rate in self.originality.rates.items()},
        }


def measure(song: Song, index: SongIndex, leave_out: bool = False) -> Measures:
    """Everything that can be said of one song by itself.

    Args:
      song: as a model hears or plays it, without what it was primed with.
      index: of the training songs.
      leave_out: whether the song is one of them, and held against the others.

    Raises:
      KeyError: it is to be left out and is not in the index.
    """
    return Measures(
        song.id, song.title, signs(song), describe(song), index.originality(song, leave_out)
    )


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a figure is spread over real songs.

    Attributes:
      mean, deviation: NaN where no song has the figure.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of some values; NaN among them are left out."""
        found = np.array([value for value in values if not math.isnan(value)])
        if not len(found):
            return cls(math.nan, math.nan)
        return cls(float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else 0.0)

    def score(self, value: float) -> float:
        """Deviations above the mean (z-score); NaN where real songs do not differ."""
        return (value - self.mean) / self.deviation if self.deviation > 0 else math.nan


@dataclasses.dataclass(frozen=True)
class Reference:
    """The real songs of a catalogue, together.

    Attributes:
      songs: how many.
      borrowing: of each from all others.
      bounds: of loops, silence, entropy and range.
      descriptors: by name.
    """

    songs: int
    borrowing: SelfBorrowing
    bounds: Bounds
    descriptors: Mapping[str, Spread]

    @classmethod
    def of(cls, real: Sequence[Measures]) -> Reference:
        """The reference of real songs.

        Raises:
          ValueError: there is no song with a note.
        """
        return cls(
            len(real),
            SelfBorrowing.of([one.originality for one in real]),
            Bounds.of([one.signs for one in real]),
            {name: Spread.of([one.descriptors[name] for one in real]) for name in DESCRIPTORS},
        )

    def degeneration(self, song: Measures) -> list[str]:
        """What is wrong with a song, a phrase each; empty where nothing is."""
        return degeneration(song.signs, self.bounds)

    def scores(self, song: Measures) -> dict[str, float]:
        """The z-score of each descriptor."""
        return {
            name: spread.score(song.descriptors[name]) for name, spread in self.descriptors.items()
        }

    def to_json(self) -> str:
        """Everything, as one JSON object; the same reference gives the same text."""
        value: dict[str, Any] = {
            "songs": self.songs,
            "borrowing": self.borrowing.as_dict(),
            "bounds": dataclasses.asdict(self.bounds),
            "descriptors": {
                name: {
                    "mean": plain(spread.mean),
                    "deviation": plain(spread.deviation),
                }
                for name, spread in self.descriptors.items()
            },
        }
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Reference:
        """The reference that `to_json` wrote."""
        value = json.loads(text)
        spreads = {
            name: Spread(*(math.nan if one[k] is None else one[k] for k in ("mean", "deviation")))
            for name, one in value["descriptors"].items()
        }
        return cls(
            value["songs"],
            SelfBorrowing.from_dict(value["borrowing"]),
            Bounds(**value["bounds"]),
            spreads,
        )


def plain(value: float) -> float | None:
    """As strict JSON has it, which knows no NaN."""
    return None if math.isnan(value) else value
