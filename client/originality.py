"""Whether a new song is one: what it shares with the songs that its model learned from.

The training songs' index lies beside the model, in the root of the pipeline that made
it, and never on a server: the songs can be read out of it. So originality is checked
here, where both are at hand, and where the index is not, that is said.

A song that copies more than the composer's own songs share with one another can be
mended: what stands before the bar in which the copy begins is kept, and from there the
model is asked again, with another seed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from client.assembling import event_onsets
from music.codec import Codec
from music.errors import SegueError, printable
from music.measures import INDEX_FILE, REFERENCE_FILE, Copy, Reference, SongIndex
from music.measures.originality import PERCENTILE
from music.song import Song
from music.statistics import bar_ticks


@dataclasses.dataclass(frozen=True)
class Checked:
    """What a song has from the training songs.

    Attributes:
      longest: its longest run of notes that stands in one of them, in any key; None where
        not even two notes do.
      run: notes of that; 1 where there is none.
      bound: the longest run that most of the composer's songs share with each other; None
        where there are too few of them to say.
      percentile: how many of 100 of them have a shorter one; None as above.
    """

    longest: Copy | None
    run: int
    bound: int | None
    percentile: float | None

    @property
    def is_copy(self) -> bool:
        """Whether it has more than the composer's songs have from each other."""
        return self.bound is not None and self.run > self.bound

    def line(self) -> str:
        """For a person."""
        if self.longest is None:
            return "no two notes in a row stand in a training song"
        usual = "there are too few of the composer's songs to say how usual that is"
        if self.percentile is not None:
            usual = f"{self.percentile:.0f} of 100 of the composer's songs have a shorter one"
        return printable(
            f"longest copied run: {self.run} notes from bar {self.longest.bar}, which stand in "
            f"{self.longest.title}, bar {self.longest.source_bar}; {usual}"
            f"{' (a copy)' if self.is_copy else ''}"
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**dataclasses.asdict(self), "is_copy": self.is_copy}


class OriginalityCheck:
    """Holds songs against the training songs of a model.

    Args:
      index: of the training songs, as the model heard them.
      reference: what they share with each other.
      percentile: of them, beyond which a song is a copy.
    """

    def __init__(self, index: SongIndex, reference: Reference, percentile: float = PERCENTILE):
        self.index = index
        self.borrowing, self.bounds = reference.borrowing, reference.bounds
        self.bound = self.borrowing.bound(percentile)

    @classmethod
    def open(cls, folder: Path, percentile: float = PERCENTILE) -> OriginalityCheck:
        """The check of a MusicReference in a folder.

        Raises:
          SegueError: it cannot be read.
        """
        try:
            reference = Reference.from_json((folder / REFERENCE_FILE).read_text("utf-8"))
            with open(folder / INDEX_FILE, "rb") as file:
                return cls(SongIndex.load(file), reference, percentile)
        except Exception as error:  # whatever a damaged file makes its readers say
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise SegueError(
                f"cannot read the index of the training songs in {folder}: {reason}"
            ) from error

    def check(self, song: Song) -> Checked:
        """What a song shares with the training songs.

        Args:
          song: as the model played it, without what it was primed with.
        """
        found = self.index.originality(song)
        return Checked(found.longest, found.run, self.bound, self.borrowing.percentile(found.run))


def events_before_copy(
    codec: Codec, events: np.ndarray, song: Song, copy: Copy, onset: int = 0
) -> int:
    """How many events can be kept: those before the bar in which a copied run begins.

    Args:
      codec: of the events.
      events: int32[S, F], as they were generated.
      song: what they spell.
      copy: its longest run.
      onset: of the song's first event, ticks.
    """
    first = (copy.bar - 1) * bar_ticks(song.time_signature)
    return int(np.searchsorted(event_onsets(codec, events, onset), first))


def another_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt, from a song's own: the same each time."""
    digest = hashlib.sha256(f"original:{seed}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
