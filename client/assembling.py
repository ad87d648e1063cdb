"""From events to a song: where it begins in its bar, and where it ends.

A model plays on from the last note of its prime, wherever in a bar that stood, so the
new song keeps that place: its first note comes where it would have come, after a rest.
And it is asked for some events more than are wanted, so that it need not stop inside a
chord: what is wanted and the rest of the chord is kept (`chord`), or all up to the next
bar line, at which everything stops sounding (`bar`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from client.priming import Prime
from music.codec import ChordsCodec, Codec
from music.errors import SegueError
from music.song import DURATION, ONSET, Song
from music.statistics import bar_ticks

CHORD, BAR = "chord", "bar"
ENDINGS = (CHORD, BAR)
# Events beyond those that are wanted: the rest of a chord of two hands, and of a bar
# of four voices in sixteenths.
_BEYOND = {CHORD: 8, BAR: 64}


@dataclasses.dataclass(frozen=True)
class End:
    """Where a song ends.

    Attributes:
      events: how many of the events are kept.
      tick: at which what still sounds is stopped; None lets it sound.
    """

    events: int
    tick: int | None = None


def check_ending(ending: str) -> str:
    """The ending, or a SegueError where there is none of that name."""
    if ending not in ENDINGS:
        raise SegueError(f"ending {ending!r} does not exist; choose one of: {', '.join(ENDINGS)}")
    return ending


def events_to_ask(codec: Codec, steps: int, ending: str, most: int) -> int:
    """How many events to ask a model for, so that a song of `steps` can be ended well.

    Args:
      codec: the model's.
      steps: events that are wanted.
      ending: one of ENDINGS.
      most: events that the model makes of one song; no more are asked for.
    """
    if not _has_steps(codec) and ending == CHORD:
        return steps  # an event is a whole chord
    return max(min(steps + _BEYOND[ending], most), steps)


def end_of(
    codec: Codec, events: np.ndarray, steps: int, ending: str, bar: int, onset: int = 0
) -> End:
    """Where a song of about `steps` events ends.

    With `chord` it is after the chord of the event that fills the number; with `bar` at
    the bar line after that event. A song whose events do not reach that far (a model
    makes only so many) ends before its last chord, which may not be whole, or at the
    last bar line that it passes. One that ended by itself has ended.

    Args:
      codec: of the events.
      events: int32[S, F], as `events_to_ask` had them asked for.
      steps: events that are wanted.
      ending: one of ENDINGS.
      bar: ticks of a bar.
      onset: of the first event, ticks from the beginning of its bar.
    """
    count = len(events)
    if not count or _ends_itself(codec, events[:steps]):
        return End(min(count, steps))
    onsets = event_onsets(codec, events, onset)
    ended = _ends_itself(codec, events)  # somewhere after `steps`
    if ending == BAR:
        line = (int(onsets[min(steps, count) - 1]) // bar + 1) * bar
        if line > onsets[-1]:
            if ended:
                return End(count)
            line = int(onsets[-1]) // bar * bar
        if line > onsets[0]:
            return End(int(np.searchsorted(onsets, line)), line)
    if not _has_steps(codec):
        return End(min(steps, count))
    begins = np.flatnonzero(np.diff(onsets) > 0) + 1  # of chords, the first excluded
    after = begins[begins >= steps]
    if len(after):
        return End(int(after[0]))
    if ended:
        return End(count)
    return End(int(begins[-1]) if len(begins) else count)


def _ends_itself(codec: Codec, events: np.ndarray) -> bool:
    if codec.boundary is None or not len(events):
        return False
    field, code = codec.boundary
    return int(events[-1, field]) == code


def _has_steps(codec: Codec) -> bool:
    return codec.fields[0].name == "step"


def event_onsets(codec: Codec, events: np.ndarray, onset: int = 0) -> np.ndarray:
    """When generated events begin, int64[S] ticks; the first at `onset`."""
    if not _has_steps(codec):
        return onset + ChordsCodec.TOKEN_TICKS * np.arange(len(events), dtype=np.int64)
    steps = np.array(events[:, 0], np.int64)
    steps[:1] = onset
    return np.cumsum(steps)


def onset_in_bar(codec: Codec, prime: Prime, events: np.ndarray) -> int:
    """Where in a bar the first of generated events stands, ticks.

    Bars are those of the prime's song, which begin with its file and are as long as its
    first time signature says. A song from nothing begins as the model has it begin, so
    that an upbeat is one.

    Args:
      codec: of the events.
      prime: what they go on from.
      events: int32[S, F].
    """
    if not len(events) or not _has_steps(codec):
        return 0
    before = 0
    if prime.song is not None and len(prime):
        before = int(codec.onsets(prime.song)[prime.offset + len(prime) - 1])
    return (before + int(events[0, 0])) % whole_bar(prime.song)


def whole_bar(song: Song | None) -> int:
    """Ticks of a bar, a whole number; of four quarters where nothing is known."""
    return max(round(bar_ticks(None if song is None else song.time_signature)), 1)


def from_first_note(codec: Codec, events: np.ndarray, onset: int = 0) -> np.ndarray:
    """Generated events as a song of their own: int32[S, F], the first at `onset`.

    The wait since the prime's last note is no longer one, now that it is gone.
    """
    events = np.array(events, np.int32)
    if len(events) and _has_steps(codec):
        events[0, 0] = onset
    return events


def song_of(
    codec: Codec,
    events: np.ndarray,
    like: Song | None = None,
    onset: int = 0,
    stop: int | None = None,
) -> Song:
    """The song that generated events spell.

    Args:
      codec: the model's.
      events: int32[S, F].
      like: the song whose tempo and time signature it keeps.
      onset: of its first event, ticks.
      stop: the tick at which what sounds is stopped; None for never.
    """
    song = codec.decode(from_first_note(codec, events, onset))
    if stop is not None:
        notes = song.notes.copy()
        notes[:, DURATION] = np.minimum(notes[:, DURATION], np.maximum(stop - notes[:, ONSET], 1))
        song = dataclasses.replace(song, notes=notes)
    if like is None:
        return song
    return dataclasses.replace(song, tempo=like.tempo, time_signature=like.time_signature)
