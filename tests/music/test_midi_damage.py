"""Damaged files and hostile ones: a song or a reason, soon, and never fewer notes unsaid."""

import random
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from music.errors import MidiError
from music.midi import Limits, parse_midi, read_midi, write_midi
from music.song import DURATION, ONSET, PITCH, VELOCITY, Song
from tests.music.smf_bytes import END, NOTE, file_of, meta, off, on

RUNNING = [(0, on(60)), (12, bytes([60, 0])), (0, bytes([62, 80])), (300, off(62)), END]
OTHERS = [(0, meta(0x59, 2, 0)), (0, bytes([0xC0, 19])), (0, b"\xf0\x05\x7e\x7f\x09\x01\xf7")]
WRITTEN = Song(
    [(i * 12, 12 + i % 3 * 6, 60 + i % 7, 70 + i, i % 2) for i in range(12)],
    title="minuet",
    tempo=96.0,
    time_signature="3/4",
)
SOUND = [
    write_midi(WRITTEN, text="a remark"),
    file_of([*OTHERS, *NOTE], [(0, bytes([0xB0, 7, 100])), *NOTE]),
    file_of(RUNNING, kind=0),
]
ROUNDS = 500
SECONDS = 1.0  # of this process's own time, a file; a sound one takes a thousandth


def flipped(data, draw):
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def replaced(data, draw):
    at = draw.randrange(len(data))
    return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def cut_out(data, draw):
    at = draw.randrange(len(data))
    return data[:at] + data[at + draw.randint(1, 16) :]


def doubled(data, draw):
    at = draw.randrange(len(data))
    return data[: at + draw.randint(1, 16)] + data[at:]


def inserted(data, draw):
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(draw.randint(1, 16)) + data[at:]


def chunks_of(data):
    parts, at = [], 0
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        parts.append(data[at:end])
        at = end
    return parts


def swapped(data, draw):
    parts = chunks_of(data)
    draw.shuffle(parts)
    return b"".join(parts)


def falsified(data, draw):
    """Another length in one of the chunks."""
    parts = chunks_of(data)
    which = draw.randrange(len(parts))
    length = draw.choice([0, 1, draw.randrange(64), draw.randrange(2**16), draw.randrange(2**32)])
    parts[which] = parts[which][:4] + length.to_bytes(4, "big") + parts[which][8:]
    return b"".join(parts)


def shortened(data, draw):
    return data[: draw.randrange(len(data))]


KINDS = [flipped, replaced, cut_out, doubled, inserted, swapped, falsified, shortened]


def outcome(data):
    """The song or the reason against it, after a look at the clock."""
    began = time.process_time()
    try:
        result, told = parse_midi(data).song, "a song"
    except MidiError as error:
        result, told = error.reason, error.detail
    assert time.process_time() - began < SECONDS
    assert told.isprintable()
    return result


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_damaged_file_gives_a_song_or_says_why_not(kind):
    draw = random.Random(f"segue {kind.__name__}")
    songs = 0
    for _ in range(ROUNDS):
        data = kind(draw.choice(SOUND), draw)
        if draw.random() < 0.25 and len(data) > 14:
            data = draw.choice(KINDS[:5])(data, draw)
        song = outcome(data)
        if isinstance(song, str):
            continue
        songs += 1
        notes = song.notes
        assert len(notes) > 0
        assert notes[:, ONSET].min() >= 0
        assert notes[:, DURATION].min() >= 1
        assert 0 <= notes[:, PITCH].min() <= notes[:, PITCH].max() <= 127
        assert 1 <= notes[:, VELOCITY].min() <= notes[:, VELOCITY].max() <= 127
        # What was read can be written, too.
        assert np.array_equal(read_midi(write_midi(song)).notes[:, :4], notes[:, :4])
    assert 0 < songs < ROUNDS


@pytest.mark.parametrize("data", SOUND, ids=["written", "two-tracks", "type-0"])
def test_a_file_that_breaks_off_keeps_all_its_notes_or_is_refused(data):
    whole = read_midi(data).notes
    boundaries = {len(b"".join(chunks_of(data)[:count])) for count in range(2, 9)}
    for size in range(len(data)):
        song = outcome(data[:size])
        if isinstance(song, Song):
            # Only the header's count can miss a track that went without a trace.
            assert np.array_equal(song.notes, whole) or size in boundaries


@pytest.mark.parametrize("data", SOUND, ids=["written", "two-tracks", "type-0"])
def test_a_false_length_costs_no_note(data):
    whole, draw = read_midi(data).notes, random.Random("lengths")
    for _ in range(300):
        song = outcome(falsified(data, draw))
        assert song == "truncated" or np.array_equal(song.notes, whole)


def test_tracks_in_another_order_are_the_same_notes():
    draw = random.Random("order")
    for _ in range(30):
        song = outcome(swapped(SOUND[0], draw))
        # The header may have lost its place.
        assert song == "not-midi" or np.array_equal(song.notes[:, :4], WRITTEN.notes[:, :4])


# ---- files that mean harm -----------------------------------------------------


def raw(*tracks, division=24):
    """A file of tracks given as bytes, with their lengths."""
    return struct.pack(">4sIHHH", b"MThd", 6, 1, min(len(tracks), 65_535), division) + b"".join(
        b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks
    )


STOP = b"\x00\xff\x2f\x00"
LOUD = b"\x00\x90\x3c\x50"
FEW = 100_000
EVERY_KEY = b"".join(
    bytes([0, 0x90 | channel, pitch, 80]) for channel in range(15) for pitch in range(128)
)
RESETS = {
    "gm": bytes.fromhex("01f0 05 7e7f0901f7"),
    "gs": bytes.fromhex("01f0 0a 41104212 40007f 0041f7"),
    "xg": bytes.fromhex("01f0 08 43104c 00007e 00f7"),
}
# Every channel asks for the drums' bank of GM2, then for a program: it drums.
BANKS = b"".join(bytes([0, 0xB0 | channel, 0, 120]) for channel in range(16))
PROGRAMS = b"".join(bytes([0, 0xC0 | channel, 1]) for channel in range(16))


def reset_again_and_again(maker, count):
    return raw(BANKS + PROGRAMS + RESETS[maker] * count + LOUD + STOP, division=0x7FFF)


def drums_moved_and_reset(maker, count):
    """Every reset takes the drums from 15 channels, and every round gives them back."""
    rounds = (PROGRAMS + RESETS[maker]) * (count // 17)
    return raw(BANKS + rounds + LOUD + STOP, division=0x7FFF)


HOSTILE = {
    "one-delta-of-thousands-of-quarters": (raw(LOUD + b"\x8a\xaa\x60\x3c\x00" + STOP), "too-long"),
    "a-delta-as-long-as-can-be": (raw(LOUD + b"\xff\xff\xff\x7f\x3c\x00" + STOP), "too-long"),
    "a-meta-event-of-256-megabytes": (
        raw(LOUD + b"\x00\xff\x01\xff\xff\xff\x7f" + STOP),
        "damaged",
    ),
    "an-exclusive-of-256-megabytes": (raw(b"\x00\xf0\xff\xff\xff\x7f" + LOUD + STOP), "damaged"),
    "notes-never-ended": (raw(LOUD + b"\x00\x3c\x50" * FEW + STOP), FEW + 1),
    "notes-of-one-pitch-ended-at-once": (
        raw(LOUD + b"\x00\x3c\x50" * FEW + b"\x18\x3c\x00" + STOP),
        FEW + 1,
    ),
    "note-offs-with-nothing-to-end": (
        raw(LOUD + b"\x01\x3c\x00" + b"\x00\x3c\x00" * FEW + STOP),
        1,
    ),
    "silence-after-silence": (raw(EVERY_KEY + b"\x00\xbf\x7b\x00" * FEW + STOP), 14 * 128),
    "more-events-than-are-read": (raw(b"\x00\xf4" * 3 * FEW + STOP), "too-large"),
    "empty-tracks": (raw(*[STOP] * 30_000, LOUD + b"\x01\x3c\x00" + STOP), 1),
    "tracks-of-no-bytes": (raw(*[b""] * 30_000), "no-notes"),
    "foreign-chunks": (raw() + b"Junk\0\0\0\0" * FEW, "no-notes"),
    "nothing-but-track-names": (raw() + b"MTrk" * FEW, "truncated"),
    "names-of-tracks-in-texts": (
        raw() + b"MTrk\x7f\0\0\0" + b"\x00\xff\x01\x05MTrk." * FEW + STOP,
        "no-notes",
    ),
    "messages-of-one-byte": (raw(b"\x00\xf4" * FEW + STOP), "no-notes"),
    "drums-switched-on-and-off": (
        raw(b"\0\xb0\0\x78\0\xc0\1\0\xb0\0\x79\0\xc0\1" * (FEW // 4) + LOUD + STOP),
        1,
    ),
    "a-byte-again-and-again": (raw() + b"\xff" * 2**20, "no-notes"),
    **{
        f"{maker}-reset-again-and-again": (reset_again_and_again(maker, FEW), 1) for maker in RESETS
    },
    **{
        f"drums-moved-and-{maker}-reset": (drums_moved_and_reset(maker, FEW), 1) for maker in RESETS
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_soon_with_a_song_or_a_reason(name):
    data, expected = HOSTILE[name]
    began = time.process_time()
    try:
        result = len(parse_midi(data, "", Limits(events=200_000)).song)
    except MidiError as error:
        result = error.reason
    assert result == expected
    assert time.process_time() - began < 5.0  # 0.6 s at the most on a quiet machine


def test_twice_the_events_take_twice_the_time():
    def seconds(count):
        body = LOUD + b"\x01\x3c\x00\x00\x3c\x50" * count + b"\x01\x3c\x00" + STOP
        data, best = raw(body), float("inf")
        for _ in range(3):
            began = time.process_time()
            parse_midi(data)
            best = min(best, time.process_time() - began)
        return best

    # Four times at best; a quadratic reader would take 16 times.
    assert seconds(40_000) < 9 * seconds(10_000)


def most_memory(data_source):
    """What became of a file, and the process's peak in KiB; the file as Python source.

    The peak is the kernel's own of this program: `getrusage` counts the process that
    started it, which may have loaded anything, as well.
    """
    program = (
        "from pathlib import Path\n"
        "from music.errors import MidiError\n"
        "from music.midi import parse_midi\n"
        f"body = {data_source} + b'\\0\\xff\\x2f\\0'\n"
        "head = b'MThd\\0\\0\\0\\6\\0\\1\\0\\1\\x7f\\xffMTrk'\n"
        "try:\n"
        "    result = len(parse_midi(head + len(body).to_bytes(4, 'big') + body).song)\n"
        "except MidiError as error:\n"
        "    result = error.reason\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(result, status.split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    result, kilobytes = done.stdout.split()
    return result, int(kilobytes)


def test_a_million_events_are_refused_in_bounded_memory():
    """The file that costs the most memory: a million notes that are never ended."""
    result, kilobytes = most_memory("b'\\0\\x90\\x3c\\x50' + b'\\0\\x3c\\x50' * 998_999")
    assert result == "too-large"
    assert kilobytes < 300 * 1024


def test_a_million_resets_of_16_drum_channels_take_little_memory():
    choose, reset = BANKS + PROGRAMS, RESETS["gm"]
    result, kilobytes = most_memory(f"{choose!r} + {reset!r} * 990_000 + {LOUD!r}")
    assert result == "1"
    assert kilobytes < 180 * 1024
