"""The container of a MIDI file: its chunks, its tracks, its events, one at a time.

A Standard MIDI File (MIDI Manufacturers Association, RP-001) is a header and a
row of chunks, and a track is a chunk that ends with an event of its own. Files
from the wild break these rules in a few well-known ways, and players play them
all the same. So does this module: a track ends where its end-of-track event
stands, whatever its length says; what is no track is passed over; and every such
mending is put on record as a `Repair`. What cannot be mended without guessing at
the music is refused: a file that lost an unknown share of its notes is no example
to learn from.

The events themselves are decoded by music21 (`music.events`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

from music.errors import MidiError
from music.events import Message, decoded, decoded_number
from music.repairs import Repairs

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_NOTES = 200_000
MAX_QUARTERS = 20_000

_TRACK = b"MTrk"
_HEADER_BYTES = 14
_NUMBER_BYTES = 4  # of seven bits each, at most
_END_OF_TRACK = b"\xff\x2f\x00"

# How many data bytes follow a status byte, by its first half; 0xF0 is a chapter
# of its own. System messages are meant for cables and have no place in a file.
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_SYSTEM, _SYSEX, _ESCAPE, _META = 0xF0, 0xF0, 0xF7, 0xFF
_META_END, _META_TEMPO, _META_METER, _META_KEY = 0x2F, 0x51, 0x58, 0x59
_META_READ = frozenset([_META_TEMPO, _META_METER, _META_KEY])
_LONGEST_READ = 64  # bytes of a meta or system exclusive event that means anything here

_EVENTS_BETWEEN_CHECKS = 1024


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may ask of us.

    Memory follows from these: about 180 bytes an event at the worst.

    Attributes:
      bytes: of the file.
      events: of all its tracks; a chunk counts as one, too.
      notes: without percussion.
      quarters: from its beginning to its last note's end.
      silence: quarters in which no note begins, before the last one ends.
      seconds: of decoding.
    """

    bytes: int = MAX_FILE_BYTES
    events: int = 1_000_000
    notes: int = MAX_NOTES
    quarters: int = MAX_QUARTERS
    silence: int = 1_000
    seconds: float = 30.0


LIMITS = Limits()


class Smf:
    """A MIDI file's header and tracks.

    Attributes:
      division: ticks a quarter.
      repairs: what was mended; complete when `tracks` has come to its end.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        """Reads the header.

        Args:
          data: the whole file; a RIFF wrapper (`.rmi`) is taken off.
          limits: its bytes, events and seconds are kept here.

        Raises:
          MidiError: `empty`, `too-large`, `not-midi`, `truncated`, `type-2`,
            `smpte` or `damaged`.
        """
        if not data:
            raise MidiError("empty", "the file has no bytes")
        if len(data) > limits.bytes:
            raise MidiError("too-large", f"more than {limits.bytes:,} bytes; no more are read")
        self.repairs = Repairs()
        self._limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._events = 0
        self._data = data = _unwrapped(data)
        if data[:4] != b"MThd":
            raise MidiError("not-midi", "the file does not begin with a MIDI header")
        if len(data) < _HEADER_BYTES:
            raise MidiError("truncated", "the file breaks off inside its header")
        self._kind, self._announced, self.division = (
            int.from_bytes(data[at : at + 2], "big") for at in (8, 10, 12)
        )
        if self._kind == 2:
            # Type 2 holds songs of their own side by side, not parts of one.
            raise MidiError("type-2", "type 2 (independent sequences); types 0 and 1 are read")
        if self._kind > 2:
            raise MidiError("damaged", f"the header names type {self._kind}; there are 0, 1 and 2")
        if self.division & 0x8000:
            raise MidiError("smpte", "time is counted in film frames, not in ticks of a quarter")
        if self.division == 0:
            raise MidiError("damaged", "the header counts 0 ticks a quarter")
        self._first_chunk = self._after_header()

    def _after_header(self) -> int:
        """Where the first chunk begins."""
        length = int.from_bytes(self._data[4:8], "big")
        # A longer header is the standard's own door to the future.
        if length == 6 or (length > 6 and self._is_chunk(8 + length)):
            return 8 + length
        if self._is_chunk(_HEADER_BYTES):
            self.repairs.note("header-length", f"the header claims {length:,} bytes; it has 6")
            return _HEADER_BYTES
        if 8 + length > len(self._data):
            raise MidiError("truncated", "the file breaks off inside its header")
        raise MidiError("damaged", f"after a header of {length:,} bytes comes no chunk")

    def _is_chunk(self, at: int) -> bool:
        """Whether a chunk may begin here: a track, or one that fits into the file."""
        name = self._data[at : at + 4]
        if name == _TRACK:
            return True
        length = int.from_bytes(self._data[at + 4 : at + 8], "big")
        fits = at + 8 <= len(self._data) and at + 8 + length <= len(self._data)
        return fits and name.isascii() and name.decode().isprintable()

    def tracks(self) -> Iterator[Iterator[tuple[int, Message]]]:
        """The tracks, each an iterator to be run to its end before the next.

        A track gives (tick from the file's beginning, message) of its notes,
        controllers, programs, tempi, time and key signatures and short system
        exclusive messages, and at its end (tick, end-of-track event), also where
        the file has none.

        Raises:
          MidiError: `truncated` or `damaged`, `too-large` for too many events, or
            `time-out`.
        """
        data, at, found, foreign = self._data, self._first_chunk, 0, 0
        self._at = at
        while at < len(data):
            self._count()
            if data[at : at + 4] == _TRACK and at + 8 <= len(data):
                found += 1
                self._track = found
                yield self._track_events(at + 8)
                at = self._at
            elif data[at : at + 4] != _TRACK and self._is_chunk(at):
                foreign += 1
                name = data[at : at + 4].decode()
                self.repairs.note("foreign-chunk", f"a chunk {name!r} is no track; passed over")
                at += 8 + int.from_bytes(data[at + 4 : at + 8], "big")
            else:
                if found < self._announced and _TRACK.startswith(data[at : at + 4]):
                    raise MidiError("truncated", f"the file breaks off before track {found + 1:,}")
                following = data.find(_TRACK, at + 1)
                extra = (following if following >= 0 else len(data)) - at
                foreign += 1
                self.repairs.note("extra-bytes", f"{_bytes(extra)} after track {found:,}; ignored")
                at += extra
        self.check()  # for what came since the last look
        self._compare(found, foreign)

    def _compare(self, found: int, foreign: int) -> None:
        """The tracks that are there with those that the header announces."""
        told = f"tracks announced: {self._announced:,}, found: {found:,}"
        if found < self._announced and foreign:
            # One of the foreign pieces may have been a track.
            raise MidiError("damaged", f"{told}, besides {foreign:,} of what is no track")
        broken_off = "end-of-track" in self.repairs or "last-byte" in self.repairs
        if found < self._announced and (found == 0 or broken_off):
            raise MidiError("truncated", told)
        if found != self._announced:
            missing = self._announced - found
            doubt = f"; if the header is right, {missing:,} are missing" if missing > 0 else ""
            self.repairs.note("track-count", told + doubt)
        if self._kind == 0 and found > 1:
            self.repairs.note("type-0", f"type 0 with {found:,} tracks; read as type 1")

    def _count(self) -> None:
        """Counts an event, and looks at the limits now and then."""
        self._events += 1
        if self._events % _EVENTS_BETWEEN_CHECKS == 0:
            self.check()

    def check(self) -> None:
        """Looks at the limits of events and seconds.

        Raises:
          MidiError: `too-large` or `time-out`.
        """
        if self._events > self._limits.events:
            raise MidiError("too-large", f"more than {self._limits.events:,} events")
        if time.monotonic() > self._deadline:
            seconds = f"{self._limits.seconds:g} s"
            raise MidiError("time-out", f"not decoded within {seconds}; it may ask for no more")

    def _track_events(self, at: int) -> Iterator[tuple[int, Message]]:
        """A track's events, from the first byte after its length; sets `_at` at its end."""
        data = self._data
        claimed = at + int.from_bytes(data[at - 4 : at], "big")
        # A length is believed when it leads to the file's end or to another chunk.
        believed = claimed == len(data) or (claimed < len(data) and self._is_chunk(claimed))
        limit = claimed if believed else len(data)
        # Where it is not, the next track may begin anywhere.
        fence = limit if believed else self._next_track(at)

        now, status, data_bytes, prefix = 0, 0, 0, b""
        ended = False
        while not ended and at < limit:
            if at >= fence:
                if at == fence:
                    break
                fence = self._next_track(at)
            self._events += 1
            if self._events % _EVENTS_BETWEEN_CHECKS == 0:
                self.check()

            delta, body = data[at], at + 1
            if delta > 0x7F:
                delta, size = self._number(at, limit)
                if not size:
                    break
                body = at + size
            if body >= limit:
                break
            first = data[body]
            if first < _SYSTEM:
                # A status byte holds until the next one, also over what is no
                # channel's message: the standard forbids it, players allow it.
                if first >= 0x80:
                    body += 1
                    if first != status:
                        status, data_bytes = first, _DATA_BYTES[first >> 4]
                        prefix = bytes([first])
                elif not status:
                    raise self._damaged("a data byte before any status byte", at)
                end = body + data_bytes
                if end > limit:
                    break
                values = data[body:end]
                tell = values.isascii()  # no byte above 127
                if tell:
                    message = decoded(prefix + values)
                elif status < 0xA0:
                    raise self._damaged(f"a note with the data bytes {tuple(values)}", at)
                else:
                    self.repairs.note("data-byte", "a controller's value above 127; passed over")
            else:
                end, tell, ended = self._system_event(body, limit)
                if end > limit:
                    ended = False
                    break
                if tell:
                    message = decoded(data[body:end])
            now += delta
            at = end
            if tell:
                yield now, message

        self._at = self._end_of_track(at, claimed, believed, ended)
        yield now, decoded(_END_OF_TRACK)

    def _system_event(self, at: int, limit: int) -> tuple[int, bool, bool]:
        """What is no channel's message: meta events, system exclusive and the illegal rest.

        Args:
          at: where its status byte stands.
          limit: where the bytes end that may belong to it.

        Returns:
          Where it ends (beyond `limit`: it is cut off), whether it is worth
          decoding, and whether it ends the track.
        """
        first = self._data[at]
        if first not in (_META, _SYSEX, _ESCAPE):
            end = at + 1 + _SYSTEM_DATA_BYTES.get(first, 0)
            if not self._data[at + 1 : min(end, limit)].isascii():
                raise self._damaged(f"a system message {first:X} without its data", at)
            if end <= limit:
                told = f"a system message {first:X} in a track; ignored"
                self.repairs.note("illegal-message", told)
            return end, False, False
        counted = at + (2 if first == _META else 1)
        length, size = self._number(counted, limit)
        if not size:
            return limit + 1, False, False
        kind = self._data[at + 1] if first == _META else None
        known = kind in _META_READ or first == _SYSEX
        return counted + size + length, known and length <= _LONGEST_READ, kind == _META_END

    def _number(self, at: int, limit: int) -> tuple[int, int]:
        """A variable-length number and how many bytes it takes; (0, 0) if it is cut off."""
        for size in range(1, _NUMBER_BYTES + 1):
            if at + size > limit:
                return 0, 0
            if self._data[at + size - 1] < 0x80:
                return decoded_number(self._data[at : at + size]), size
        raise self._damaged("a number of more than four bytes", at)

    def _next_track(self, at: int) -> int:
        found = self._data.find(_TRACK, at)
        return found if found >= 0 else len(self._data)

    def _end_of_track(self, at: int, claimed: int, believed: bool, ended: bool) -> int:
        """Where to look for the next chunk, once the events are read.

        Args:
          at: the end of the last whole event.
          claimed: the track's end by its length.
          believed: whether a chunk or the file's end is there.
          ended: whether the last event was an end of track.
        """
        data, repairs, track = self._data, self.repairs, f"track {self._track:,}"
        if ended and at == claimed:
            return at
        if ended and believed:
            following = data.find(_TRACK, at, claimed)
            if following < 0:
                told = f"{_bytes(claimed - at)} after the end of {track}; ignored"
                repairs.note("after-end", told)
                return claimed
            repairs.note("chunk-length", f"the length of {track} reaches over the next one")
            return following
        if ended:
            wrong = f"the length of {track} is wrong by {claimed - at:+,} bytes"
            repairs.note("chunk-length", f"{wrong}; read to its end-of-track event")
            return at
        if not believed and data[at : at + 4] == _TRACK:
            repairs.note("chunk-length", f"{track} ends at the next one, not where it claims")
            repairs.note("end-of-track", f"{track} has no end-of-track event")
            return at
        limit = claimed if believed else len(data)
        tail, missing = data[at:limit], claimed - limit
        if not tail and (believed or missing == 1 + len(_END_OF_TRACK)):
            repairs.note("end-of-track", f"{track} has no end-of-track event")
        elif _is_end(tail, None if believed else missing):
            repairs.note("last-byte", f"{track} breaks off inside its end-of-track event")
        elif believed:
            raise self._damaged("an event that does not fit into it", at)
        else:
            raise MidiError("truncated", f"the file breaks off inside {track} at byte {at:,}")
        return limit

    def _damaged(self, what: str, at: int) -> MidiError:
        return MidiError("damaged", f"track {self._track:,} has {what} (at byte {at:,})")


def _is_end(tail: bytes, missing: int | None) -> bool:
    """Whether bytes are the beginning of an end-of-track event with its delta.

    Args:
      tail: what there is of it.
      missing: how many bytes must follow to make it whole; None: any number, but
        then its status byte must be there.
    """
    digits = len(tail) - len(tail.lstrip(bytes(range(0x80, 0x100)))) + 1
    begun = tail[digits:]
    if not tail or digits > _NUMBER_BYTES or not _END_OF_TRACK.startswith(begun):
        return False
    return bool(begun) if missing is None else len(tail) + missing == digits + 3


def _unwrapped(data: bytes) -> bytes:
    """What a RIFF file of the form RMID holds, or the data as they are."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return data


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count:,} bytes"
