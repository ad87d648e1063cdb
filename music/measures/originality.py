"""Whether a song was copied, from where, and what the composer himself does.

A copy may stand in another key, so songs are read as what stays when they are
transposed: from each note to the next, the interval and the step in time, over all
parts by onset and then pitch. The training songs lie in a suffix automaton
(`SongIndex`), which finds, in time linear in a song, the longest run that stands in
one of them, and where: song, bar, and bar in the new song.

No composer is wholly new. How much is too much is what each real song has from all
the others (`SelfBorrowing`, leave one out), so the bound is the composer's own: a
song is original when its longest run is within the 95th percentile of theirs. The
idea of such a report is that of Yin, Reuben, Stepney and Collins 2022, "Measuring when
a music generation algorithm copies too much" (SN Computer Science 3).
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from music.measures.heard import Heard
from music.measures.suffix_automaton import Match, SuffixAutomaton, build
from music.song import ONSET, PITCH, Song
from music.statistics import bar_ticks

# n-grams of notes whose share is told.
COPY_LENGTHS = (4, 8, 16, 32)
PERCENTILE = 95.0
# Of fewer real songs a distribution says nothing.
FEWEST_SONGS = 5
# Of them, the one by which two versions of a song are told.
VERSION_LENGTH = 16
# Longer steps than this are alike: a silence of four bars and more.
_LONGEST_STEP = 384
_STEPS = _LONGEST_STEP + 1
_AUTOMATON, _SONGS = "automaton.npz", "songs.json"


def symbols(song: Song) -> np.ndarray:
    """int64[N - 1]: (interval, step) from each note to the next, as one number each."""
    interval = np.diff(song.notes[:, PITCH].astype(np.int64)) + 127
    step = np.minimum(np.diff(song.notes[:, ONSET].astype(np.int64)), _LONGEST_STEP)
    return interval * _STEPS + step


@dataclasses.dataclass(frozen=True)
class Copy:
    """A run of notes that a song shares with another one, in any key.

    Attributes:
      notes: how many in a row.
      first: index of the first in the song.
      bar: where that is in the song, counted from 1.
      source: id of the other song.
      title: of the other song.
      source_bar: where the run begins there, counted from 1.
    """

    notes: int
    first: int
    bar: int
    source: str
    title: str
    source_bar: int


@dataclasses.dataclass(frozen=True)
class Originality:
    """What a song has from others.

    Attributes:
      longest: its longest copied run; None where not even two notes are shared.
      rates: by n, the share of its runs of n notes that stand in another song; NaN for a
        song of fewer notes.
    """

    longest: Copy | None
    rates: Mapping[int, float]

    @property
    def run(self) -> int:
        """Notes of the longest copied run; 1 where none is shared."""
        return self.longest.notes if self.longest else 1

    @property
    def is_version(self) -> bool:
        """Whether more than half of the song's runs of 16 notes stand in another one."""
        return self.rates[VERSION_LENGTH] > 0.5


@dataclasses.dataclass(frozen=True)
class _Indexed:
    """What is known of a song in the index.

    Attributes:
      id, title: of the song.
      bar: in ticks.
      onsets: of its notes, in the composer's own song, ticks.
    """

    id: str
    title: str
    bar: float
    onsets: tuple[int, ...]


class SongIndex:
    """The songs that a new one is held against.

    Args:
      automaton: of their symbols, in order.
      songs: in the same order.
    """

    def __init__(self, automaton: SuffixAutomaton, songs: Sequence[_Indexed]):
        self._automaton = automaton
        self._songs = tuple(songs)
        self._places = {song.id: number for number, song in enumerate(self._songs)}

    @classmethod
    def of(cls, songs: Sequence[Heard]) -> SongIndex:
        """An index of songs as a model heard them, whose ids differ."""
        return cls(
            build(symbols(heard.song).tolist() for heard in songs),
            [
                _Indexed(
                    heard.song.id,
                    heard.song.title,
                    bar_ticks(heard.song.time_signature),
                    tuple(heard.onsets.tolist()),
                )
                for heard in songs
            ],
        )

    def __len__(self) -> int:
        return len(self._songs)

    def originality(self, song: Song, leave_out: bool = False) -> Originality:
        """What a song has from those of the index.

        Args:
          song: without the notes that it was primed with.
          leave_out: whether the song is in the index itself, and held against the others.

        Raises:
          KeyError: it is to be left out and is not there.
        """
        own = self._places[song.id] if leave_out else None
        match = self._automaton.match(symbols(song).tolist(), own)
        rates = {n: _rate(match.lengths, n) for n in COPY_LENGTHS}
        return Originality(self._longest(song, match, own), rates)

    def _longest(self, song: Song, match: Match, own: int | None) -> Copy | None:
        if not match.lengths.any():
            return None
        last = int(match.lengths.argmax())
        length = int(match.lengths[last])
        number, end = self._automaton.place(int(match.states[last]), own)
        source = self._songs[number]
        first = last - length + 1
        return Copy(
            notes=length + 1,
            first=first,
            bar=_bar(int(song.notes[first, ONSET]), bar_ticks(song.time_signature)),
            source=source.id,
            title=source.title,
            source_bar=_bar(source.onsets[end - length + 1], source.bar),
        )

    def save(self, file: BinaryIO) -> None:
        """Writes the index as one file, the same bytes for the same songs."""
        inner = io.BytesIO()
        self._automaton.save(inner)
        songs = json.dumps([dataclasses.asdict(song) for song in self._songs])
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in ((_AUTOMATON, inner.getvalue()), (_SONGS, songs.encode())):
                # A fixed time, as that of the day would change the bytes.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)

    @classmethod
    def load(cls, file: BinaryIO) -> SongIndex:
        """What `save` wrote.

        Raises:
          ValueError: it is no such file.
        """
        try:
            with zipfile.ZipFile(file) as archive:
                automaton = SuffixAutomaton.load(io.BytesIO(archive.read(_AUTOMATON)))
                songs = json.loads(archive.read(_SONGS))
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise ValueError(f"no index of songs: {error}") from None
        return cls(automaton, [_Indexed(**s | {"onsets": tuple(s["onsets"])}) for s in songs])


def _rate(lengths: np.ndarray, notes: int) -> float:
    """The share of a song's runs of so many notes that are matched whole."""
    whole = lengths[notes - 2 :]
    return float((whole >= notes - 1).mean()) if len(whole) else math.nan


def _bar(onset: int, ticks: float) -> int:
    return int(onset // ticks) + 1


@dataclasses.dataclass(frozen=True)
class SelfBorrowing:
    """What each real song has from all the others.

    Two versions of one song (an arrangement, another edition) are no borrowing: where
    more than half of a song stands in another, it does not count, or a single such pair
    would allow every copy.

    Attributes:
      runs: notes of each song's longest run, ascending.
      rates: by n, the copy rates, ascending; songs of fewer notes are left out.
      versions: how many songs were left out because they are versions of another.
    """

    runs: tuple[int, ...]
    rates: Mapping[int, tuple[float, ...]]
    versions: int = 0

    @classmethod
    def of(cls, found: Sequence[Originality]) -> SelfBorrowing:
        """The distribution of some songs' own originality."""
        counted = [one for one in found if not one.is_version]
        return cls(
            tuple(sorted(one.run for one in counted)),
            {
                n: tuple(sorted(one.rates[n] for one in counted if not math.isnan(one.rates[n])))
                for n in COPY_LENGTHS
            },
            len(found) - len(counted),
        )

    def bound(self, percentile: float = PERCENTILE) -> int | None:
        """The longest run that is within a percentile: of that share of songs none is longer.

        None where there are fewer than `FEWEST_SONGS`, of which nobody can say what is
        usual.
        """
        if len(self.runs) < FEWEST_SONGS:
            return None
        return int(np.percentile(self.runs, percentile, method="higher"))

    def percentile(self, run: int) -> float | None:
        """The percentage of real songs whose longest run is shorter, 0..100; None as above."""
        if len(self.runs) < FEWEST_SONGS:
            return None
        return 100.0 * float(np.searchsorted(self.runs, run)) / len(self.runs)

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        rates = {str(n): list(values) for n, values in self.rates.items()}
        return {"runs": list(self.runs), "rates": rates, "versions": self.versions}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> SelfBorrowing:
        """What `as_dict` gave."""
        rates = {int(n): tuple(r) for n, r in value["rates"].items()}
        return cls(tuple(value["runs"]), rates, value["versions"])
