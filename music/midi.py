"""MIDI files in, MIDI files out.

Reading stands on music21's event layer: `music21.midi.MidiFile` decodes chunks,
running status and variable-length numbers, and this module pairs the note-ons
with their note-offs and puts them on the grid. It stops short of
`converter.parse`, which builds measures, voices, ties and rests that no model
here looks at, and takes some twenty-five times as long.

A part is one channel of one track, numbered in order of appearance. Channel 10
is percussion: its notes are counted and left out.

Writing gives every part a track, and lets notes of one pitch that overlap
inside a part spill into tracks of their own. A MIDI note-off says only which
pitch ends, so two overlapping notes of one pitch in one track cannot be told
apart by any reader; in tracks and channels of their own they can.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from music.errors import MidiError
from music.song import (
    DURATION,
    ONSET,
    PART,
    PITCH,
    TICKS_PER_QUARTER,
    VELOCITY,
    Song,
)

if TYPE_CHECKING:
    from music21 import midi as m21midi

# What a file may ask of us. music21's decoder copies the rest of a track at
# every event, so its time grows with the square of a track's bytes.
MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_NOTES = 200_000
MAX_QUARTERS = 20_000

MAX_DELTA = 0x0FFFFFFF  # as the standard has it: four bytes of seven bits
PERCUSSION_CHANNEL = 10
WRITTEN_TICKS_PER_QUARTER = 480
MIDI_SUFFIXES = (".mid", ".midi")

_SHARPS = ("C", "G", "D", "A", "E", "B", "F#", "C#")
_FLATS = ("C", "F", "B-", "E-", "A-", "D-", "G-", "C-")
_MINOR_SHARPS = ("A", "E", "B", "F#", "C#", "G#", "D#", "A#")
_MINOR_FLATS = ("A", "D", "G", "C", "F", "B-", "E-", "A-")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may ask of us.

    Attributes:
      bytes: of the file.
      events: of all its tracks.
      notes: without percussion.
      quarters: from its beginning to its last note's end.
      seconds: of decoding.
    """

    bytes: int = MAX_FILE_BYTES
    events: int = 1_000_000
    notes: int = MAX_NOTES
    quarters: int = MAX_QUARTERS
    seconds: float = 30.0


@dataclasses.dataclass(frozen=True)
class Repair:
    """Something that was mended, as players do.

    Attributes:
      name: short and fixed, the same on every machine, so that repairs can be counted.
      detail: for a person.
    """

    name: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Rounding:
    """How far onsets and ends were moved to the grid, in grid ticks (at most 0.5).

    Attributes:
      mean, largest: over the onsets and ends of all notes.
      off_grid: how many notes had their onset moved at all.
    """

    mean: float = 0.0
    largest: float = 0.0
    off_grid: int = 0


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a file's bytes gave.

    Attributes:
      song: the song.
      repairs: what had to be mended, in the order in which it was met.
      rounding: what the grid cost.
    """

    song: Song
    repairs: tuple[Repair, ...] = ()
    rounding: Rounding = Rounding()


def read_midi(data: bytes, title: str = "") -> Song:
    """The song that a MIDI file's bytes hold: `parse_midi` without its remarks.

    Raises:
      MidiError: as `parse_midi`.
    """
    return parse_midi(data, title).song


def parse_midi(data: bytes, title: str = "", limits: Limits = Limits()) -> Reading:
    """The song that a MIDI file's bytes hold.

    A note lasts until the next note-off of its pitch in its track and channel,
    as in music21; one that is never ended lasts until the track's end. Onsets
    and ends are rounded to the grid separately, and no note is shorter than a
    tick.

    Args:
      data: the whole file, type 0 or 1.
      title: what to call the song.

    Raises:
      MidiError: the bytes are no MIDI file, a damaged one, one without notes, or
        one beyond `limits`.
    """
    if len(data) > MAX_FILE_BYTES:
        raise MidiError("too-large", f"{len(data):,} bytes; at most {MAX_FILE_BYTES:,} are read")
    if data[:4] != b"MThd":
        raise MidiError("not-midi", "the file does not begin with a MIDI header")
    # The first bit set: time code, which music21 takes for damage at most rates.
    resolution = int.from_bytes(data[12:14], "big")
    if len(data) >= 14 and not 0 < resolution < 0x8000:
        raise MidiError("division", "time is not counted in ticks of a quarter")
    file = _decode(data)

    reader = _Reader()
    for track in file.tracks:
        reader.read_track(track)
    if not reader.notes:
        left_out = f" but {reader.percussion} of percussion" if reader.percussion else ""
        raise MidiError("no-notes", f"there are no notes{left_out}")

    raw = np.array(reader.notes, np.int64)
    if raw[:, 1].max() > MAX_QUARTERS * resolution:
        quarters = int(raw[:, 1].max()) // resolution
        raise MidiError("too-long", f"{quarters:,} quarters; at most {MAX_QUARTERS:,} are read")
    start, stop = (_on_grid(raw[:, column], resolution) for column in (0, 1))
    notes = np.stack(
        [start, np.maximum(stop - start, 1), raw[:, 2], raw[:, 3], raw[:, 4]], axis=1
    ).astype(np.int32)
    song = Song(
        notes,
        id=hashlib.sha256(data).hexdigest(),
        title=title,
        tempo=reader.tempo,
        key=reader.key,
        time_signature=reader.time_signature,
        percussion=reader.percussion,
    )
    return Reading(song)


def _decode(data: bytes) -> m21midi.MidiFile:
    from music21 import midi as m21midi

    if data[8:10] == b"\0\2":
        # Type 2 holds songs of their own side by side, not parts of one.
        raise MidiError("type-2", "a type 2 file (independent sequences); types 0 and 1 are read")
    file = m21midi.MidiFile()
    try:
        file.readstr(data)
    except Exception as error:
        # music21 meets damage with MidiException, IndexError, ValueError or
        # TypeError, depending on where the bytes break.
        detail = " ".join(str(error).split()) or type(error).__name__
        raise MidiError("damaged", f"music21 cannot decode it ({detail[:120]})") from error
    return file


def _on_grid(ticks: np.ndarray, resolution: int) -> np.ndarray:
    """File ticks as grid ticks, halves rounded up."""
    return (ticks * (2 * TICKS_PER_QUARTER) + resolution) // (2 * resolution)


class _Reader:
    """Pairs note events over the tracks of one file."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, int, int, int, int]] = []
        self.percussion = 0
        self.tempo: float | None = None
        self.key: str | None = None
        self.time_signature: str | None = None
        self._parts = 0

    def read_track(self, track: m21midi.MidiTrack) -> None:
        from music21.midi import ChannelVoiceMessages, MetaEvents

        note_on, note_off = ChannelVoiceMessages.NOTE_ON, ChannelVoiceMessages.NOTE_OFF
        parts: dict[int, int] = {}
        sounding: dict[tuple[int, int], list[tuple[int, int]]] = {}
        now = 0
        for event in track.events:
            kind = event.type
            if kind == "DeltaTime":
                if event.time > MAX_DELTA:  # music21 reads any number of digits
                    raise MidiError("damaged", "a delta time of more than four bytes")
                now += event.time
            elif kind is note_on or kind is note_off:
                channel, pitch, velocity = event.channel, event.parameter1, event.parameter2
                if pitch > 127 or velocity > 127:
                    raise MidiError("damaged", f"a note with the data bytes {pitch}, {velocity}")
                if kind is note_on and velocity > 0:
                    if channel == PERCUSSION_CHANNEL:
                        self.percussion += 1
                        continue
                    if channel not in parts:
                        parts[channel] = self._parts
                        self._parts += 1
                    sounding.setdefault((channel, pitch), []).append((now, velocity))
                else:
                    self._end(sounding.pop((channel, pitch), ()), now, channel, pitch, parts)
            elif kind is MetaEvents.SET_TEMPO:
                self._set_tempo(event.data)
            elif kind is MetaEvents.TIME_SIGNATURE:
                self._set_time_signature(event.data)
            elif kind is MetaEvents.KEY_SIGNATURE:
                self._set_key(event.data)
        for (channel, pitch), started in sounding.items():
            self._end(started, now, channel, pitch, parts)

    def _end(self, started, now: int, channel: int, pitch: int, parts: dict[int, int]) -> None:
        for onset, velocity in started:
            self.notes.append((onset, now, pitch, velocity, parts[channel]))
        if len(self.notes) > MAX_NOTES:
            raise MidiError("too-many-notes", f"more than {MAX_NOTES:,} notes")

    def _set_tempo(self, data) -> None:
        if self.tempo is None and isinstance(data, bytes) and len(data) == 3 and any(data):
            self.tempo = round(60_000_000 / int.from_bytes(data, "big"), 3)

    def _set_time_signature(self, data) -> None:
        plausible = isinstance(data, bytes) and len(data) >= 2 and data[0] and data[1] <= 6
        if self.time_signature is None and plausible:
            self.time_signature = f"{data[0]}/{2 ** data[1]}"

    def _set_key(self, data) -> None:
        if self.key is not None or not isinstance(data, bytes) or len(data) < 2:
            return
        count = data[0] - 256 if data[0] > 127 else data[0]
        if abs(count) > 7 or data[1] > 1:
            return
        names = ((_SHARPS, _FLATS) if data[1] == 0 else (_MINOR_SHARPS, _MINOR_FLATS))[count < 0]
        self.key = f"{names[abs(count)]} {('major', 'minor')[data[1]]}"


def write_midi(song: Song, text: str = "") -> bytes:
    """A type 1 MIDI file that any reader turns back into the same notes.

    Args:
      song: onsets and durations in grid ticks; tempo 120 where it has none.
      text: a remark for the file's text event (who made it, and how).

    Returns:
      The file's bytes; the same song and text give the same bytes.

    Raises:
      ValueError: a note lies outside what MIDI can say.
    """
    from music21 import midi as m21midi

    notes = song.notes
    if len(notes) and (
        notes[:, ONSET].min() < 0
        or notes[:, DURATION].min() < 1
        or not 0 <= notes[:, PITCH].min() <= notes[:, PITCH].max() <= 127
        or not 1 <= notes[:, VELOCITY].min() <= notes[:, VELOCITY].max() <= 127
    ):
        raise ValueError("a note has a negative onset, no duration, or a pitch or velocity > 127")

    file = m21midi.MidiFile()
    file.format = 1
    file.ticksPerQuarterNote = WRITTEN_TICKS_PER_QUARTER
    file.tracks = [_conductor_track(song, text)]
    channels = [channel for channel in range(1, 17) if channel != PERCUSSION_CHANNEL]
    for index, lane in enumerate(_lanes(notes)):
        file.tracks.append(_note_track(index + 1, channels[index % len(channels)], lane))
    return file.writestr()


def _lanes(notes: np.ndarray) -> list[np.ndarray]:
    """Notes by part, so that no lane holds two sounding notes of one pitch."""
    lanes: list[np.ndarray] = []
    for part in np.unique(notes[:, PART]) if len(notes) else ():
        rows = notes[notes[:, PART] == part]
        busy_until: list[dict[int, int]] = []
        placed: list[list[np.ndarray]] = []
        for row in rows:
            pitch, onset = int(row[PITCH]), int(row[ONSET])
            free = (i for i, busy in enumerate(busy_until) if busy.get(pitch, 0) <= onset)
            lane = next(free, len(busy_until))
            if lane == len(busy_until):
                busy_until.append({})
                placed.append([])
            busy_until[lane][pitch] = onset + int(row[DURATION])
            placed[lane].append(row)
        lanes.extend(np.array(rows) for rows in placed)
    return lanes


def _conductor_track(song: Song, text: str) -> m21midi.MidiTrack:
    from music21.midi import MetaEvents, MidiTrack

    track = MidiTrack(0)
    timed = []
    if song.title:
        timed.append((0, _meta(track, MetaEvents.SEQUENCE_TRACK_NAME, _encoded(song.title))))
    if text:
        timed.append((0, _meta(track, MetaEvents.TEXT_EVENT, _encoded(text))))
    microseconds = round(60_000_000 / (song.tempo or 120.0))
    tempo = min(max(microseconds, 1), 0xFFFFFF).to_bytes(3, "big")
    timed.append((0, _meta(track, MetaEvents.SET_TEMPO, tempo)))
    if song.time_signature:
        beats, unit = (int(number) for number in song.time_signature.split("/"))
        data = bytes([beats, unit.bit_length() - 1, 24, 8])
        timed.append((0, _meta(track, MetaEvents.TIME_SIGNATURE, data)))
    _fill(track, timed)
    return track


def _encoded(text: str) -> bytes:
    # A file's name, which often makes the title, may hold bytes that are no text.
    return text.encode("utf-8", "replace")


def _note_track(index: int, channel: int, notes: np.ndarray) -> m21midi.MidiTrack:
    from music21.midi import ChannelVoiceMessages, MidiEvent, MidiTrack

    track = MidiTrack(index)
    scale = WRITTEN_TICKS_PER_QUARTER // TICKS_PER_QUARTER
    timed = []
    for row in notes.tolist():
        ends = ((row[ONSET], 1, row[VELOCITY]), (row[ONSET] + row[DURATION], 0, 0))
        for tick, starts, velocity in ends:
            kind = ChannelVoiceMessages.NOTE_ON if starts else ChannelVoiceMessages.NOTE_OFF
            event = MidiEvent(track, type=kind, channel=channel)
            event.pitch, event.velocity = row[PITCH], velocity
            # At one tick, what ends comes before what begins.
            timed.append(((tick * scale, starts, row[PITCH]), event))
    timed.sort(key=lambda pair: pair[0])
    _fill(track, [(key[0], event) for key, event in timed])
    return track


def _meta(track: m21midi.MidiTrack, kind, data: bytes) -> m21midi.MidiEvent:
    from music21.midi import MidiEvent

    event = MidiEvent(track, type=kind)
    event.data = data
    return event


def _fill(track: m21midi.MidiTrack, timed: list[tuple[int, m21midi.MidiEvent]]) -> None:
    """Adds events at absolute ticks, with the deltas between them and an end."""
    from music21.midi import DeltaTime, MetaEvents

    now = 0
    for tick, event in [*timed, (None, _meta(track, MetaEvents.END_OF_TRACK, b""))]:
        delta = 0 if tick is None else tick - now
        now += delta
        track.events.append(DeltaTime(track, time=delta))
        track.events.append(event)
