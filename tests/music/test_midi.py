"""MIDI files, byte by byte on the way in and through other readers on the way out."""

import dataclasses
import hashlib
import itertools
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from music import midi
from music.errors import MidiError, SegueError
from music.midi import read_midi, write_midi
from music.song import DURATION, ONSET, PART, PITCH, TICKS_PER_QUARTER, VELOCITY, Song

REICHARDT = Path(__file__).parents[3] / "shared/data/openscore-lieder/Reichardt_Louise"

songs = st.from_type(Song)
songs_with_notes = songs.filter(len)


# ---- files by hand ----------------------------------------------------------


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


def notes_of(data):
    return read_midi(data).notes.tolist()


# ---- reading ----------------------------------------------------------------


def test_a_note_has_onset_duration_pitch_velocity_and_part():
    assert notes_of(file_of([(12, on(64, 99)), (36, off(64)), END])) == [[12, 36, 64, 99, 0]]


def test_a_song_is_named_by_its_bytes_and_its_title():
    data = file_of(NOTE)
    song = read_midi(data, title="minuet")
    assert song.id == hashlib.sha256(data).hexdigest()
    assert song.title == "minuet"


def test_facts_that_the_file_is_silent_about_are_none():
    song = read_midi(file_of(NOTE))
    assert (song.tempo, song.key, song.time_signature, song.percussion) == (None, None, None, 0)


def test_a_status_byte_holds_until_the_next_one():
    running = [(0, on(60)), (0, bytes([64, 70])), (24, bytes([60, 0])), (24, bytes([64, 0])), END]
    assert notes_of(file_of(running)) == [[0, 24, 60, 80, 0], [0, 48, 64, 70, 0]]


def test_note_on_with_velocity_0_ends_a_note():
    assert notes_of(file_of([(0, on(60)), (24, on(60, 0)), END])) == [[0, 24, 60, 80, 0]]


def test_type_0_and_type_1_hold_the_same_notes():
    one = file_of([(0, on(60)), (24, off(60)), (0, on(62)), (24, off(62)), END], kind=0)
    two = file_of(NOTE, [(24, on(62)), (24, off(62)), END])
    assert notes_of(one) == [[0, 24, 60, 80, 0], [24, 24, 62, 80, 0]]
    assert notes_of(two) == [[0, 24, 60, 80, 0], [24, 24, 62, 80, 1]]


def test_each_channel_of_each_track_is_a_part_in_order_of_appearance():
    first = [
        (0, on(60, channel=5)),
        (0, on(64, channel=2)),
        (24, off(60, channel=5)),
        (0, off(64, channel=2)),
        END,
    ]
    second = [(0, on(67, channel=5)), (24, off(67, channel=5)), END]
    notes = notes_of(file_of(first, second))
    assert {note[PITCH]: note[PART] for note in notes} == {60: 0, 64: 1, 67: 2}


def test_a_note_off_ends_its_own_channel_only():
    events = [
        (0, on(60, channel=1)),
        (0, on(60, channel=2)),
        (12, off(60, channel=2)),
        (12, off(60, channel=1)),
        END,
    ]
    assert notes_of(file_of(events, kind=0)) == [[0, 12, 60, 80, 1], [0, 24, 60, 80, 0]]


def test_percussion_is_counted_and_left_out():
    drums = [(0, on(36, channel=10)), (12, off(36, channel=10)), (0, on(38, channel=10)), END]
    song = read_midi(file_of(NOTE, drums))
    assert song.notes.tolist() == [[0, 24, 60, 80, 0]]
    assert song.percussion == 2


def test_percussion_takes_no_part_number():
    drums = [(0, on(36, channel=10)), (12, off(36, channel=10)), END]
    assert read_midi(file_of(drums, NOTE)).parts == [0]


def test_the_first_tempo_is_read_in_quarters_a_minute():
    tempi = [(0, meta(0x51, 0x0A, 0x2C, 0x2B)), (96, meta(0x51, 0x07, 0xA1, 0x20)), END]
    assert read_midi(file_of(tempi, NOTE)).tempo == 90.0  # 60,000,000 / 666,667


@pytest.mark.parametrize(
    ("count", "mode", "name"),
    [
        (0, 0, "C major"),
        (0, 1, "A minor"),
        (3, 0, "A major"),
        (7, 0, "C# major"),
        (4, 1, "C# minor"),
        (-1, 0, "F major"),
        (-1, 1, "D minor"),
        (-3, 1, "C minor"),
        (-6, 0, "G- major"),
        (-7, 1, "A- minor"),
        (8, 0, None),
        (-8, 0, None),
        (0, 2, None),
    ],
)
def test_the_key_signature_is_read(count, mode, name):
    key = meta(0x59, count & 0xFF, mode)
    assert read_midi(file_of([(0, key), *NOTE])).key == name


@pytest.mark.parametrize(
    ("data", "name"),
    [((3, 2), "3/4"), ((6, 3), "6/8"), ((2, 1), "2/2"), ((0, 2), None), ((4, 7), None)],
)
def test_the_time_signature_is_read(data, name):
    assert read_midi(file_of([(0, meta(0x58, *data, 24, 8)), *NOTE])).time_signature == name


@pytest.mark.parametrize("kind", [0x51, 0x58, 0x59])
@pytest.mark.parametrize("data", [(), (0,)])
def test_signatures_too_short_to_be_read_are_passed_over(kind, data):
    song = read_midi(file_of([(0, meta(kind, *data)), *NOTE]))
    assert (song.tempo, song.key, song.time_signature) == (None, None, None)


def test_a_tempo_of_no_time_at_all_is_passed_over():
    assert read_midi(file_of([(0, meta(0x51, 0, 0, 0)), *NOTE])).tempo is None


@pytest.mark.parametrize(
    ("division", "ticks", "grid"),
    [
        (480, 480, 24),
        (480, 9, 0),  # 0.45 of a tick
        (480, 10, 1),  # exactly half: up
        (480, 30, 2),  # 1.5
        (480, 29, 1),
        (96, 2, 1),  # 0.5
        (96, 1, 0),
        (12, 1, 2),
        (1, 3, 72),
        (1000, 1000 * 24 + 21, 24 * 24 + 1),  # 0.504 of a tick over
    ],
)
def test_onsets_are_rounded_to_the_grid_halves_up(division, ticks, grid):
    data = file_of([(ticks, on(60)), (division, off(60)), END], division=division)
    assert notes_of(data)[0][ONSET] == grid


def test_ends_are_rounded_apart_from_onsets():
    # From 0.45 to 1.55 of a tick: 0 to 2, though the note is 1.1 long.
    data = file_of([(9, on(60)), (22, off(60)), END], division=480)
    assert notes_of(data) == [[0, 2, 60, 80, 0]]


def test_no_note_is_shorter_than_a_tick():
    data = file_of([(0, on(60)), (0, off(60)), (1, on(62)), (3, off(62)), END], division=480)
    assert notes_of(data) == [[0, 1, 60, 80, 0], [0, 1, 62, 80, 0]]


def test_a_note_never_ended_lasts_until_its_tracks_end():
    hanging = [(0, on(60)), (24, on(62)), (12, off(62)), (36, meta(0x2F))]
    longer = [(0, on(48)), (480, off(48)), END]
    assert notes_of(file_of(hanging, longer)) == [
        [0, 480, 48, 80, 1],
        [0, 72, 60, 80, 0],
        [24, 12, 62, 80, 0],
    ]


def test_overlapping_notes_of_one_pitch_end_at_the_first_note_off():
    twice = [(0, on(60, 70)), (12, on(60, 90)), (12, off(60)), (12, off(60)), END]
    assert notes_of(file_of(twice)) == [[0, 24, 60, 70, 0], [12, 12, 60, 90, 0]]


def test_a_note_off_without_a_note_is_passed_over():
    assert notes_of(file_of([(0, off(61)), *NOTE])) == [[0, 24, 60, 80, 0]]


def test_what_is_no_note_is_passed_over():
    others = [
        (0, bytes([0xC0, 19])),  # program
        (0, bytes([0xB0, 64, 127])),  # pedal
        (0, bytes([0xE0, 0, 64])),  # pitch bend
        (0, bytes([0xA0, 60, 5])),  # pressure
        (0, bytes([0xD0, 5])),
        (0, b"\xf0\x03\x7e\x09\xf7"),  # system exclusive
        (0, meta(0x01, *b"a remark")),
        (0, meta(0x60, 1, 2)),  # a kind that does not exist
    ]
    assert notes_of(file_of([*others, *NOTE])) == [[0, 24, 60, 80, 0]]


# ---- files that cannot become a song ----------------------------------------


def rejection(data):
    with pytest.raises(MidiError) as caught:
        read_midi(data)
    assert isinstance(caught.value, SegueError)
    assert "\n" not in str(caught.value)
    assert str(caught.value) == f"{caught.value.reason}: {caught.value.detail}"
    return caught.value


@pytest.mark.parametrize("data", [b"", b"MT", b"<html>", b"RIFF" + file_of(NOTE)])
def test_bytes_of_another_kind_are_not_midi(data):
    assert rejection(data).reason == "not-midi"


@pytest.mark.parametrize(
    "data",
    [
        b"MThd",
        file_of(NOTE)[:10],
        file_of(NOTE)[:14],
        file_of(NOTE).replace(b"MTrk", b"MTrx"),
        header(1, 3, 24) + chunk(*NOTE),
        file_of([(0, bytes([0x90, 200, 80])), END]),
        file_of([(0, bytes([0x90, 60, 200])), END]),
    ],
    ids=[
        "signature-alone",
        "half-a-header",
        "header-alone",
        "track-without-a-name",
        "tracks-missing",
        "pitch-over-127",
        "velocity-over-127",
    ],
)
def test_a_broken_file_is_damaged(data):
    assert rejection(data).reason == "damaged"


def test_a_type_2_file_is_named_as_such():
    assert rejection(header(2, 1, 24) + chunk(*NOTE)).reason == "type-2"


@pytest.mark.parametrize("division", [0xE728, 0xE250, 0xE818, 0])
def test_time_that_is_not_counted_in_quarters_is_rejected(division):
    assert rejection(file_of(NOTE, division=division)).reason == "division"


def test_a_file_without_notes_is_rejected_and_its_percussion_told():
    assert rejection(file_of([END])).reason == "no-notes"
    drums = file_of([(0, on(36, channel=10)), (12, on(38, channel=10)), END])
    assert rejection(drums).detail == "there are no notes but 2 of percussion"


def test_a_file_that_is_too_large_is_not_even_decoded(monkeypatch):
    monkeypatch.setattr(midi, "_decode", lambda data: pytest.fail("decoded"))
    error = rejection(b"MThd" + bytes(midi.MAX_FILE_BYTES))
    assert (error.reason, error.detail) == (
        "too-large",
        "2,097,156 bytes; at most 2,097,152 are read",
    )


def test_a_song_may_be_as_long_as_the_limit_and_no_longer():
    def lasting(quarters, more=0):
        return file_of([(0, on(60)), (quarters * 24 + more, off(60)), END])

    assert read_midi(lasting(midi.MAX_QUARTERS)).end == midi.MAX_QUARTERS * 24
    assert rejection(lasting(midi.MAX_QUARTERS, 1)).reason == "too-long"
    assert rejection(lasting(50_000)).detail == "50,000 quarters; at most 20,000 are read"


@pytest.mark.parametrize("digits", [4, 12, 300])
def test_a_delta_of_more_bytes_than_midi_allows_is_damage(digits):
    # music21 reads up to a thousand; from ten on they fit no machine integer.
    body = b"\x00" + on(60) + b"\xff" * digits + b"\x7f" + off(60) + b"\x00" + meta(0x2F)
    data = header(1, 1, 24) + b"MTrk" + len(body).to_bytes(4, "big") + body
    assert rejection(data).reason == "damaged"


def test_the_longest_delta_that_midi_allows_is_too_long_a_song():
    data = file_of([(0, on(60)), (0x0FFFFFFF, off(60)), END], division=0x7FFF)
    assert notes_of(data) == [[0, 196_614, 60, 80, 0]]
    assert rejection(data[:12] + b"\x00\x18" + data[14:]).reason == "too-long"


def test_a_file_may_have_as_many_notes_as_the_limit_and_no_more(monkeypatch):
    monkeypatch.setattr(midi, "MAX_NOTES", 5)

    def having(count):
        return file_of([(1, event) for i in range(count) for event in (on(i), off(i))] + [END])

    assert len(read_midi(having(5))) == 5
    assert rejection(having(6)).reason == "too-many-notes"
    hanging = file_of([(1, on(i)) for i in range(6)] + [END])
    assert rejection(hanging).reason == "too-many-notes"


SOUND = [
    write_midi(
        Song(
            [(i * 12, 12 + i % 3 * 6, 60 + i % 7, 70 + i, i % 2) for i in range(12)],
            title="minuet",
            tempo=96.0,
            time_signature="3/4",
        ),
        text="a remark",
    ),
    file_of([(0, meta(0x59, 2, 0)), (0, bytes([0xC0, 19])), *NOTE], NOTE, kind=1),
    file_of([(0, on(60)), (12, bytes([60, 0])), (0, bytes([62, 80])), (300, off(62)), END], kind=0),
]

damages = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "double", "put"]), st.integers(0, 2**16)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400, derandomize=True)
@given(st.sampled_from(SOUND), damages)
def test_a_damaged_file_gives_a_song_or_says_why_not(data, damage):
    for kind, value in damage:
        at, what = value % len(data), value // len(data) % 256
        if kind == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << what % 8]) + data[at + 1 :]
        elif kind == "put":
            data = data[:at] + bytes([what]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + 1 + what % 16 :] or b"M"
        else:
            data = data[:at] + data[at : at + 1 + what % 16] + data[at:]
    try:
        song = read_midi(data)
    except MidiError:
        return
    assert isinstance(song, Song)
    assert len(song) > 0
    notes = song.notes
    assert notes[:, ONSET].min() >= 0
    assert notes[:, DURATION].min() >= 1
    assert 0 <= notes[:, PITCH].min() <= notes[:, PITCH].max() <= 127
    assert 1 <= notes[:, VELOCITY].min() <= notes[:, VELOCITY].max() <= 127
    # What was read can be written, too.
    assert np.array_equal(read_midi(write_midi(song)).notes[:, :4], notes[:, :4])


# ---- writing ----------------------------------------------------------------


def without_overlaps(song):
    """The song less the notes that begin while their pitch sounds in their part."""
    kept, busy_until = [], {}
    for note in song.notes.tolist():
        voice = note[PART], note[PITCH]
        if busy_until.get(voice, 0) <= note[ONSET]:
            kept.append(note)
            busy_until[voice] = note[ONSET] + note[DURATION]
    return dataclasses.replace(song, notes=kept)


def renumbered(notes):
    """Parts as 0, 1, 2, ... in the order of their numbers."""
    notes = notes.copy()
    notes[:, PART] = np.unique(notes[:, PART], return_inverse=True)[1]
    return Song(notes).notes


@given(songs_with_notes)
def test_what_is_written_reads_back_as_the_same_notes(song):
    back = read_midi(write_midi(song)).notes
    assert np.array_equal(back[:, :4], song.notes[:, :4])
    assert len(np.unique(back[:, PART])) >= len(song.parts)


@given(songs_with_notes.map(without_overlaps))
def test_parts_without_overlaps_read_back_as_they_were(song):
    assert np.array_equal(read_midi(write_midi(song)).notes, renumbered(song.notes))


@given(songs_with_notes)
def test_writing_what_was_read_gives_the_same_parts_again(song):
    once = read_midi(write_midi(song))
    assert np.array_equal(read_midi(write_midi(once)).notes, once.notes)


def test_overlapping_notes_of_one_pitch_spill_into_further_tracks():
    song = Song(
        [
            (0, 48, 60, 80, 0),
            (12, 48, 60, 81, 0),
            (24, 12, 60, 82, 0),
            (36, 12, 60, 83, 0),
            (48, 12, 60, 84, 0),
            (0, 12, 60, 85, 1),
        ]
    )
    parts = {note[VELOCITY]: note[PART] for note in notes_of(write_midi(song))}
    assert parts == {80: 0, 81: 1, 82: 2, 83: 2, 84: 0, 85: 3}


def test_more_parts_than_channels_stay_apart_and_out_of_percussion():
    song = Song([(0, 24, 60, 80, part) for part in range(40)])
    back = read_midi(write_midi(song))
    assert back.parts == list(range(40))
    assert back.percussion == 0


def test_a_note_may_begin_where_another_of_its_pitch_ends():
    song = Song([(0, 24, 60, 80, 0), (24, 24, 60, 80, 0)])
    assert read_midi(write_midi(song)).parts == [0]
    assert np.array_equal(read_midi(write_midi(song)).notes, song.notes)


@given(songs_with_notes, st.text(), st.text())
@example(Song([(0, 1, 60, 80, 0)]), "x" * 200, "y" * 20_000)
@example(Song([(0, 1, 60, 80, 0)]), "Glühwürmchen \udcff", "\ud800")
def test_titles_and_remarks_of_any_kind_leave_the_notes_alone(song, title, text):
    data = write_midi(Song(song.notes, title=title), text=text)
    assert np.array_equal(read_midi(data).notes[:, :4], song.notes[:, :4])
    assert title.encode(errors="replace") in data
    assert text.encode(errors="replace") in data


@pytest.mark.parametrize("tempo", [3.6, 60.0, 90.0, 96.5, 120.0, 133.337, 240.0])
@pytest.mark.parametrize("time_signature", ["3/4", "6/8", "2/2", "12/16", "4/1"])
def test_tempo_and_time_signature_read_back(tempo, time_signature):
    song = Song([(0, 24, 60, 80, 0)], tempo=tempo, time_signature=time_signature)
    back = read_midi(write_midi(song))
    assert (back.tempo, back.time_signature) == (tempo, time_signature)


def test_a_song_without_a_tempo_is_written_at_120():
    back = read_midi(write_midi(Song([(0, 24, 60, 80, 0)])))
    assert (back.tempo, back.time_signature) == (120.0, None)


@pytest.mark.parametrize("tempo", [0.5, 1e9])
def test_a_tempo_beyond_what_a_file_can_say_is_held_to_it(tempo):
    assert read_midi(write_midi(Song([(0, 24, 60, 80, 0)], tempo=tempo))).tempo > 0


@given(songs)
def test_the_same_song_gives_the_same_bytes(song):
    assert write_midi(song, "x") == write_midi(Song(song.notes[::-1]), "x")


def test_a_song_without_notes_is_a_file_without_notes():
    assert rejection(write_midi(Song([]))).reason == "no-notes"


@pytest.mark.parametrize(
    "note",
    [
        (-1, 6, 60, 80, 0),
        (0, 0, 60, 80, 0),
        (0, 6, -1, 80, 0),
        (0, 6, 128, 80, 0),
        (0, 6, 60, 0, 0),
        (0, 6, 60, 128, 0),
    ],
)
def test_notes_outside_of_midi_are_not_written(note):
    with pytest.raises(ValueError, match="a note has"):
        write_midi(Song([(0, 6, 60, 80, 0), note]))


# ---- beside music21's own reader --------------------------------------------


def parsed(path):
    """The score that `converter.parse` makes of a file, at the file's own times."""
    from music21 import converter

    return converter.parse(path, format="midi", quantizePost=False, forceSource=True)


def on_grid(quarters):
    return int(Fraction(quarters).limit_denominator(10_000) * TICKS_PER_QUARTER + Fraction(1, 2))


def spans_of(stream):
    """(onset, duration, pitch) of a music21 stream's notes."""
    return sorted(
        (on_grid(element.offset), on_grid(element.quarterLength), pitch.midi)
        for element in stream.flatten().notes
        for pitch in element.pitches
    )


# Even numbers of ticks: music21 takes what begins within a sixteenth of a
# quarter for one chord.
steps = st.sampled_from([0, 0, 2, 4, 6, 8, 12, 24, 48])
durations = st.sampled_from([2, 4, 6, 8, 12, 18, 24, 36, 48, 96, 144])
events = st.lists(st.tuples(steps, durations, st.integers(36, 84)), min_size=1, max_size=30)


@settings(max_examples=30, derandomize=True)
@given(events)
def test_music21_hears_what_was_written(tmp_path_factory, events):
    onsets = itertools.accumulate(step for step, _, _ in events)
    notes = [(onset, *event[1:], 80, 0) for onset, event in zip(onsets, events, strict=True)]
    # In one long bar: music21 splits notes at bar lines and loses track of chords.
    song = without_overlaps(Song(notes, time_signature="96/4"))
    path = tmp_path_factory.mktemp("written") / "song.mid"
    path.write_bytes(write_midi(song, "made by a test"))
    assert spans_of(parsed(path)) == sorted(map(tuple, song.notes[:, :3].tolist()))


@settings(max_examples=15, derandomize=True)
@given(events)
def test_music21_hears_a_melody_across_bar_lines(tmp_path_factory, events):
    notes, now = [], 0
    for rest, duration, pitch in events:
        notes.append((now + rest, duration, pitch, 80, 0))
        now += rest + duration
    song = Song(notes, time_signature="3/4")
    path = tmp_path_factory.mktemp("written") / "song.mid"
    path.write_bytes(write_midi(song))
    heard = spans_of(parsed(path).parts[0].stripTies())
    assert heard == sorted(map(tuple, song.notes[:, :3].tolist()))


@pytest.fixture(scope="module")
def reichardt():
    """Five real songs that lie beside the project where it is developed."""
    if not REICHARDT.is_dir():
        pytest.skip(f"no {REICHARDT}: real songs that are not part of the project")
    return sorted(REICHARDT.glob("*.mid"))[::9]


def begun(score):
    """(onset, pitch) of what a score starts, not of what it ties on."""
    return sorted(
        (on_grid(element.offset), note.pitch.midi)
        for element in score.flatten().notes
        for note in getattr(element, "notes", (element,))
        if note.tie is None or note.tie.type == "start"
    )


def test_real_songs_agree_with_music21(reichardt):
    agreed = total = 0
    for path in reichardt:
        song = read_midi(path.read_bytes())
        ours = sorted(map(tuple, song.notes[:, [ONSET, PITCH]].tolist()))
        theirs = begun(parsed(path))
        assert len(ours) == len(theirs)
        assert sorted(pitch for _, pitch in ours) == sorted(pitch for _, pitch in theirs)
        agreed += (Counter(ours) & Counter(theirs)).total()
        total += len(ours)
    assert agreed >= 0.999 * total
