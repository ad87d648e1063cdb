"""MIDI files by hand: what the tests of reading are written in."""

from music.song import TICKS_PER_QUARTER


def number(value):
    """A variable-length number."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def chunk(*events):
    """A track of (delta, bytes)."""
    body = b"".join(number(delta) + data for delta, data in events)
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def header(kind, tracks, division):
    return b"MThd" + b"".join(
        value.to_bytes(size, "big")
        for value, size in ((6, 4), (kind, 2), (tracks, 2), (division, 2))
    )


def file_of(*tracks, kind=1, division=TICKS_PER_QUARTER):
    return header(kind, len(tracks), division) + b"".join(chunk(*track) for track in tracks)


def on(pitch, velocity=80, channel=1):
    return bytes([0x90 | channel - 1, pitch, velocity])


def off(pitch, velocity=0, channel=1):
    return bytes([0x80 | channel - 1, pitch, velocity])


def meta(kind, *data):
    return bytes([0xFF, kind]) + number(len(data)) + bytes(data)


END = (0, meta(0x2F))
NOTE = [(0, on(60)), (24, off(60)), END]
