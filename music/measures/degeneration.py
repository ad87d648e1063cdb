"""Signs that a model broke down while it played: loops, silence, one tone.

These are proxies for what a listener would say, and are called so wherever they are
shown. A loop is the same event, or the same cycle of up to eight events, over and
over; Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (ICLR),
describe how sampling falls into them. Real music repeats itself, too, so a song is
flagged by bounds that real songs of the catalogue give.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from music.measures.descriptors import pitch_class_entropy
from music.song import DURATION, ONSET, PITCH, TICKS_PER_QUARTER, Song

LONGEST_CYCLE = 8
# More events than this in one loop are degenerate, unless real songs have them as well.
LOOP_EVENTS = 16
# Fewer notes are no song.
FEWEST_NOTES = 8
# A rest of a bar of four quarters is none, even where real songs never rest.
SILENCE = 4 * TICKS_PER_QUARTER
# Standard deviations under the real songs' mean.
COLLAPSE = 3.0


@dataclasses.dataclass(frozen=True)
class Loop:
    """The same few events over and over.

    Attributes:
      events: how many in all; 0 where nothing is repeated.
      cycle: after how many it begins again.
      first: index of its first event in the song.
    """

    events: int = 0
    cycle: int = 0
    first: int = 0


def longest_loop(song: Song, longest_cycle: int = LONGEST_CYCLE) -> Loop:
    """The longest stretch that repeats a cycle of events at least once.

    An event is a note's step from the one before, its pitch and its duration.
    """
    notes = song.notes.astype(np.int64)
    events = np.stack([np.diff(notes[:, ONSET], prepend=0), notes[:, PITCH], notes[:, DURATION]])
    best = Loop()
    for cycle in range(1, min(longest_cycle, len(notes) // 2) + 1):
        same = (events[:, cycle:] == events[:, :-cycle]).all(axis=0)
        edges = np.flatnonzero(np.diff(same, prepend=False, append=False))
        begins, ends = edges[::2], edges[1::2]
        if not len(begins):
            continue
        at = int((ends - begins).argmax())
        repeated = int(ends[at] - begins[at])
        if repeated >= cycle and repeated + cycle > best.events:
            best = Loop(repeated + cycle, cycle, int(begins[at]))
    return best


@dataclasses.dataclass(frozen=True)
class Signs:
    """What is looked at in a song.

    Attributes:
      notes: how many.
      loop: its longest.
      entropy: of its pitch classes, bits; NaN without notes.
      silence: the longest time in which nothing sounds, ticks.
      low, high: MIDI pitches; 127 and 0 without notes.
      most_low, most_high: between these lie at least nine of ten notes: one in twenty
        at most is lower, and one in twenty higher.
    """

    notes: int
    loop: Loop
    entropy: float
    silence: int
    low: int
    high: int
    most_low: int
    most_high: int


def signs(song: Song) -> Signs:
    """Those of a song."""
    pitches = np.sort(song.notes[:, PITCH])
    beyond = len(pitches) // 20
    most = pitches[beyond : len(pitches) - beyond]
    return Signs(
        notes=len(song),
        loop=longest_loop(song),
        entropy=pitch_class_entropy(song),
        silence=silence(song),
        low=int(pitches.min(initial=127)),
        high=int(pitches.max(initial=0)),
        most_low=int(most.min(initial=127)),
        most_high=int(most.max(initial=0)),
    )


def silence(song: Song) -> int:
    """The longest time between the first onset and the last end in which nothing sounds, ticks."""
    if not len(song):
        return 0
    onsets = song.notes[:, ONSET]
    ends = np.maximum.accumulate(onsets + song.notes[:, DURATION])
    return int(np.maximum(onsets[1:] - ends[:-1], 0).max(initial=0))


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What real songs reach, so that only what is beyond them is flagged.

    Attributes:
      loop: events of a loop, at most.
      entropy: pitch-class entropy in bits, at least.
      low, high: MIDI pitches.
      silence: ticks without a sounding note, at most.
    """

    loop: int
    entropy: float
    low: int
    high: int
    silence: int

    @classmethod
    def of(cls, real: Sequence[Signs], percentile: float = 95.0) -> Bounds:
        """The bounds of real songs.

        Args:
          real: at least one with a note; songs without notes do not count.
          percentile: of loops and silences.

        Raises:
          ValueError: there is no song with a note.
        """
        real = [one for one in real if one.notes]
        if not real:
            raise ValueError("no real song has a note: nothing says what is degenerate")
        entropies = np.array([one.entropy for one in real])
        spread = float(entropies.std(ddof=1)) if len(real) > 1 else 0.0

        def within(values: list[int]) -> int:
            return int(np.percentile(values, percentile, method="higher"))

        return cls(
            loop=max(LOOP_EVENTS, within([one.loop.events for one in real])),
            entropy=min(float(entropies.mean()) - COLLAPSE * spread, float(entropies.min())),
            low=min(one.low for one in real),
            high=max(one.high for one in real),
            silence=max(SILENCE, within([one.silence for one in real])),
        )


def degeneration(song: Signs, bounds: Bounds) -> list[str]:
    """What is wrong with a song, a phrase each; empty where nothing is.

    Args:
      song: the signs of a new one.
      bounds: of real songs.
    """
    if song.notes < FEWEST_NOTES:
        return [f"it has only {song.notes} notes" if song.notes else "it has no notes"]
    found = []
    if song.loop.events > bounds.loop:
        cycle = song.loop.cycle
        what = "the same event" if cycle == 1 else f"a cycle of {cycle} events"
        found.append(f"{what} for {song.loop.events} events, over {bounds.loop}")
    if song.entropy < bounds.entropy:
        found.append(f"pitch classes of {song.entropy:.2f} bits, under {bounds.entropy:.2f}")
    if song.silence > bounds.silence:
        found.append(f"silence of {song.silence} ticks, over {bounds.silence}")
    if song.most_low < bounds.low or song.most_high > bounds.high:
        found.append(
            f"most pitches from {song.most_low} to {song.most_high}, "
            f"outside {bounds.low} to {bounds.high}"
        )
    return found
