"""Single MIDI events, decoded by music21.

music21's event layer, `MidiEvent` and `DeltaTime`, gets the bytes of one event at a
time: given a whole track it copies the rest of it at each event, which makes its
time grow with the square of a track's bytes. It gets what is the same only once,
since music says the same few thousand things over and over. And it gets nothing
that it would misread, such as a system message inside a track, or a running status
behind a system exclusive message: `music.smf` sees to that.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple


class Message(NamedTuple):
    """An event less its time.

    Attributes:
      kind: a member of music21's enumerations of MIDI events.
      channel: 1 to 16; 1 where there is none.
      first, second: pitch and velocity, controller and value, or the data's bytes.
    """

    kind: Any
    channel: int
    first: Any
    second: Any


@functools.lru_cache(maxsize=2**12)
def decoded_number(digits: bytes) -> int:
    """A variable-length number, such as a delta time."""
    from music21.midi import DeltaTime

    return DeltaTime().readUntilLowByte(digits)[0]


@functools.lru_cache(maxsize=2**14)
def decoded(event: bytes) -> Message:
    """One whole event, from its status byte on."""
    from music21.midi import MidiEvent

    read = MidiEvent()
    read.read(event)
    return Message(read.type, read.channel, read.parameter1, read.parameter2)
