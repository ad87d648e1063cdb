"""Notes on the screen as a model makes them: a line a bar, a chord a word."""

from __future__ import annotations

import sys
from typing import IO

import numpy as np

from client.assembling import event_onsets
from music.codec import ChordsCodec, Codec
from music.song import TICKS_PER_QUARTER

_BAR = 4 * TICKS_PER_QUARTER
_WORDS = 16  # of a line, where a bar has more than that


class NoteLines:
    """Hears events and writes what they sound, as they come.

    Bars are of four quarters from the first event: what is shown is the order in which
    notes come, not a score.

    Args:
      out: where to; None is stderr.
    """

    def __init__(self, out: IO[str] | None = None):
        self._out = sys.stderr if out is None else out
        self._tick = 0
        self._bar = -1
        self._words = 0

    def __call__(self, codec: Codec, events: np.ndarray) -> None:
        if not len(events):
            return
        begins = 0
        if self._bar >= 0:
            stepped = codec.fields[0].name == "step"
            begins = self._tick + (int(events[0, 0]) if stepped else ChordsCodec.TOKEN_TICKS)
        onsets = event_onsets(codec, events, begins)
        for event, onset in zip(events, onsets.tolist(), strict=True):
            self._write(codec.label(codec.pitched, int(event[codec.pitched])), onset)
        self._out.flush()

    def _write(self, name: str, onset: int) -> None:
        together = onset == self._tick and self._bar >= 0
        if onset // _BAR != self._bar or (self._words >= _WORDS and not together):
            self._out.write(("\n" if self._bar >= 0 else "") + f"{onset // _BAR + 1:4d}  ")
            self._bar, self._words, together = onset // _BAR, 0, False
            self._out.write(name)
        else:
            self._out.write(f"+{name}" if together else f" {name}")
        self._words += 1
        self._tick = onset

    def end(self) -> None:
        """Ends the last line."""
        if self._bar >= 0:
            self._out.write("\n")
            self._out.flush()
