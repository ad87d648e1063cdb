"""Which notes are drums.

Channel 10 is the drummer's, says General MIDI, and most files leave it at that.
Some move the drums, by a message or by the bank of sounds they ask for, and a
reader that looks at the channel alone takes a drum kit for a melody, or drops a
melody as a drum kit. What is understood here:

- GM and GM2 System On and Off, GS Reset, XG System On: channel 10, and no other.
- GS "use for rhythm part" (address 40 1x 15) and XG "part mode" (08 pp 07): a
  part becomes a drum part, or ceases to be one.
- Bank 120, a rhythm channel of GM2, and 121, a melody channel, from the channel's
  next program change on; banks 126 and 127 (effects and drums) once XG is on,
  since elsewhere the same numbers mean other sounds.

Sources: General MIDI 2 (MMA RP-024), Roland's SC-88 and Yamaha's XG documents.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np

PERCUSSION_CHANNEL = 10

_GM2_RHYTHM, _GM2_MELODY = 120, 121
_XG_DRUMS = (126, 127)
# Kinds of switches.
_SYSTEM, _PART, _BANK = range(3)

_SWITCHES_BETWEEN_CHECKS = 2**14


class Drums:
    """The drum parts of a file as they are switched on and off.

    To be told of the messages of one track after the other; the switches of all
    tracks are put into the order of their times before notes are asked about.
    Time and memory grow with the number of switches, of which a hostile file may
    hold a million, whatever they do to how many channels.
    """

    def __init__(self) -> None:
        # Machine integers: 11 bytes a switch.
        self._ticks = array("q")
        self._kinds, self._channels, self._values = (array("b") for _ in range(3))
        self._bank: dict[int, int] = {}
        self._chosen: dict[int, int] = {}

    def begin_track(self) -> None:
        """Forgets the banks: a channel's bank and program stand in one track."""
        self._bank.clear()
        self._chosen.clear()

    def bank(self, channel: int, value: int) -> None:
        """Bank select (controller 0)."""
        self._bank[channel] = value

    def program(self, tick: int, channel: int) -> None:
        """A program change, at which the bank comes into force."""
        bank = self._bank.get(channel)
        if bank is not None and self._chosen.get(channel) != bank:
            self._chosen[channel] = bank
            self._add(tick, _BANK, channel, bank)

    def exclusive(self, tick: int, data: bytes) -> None:
        """A system exclusive message, without F0, as the file has it."""
        switch = _switch(data)
        if switch is not None:
            self._add(tick, *switch)
            self._chosen.clear()

    def _add(self, tick: int, kind: int, channel: int, value: int) -> None:
        self._ticks.append(tick)
        self._kinds.append(kind)
        self._channels.append(channel)
        self._values.append(value)

    def among(
        self, ticks: np.ndarray, channels: np.ndarray, check: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """Which notes are drums.

        Args:
          ticks: int64[N], the notes' onsets.
          channels: int64[N], 1 to 16.
          check: called now and then; what it raises ends the work.

        Returns:
          bool[N].
        """
        drums = channels == PERCUSSION_CHANNEL
        for channel, (since, on) in self._states(check).items():
            mine = channels == channel
            # The last change at or before each onset; none: as General MIDI has it.
            last = np.searchsorted(np.array(since), ticks[mine], side="right") - 1
            then = np.frombuffer(on, bool)[last]
            drums[mine] = np.where(last >= 0, then, channel == PERCUSSION_CHANNEL)
        return drums

    def _states(self, check: Callable[[], None]) -> dict[int, tuple[array[int], bytearray]]:
        """Of every channel that changes: when, and whether it drums from then on."""
        rhythm: dict[int, bool] = {}  # by messages to a part
        forced: dict[int, bool] = {}  # by the bank
        xg = False
        states: dict[int, tuple[array[int], bytearray]] = {}
        for tick, kind, channel, value in self._in_time(check):
            touched: Iterable[int] = (channel,)
            if kind == _SYSTEM:
                xg = bool(value)
                # No others can change, and each of them was switched since the last reset.
                touched = rhythm.keys() | forced.keys()
                rhythm.clear()
                forced.clear()
            elif kind == _PART:
                rhythm[channel] = bool(value)
            elif value in (_GM2_RHYTHM, _GM2_MELODY):
                forced[channel] = value == _GM2_RHYTHM
            elif xg and value in _XG_DRUMS:
                forced[channel] = True
            else:
                forced.pop(channel, None)
            for one in touched:
                default = one == PERCUSSION_CHANNEL
                drums = forced.get(one, rhythm.get(one, default))
                since, on = states.get(one, ((), (default,)))
                if drums != on[-1]:
                    since, on = states.setdefault(one, (array("q"), bytearray()))
                    since.append(tick)
                    on.append(drums)
        return states

    def _in_time(self, check: Callable[[], None]) -> Iterator[tuple[int, int, int, int]]:
        """The switches (tick, kind, channel, value) by tick, then as they were told."""
        order = np.argsort(np.array(self._ticks, np.int64), kind="stable")
        rows = (self._ticks, self._kinds, self._channels, self._values)
        columns = [np.frombuffer(row, row.typecode) for row in rows]
        for begin in range(0, len(order), _SWITCHES_BETWEEN_CHECKS):
            check()
            some = order[begin : begin + _SWITCHES_BETWEEN_CHECKS]
            yield from zip(*(column[some].tolist() for column in columns), strict=True)


def _switch(data: bytes) -> tuple[int, int, int] | None:
    """What a system exclusive message switches: (kind, channel, value), or None."""
    maker = data[:1]
    if maker == b"\x7e" and data[2:3] == b"\x09":  # General MIDI on and off
        return _SYSTEM, 0, False
    if maker == b"\x41" and data[2:5] == b"\x42\x12\x40" and len(data) >= 8:  # Roland GS
        if data[5:7] == b"\x00\x7f":
            return _SYSTEM, 0, False
        if data[5] >> 4 == 1 and data[6] == 0x15:
            return _PART, _gs_channel(data[5] & 0x0F), data[7] > 0
    if maker == b"\x43" and data[2:3] == b"\x4c" and len(data) >= 7:  # Yamaha XG
        if data[3:6] == b"\x00\x00\x7e":
            return _SYSTEM, 0, True
        if data[3] == 0x08 and data[4] < 16 and data[5] == 0x07:
            return _PART, data[4] + 1, data[6] > 0
    return None


def _gs_channel(block: int) -> int:
    """The channel of a GS part: block 0 is the drummer's, the others follow in order."""
    if block == 0:
        return PERCUSSION_CHANNEL
    return block if block < PERCUSSION_CHANNEL else block + 1
