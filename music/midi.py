"""MIDI files in, MIDI files out.

Reading takes the events of every track (`music.smf`, where music21's event layer
decodes them), pairs the note-ons with their note-offs and puts the notes on the
grid. It stops short of `converter.parse`, which builds measures, voices, ties and
rests that no model here looks at, and takes some fifty times as long.

A part is one channel of one track, numbered in order of appearance. Percussion
(`music.drums`) is counted and left out.

Writing gives every part a track, and lets notes of one pitch that overlap
inside a part spill into tracks of their own. A MIDI note-off says only which
pitch ends, so two overlapping notes of one pitch in one track cannot be told
apart by any reader; in tracks and channels of their own they can.
"""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from music.drums import PERCUSSION_CHANNEL, Drums
from music.errors import MidiError
from music.events import Message
from music.repairs import Repair, Repairs
from music.smf import LIMITS, MAX_FILE_BYTES, MAX_NOTES, MAX_QUARTERS, Limits, Smf
from music.song import (
    DURATION,
    ONSET,
    PART,
    PITCH,
    TICKS_PER_QUARTER,
    VELOCITY,
    Song,
)

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_NOTES",
    "MAX_QUARTERS",
    "MIDI_SUFFIXES",
    "PERCUSSION_CHANNEL",
    "SUFFIXES",
    "Limits",
    "Reading",
    "Repair",
    "Rounding",
    "parse_midi",
    "read_midi",
    "write_midi",
]

if TYPE_CHECKING:
    from music21 import midi as m21midi

WRITTEN_TICKS_PER_QUARTER = 480
# Karaoke files are MIDI files, and .rmi ones have a wrapper that is taken off.
MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
SUFFIXES = f"{', '.join(MIDI_SUFFIXES[:-1])} or {MIDI_SUFFIXES[-1]}"

_SHARPS = ("C", "G", "D", "A", "E", "B", "F#", "C#")
_FLATS = ("C", "F", "B-", "E-", "A-", "D-", "G-", "C-")
_MINOR_SHARPS = ("A", "E", "B", "F#", "C#", "G#", "D#", "A#")
_MINOR_FLATS = ("A", "D", "G", "C", "F", "B-", "E-", "A-")


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


def parse_midi(data: bytes, title: str = "", limits: Limits = LIMITS) -> Reading:
    """The song that a MIDI file's bytes hold.

    A note lasts until the next note-off of its pitch in its track and channel, as
    in music21: one note-off ends all of them. A message that silences a channel
    (all notes off and its kin) ends its notes, too, and a note that is never ended
    lasts until its track's end. Onsets and ends are rounded to the grid separately,
    and no note is shorter than a tick.

    Args:
      data: the whole file, type 0 or 1.
      title: what to call the song.
      limits: what the file may ask of us.

    Raises:
      MidiError: with one of these reasons: `empty`, `not-midi`, `truncated`,
        `damaged`, `type-2`, `smpte`, `no-notes`, `too-large` (bytes, events,
        notes), `too-long` (quarters, silence), `time-out`.
    """
    file = Smf(data, limits)
    reader = _Reader(file.repairs)
    for index, track in enumerate(file.tracks()):
        reader.read_track(index, track)
    raw = reader.notes()
    drums = reader.drums.among(raw[:, 0], raw[:, 5], file.check)
    percussion = int(drums.sum())
    raw = raw[~drums]
    if not len(raw):
        only = f" but {percussion:,} of percussion, which is left out" if percussion else ""
        raise MidiError("no-notes", f"there are no notes{only}")
    if len(raw) > limits.notes:
        raise MidiError("too-large", f"{len(raw):,} notes; at most {limits.notes:,} are read")
    _check_length(raw, file.division, limits)

    start, start_off = _on_grid(raw[:, 0], file.division)
    stop, stop_off = _on_grid(raw[:, 1], file.division)
    off = np.concatenate([start_off, stop_off])
    # Drums take no part number.
    parts = np.unique(raw[:, 4], return_inverse=True)[1]
    notes = np.stack([start, np.maximum(stop - start, 1), raw[:, 2], raw[:, 3], parts], axis=1)
    song = Song(
        notes.astype(np.int32),
        id=hashlib.sha256(data).hexdigest(),
        title=title,
        tempo=reader.tempo,
        key=reader.key,
        time_signature=reader.time_signature,
        percussion=percussion,
    )
    rounding = Rounding(float(off.mean()), float(off.max()), int((start_off > 0).sum()))
    return Reading(song, file.repairs.listed(), rounding)


def _check_length(raw: np.ndarray, division: int, limits: Limits) -> None:
    """Refuses a song that is too long, or silent for too long (int64[N, 2 or more])."""
    last = int(raw[:, 1].max())
    if last > limits.quarters * division:
        told = f"{last // division:,} quarters; at most {limits.quarters:,} are read"
        raise MidiError("too-long", told)
    # From the beginning to the first note, between notes, from the last one to its end.
    silence = int(np.diff(np.sort(raw[:, 0]), prepend=0, append=last).max())
    if silence > limits.silence * division:
        told = f"no note begins for {silence // division:,} quarters"
        raise MidiError("too-long", f"{told}; at most {limits.silence:,} are allowed")


def _on_grid(ticks: np.ndarray, division: int) -> tuple[np.ndarray, np.ndarray]:
    """File ticks as grid ticks, halves rounded up, and how far each was moved (0 to 0.5)."""
    grid, past = np.divmod(ticks * (2 * TICKS_PER_QUARTER) + division, 2 * division)
    return grid, np.abs(past - division) / (2 * division)


class _Reader:
    """Pairs note events over the tracks of one file, and gathers the rest.

    Attributes:
      drums: which notes are percussion.
      tempo, key, time_signature: the earliest of each. Of several at one time the
        first track's counts, and in a track the last one, as for a player.
    """

    def __init__(self, repairs: Repairs) -> None:
        self.drums = Drums()
        self.tempo: float | None = None
        self.key: str | None = None
        self.time_signature: str | None = None
        self._repairs = repairs
        # Machine integers: a hostile file may hold a million notes.
        self._rows = tuple(array("q") for _ in range(5))
        self._channels = array("q")  # of the parts
        self._since: dict[str, tuple[int, int]] = {}

    def notes(self) -> np.ndarray:
        """int64[N, 6]: onset and end in file ticks, pitch, velocity, part, channel."""
        columns = [np.array(row, np.int64) for row in self._rows]
        channels = np.array(self._channels, np.int64)[columns[-1]]
        return np.stack([*columns, channels], axis=1)

    def read_track(self, index: int, events: Iterator[tuple[int, Message]]) -> None:
        """Takes the events of the file's track `index`, as `Smf.tracks` gives them."""
        from music21.midi import ChannelModeMessages, ChannelVoiceMessages, MetaEvents, SysExEvents

        note_on, note_off = ChannelVoiceMessages.NOTE_ON, ChannelVoiceMessages.NOTE_OFF
        silencing = set(ChannelModeMessages) - {
            ChannelModeMessages.RESET_ALL_CONTROLLERS,
            ChannelModeMessages.LOCAL_CONTROL,
        }
        parts: dict[int, int] = {}
        # By channel and pitch: when each sounding note began, and how loud.
        sounding: list[dict[int, list[tuple[int, int]]]] = [{} for _ in range(16 + 1)]
        self.drums.begin_track()
        now = 0
        for now, (kind, channel, first, second) in events:
            if kind is note_on and second:
                if channel not in parts:
                    parts[channel] = len(self._channels)
                    self._channels.append(channel)
                sounding[channel].setdefault(first, []).append((now, second))
            elif kind is note_on or kind is note_off:
                started = sounding[channel].pop(first, None)
                if started:
                    self._end(started, now, first, parts[channel])
            elif kind is ChannelVoiceMessages.PROGRAM_CHANGE:
                self.drums.program(now, channel)
            elif kind is ChannelVoiceMessages.CONTROLLER_CHANGE:
                if first == 0:
                    self.drums.bank(channel, second)
            elif kind in silencing:
                for pitch, started in sounding[channel].items():
                    self._end(started, now, pitch, parts[channel])
                sounding[channel].clear()
            elif kind is SysExEvents.F0_SYSEX_EVENT:
                self.drums.exclusive(now, first)
            elif kind is MetaEvents.SET_TEMPO:
                self._first("tempo", (now, index), _tempo(first))
            elif kind is MetaEvents.TIME_SIGNATURE:
                self._first("time_signature", (now, index), _time_signature(first))
            elif kind is MetaEvents.KEY_SIGNATURE:
                self._first("key", (now, index), _key(first))
        for channel, hanging in enumerate(sounding):
            for pitch, started in hanging.items():
                self._end(started, now, pitch, parts[channel])
                if channel != PERCUSSION_CHANNEL:
                    told = f"track {index + 1:,} never ends a note of pitch {pitch}"
                    self._repairs.note("hanging-note", f"{told}; it lasts until the track's end")

    def _end(self, started: list[tuple[int, int]], now: int, pitch: int, part: int) -> None:
        onsets, ends, pitches, velocities, parts = self._rows
        for onset, velocity in started:
            onsets.append(onset)
            ends.append(now)
            pitches.append(pitch)
            velocities.append(velocity)
            parts.append(part)

    def _first(self, fact: str, when: tuple[int, int], value: float | str | None) -> None:
        """Keeps a fact if it is the earliest of its kind; when: (tick, track)."""
        if value is not None and when <= self._since.get(fact, when):
            self._since[fact] = when
            setattr(self, fact, value)


def _tempo(data: bytes) -> float | None:
    """Quarters a minute from microseconds a quarter; None where they make no sense."""
    if len(data) != 3 or not any(data):
        return None
    return round(60_000_000 / int.from_bytes(data, "big"), 3)


def _time_signature(data: bytes) -> str | None:
    """Beats, and their unit as a power of two."""
    if len(data) < 2 or not data[0] or data[1] > 6:
        return None
    return f"{data[0]}/{2 ** data[1]}"


def _key(data: bytes) -> str | None:
    """Sharps (or, below zero, flats), and whether it is minor."""
    if len(data) < 2:
        return None
    count = data[0] - 256 if data[0] > 127 else data[0]
    if abs(count) > 7 or data[1] > 1:
        return None
    names = ((_SHARPS, _FLATS) if data[1] == 0 else (_MINOR_SHARPS, _MINOR_FLATS))[count < 0]
    return f"{names[abs(count)]} {('major', 'minor')[data[1]]}"


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
