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

from music.errors import MidiError
from music.midi import MAX_QUARTERS, Limits, Rounding, parse_midi, read_midi, write_midi
from music.song import DURATION, ONSET, PART, PITCH, TICKS_PER_QUARTER, VELOCITY, Song
from tests.music.smf_bytes import END, NOTE, file_of, meta, off, on

REICHARDT = Path(__file__).parents[3] / "shared/data/openscore-lieder/Reichardt_Louise"

songs = st.from_type(Song)
songs_with_notes = songs.filter(len)


def rejection(data):
    with pytest.raises(MidiError) as caught:
        read_midi(data)
    return caught.value


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


TEMPO_90 = meta(0x51, 0x0A, 0x2C, 0x2B)  # 666,667 microseconds a quarter
TEMPO_120 = meta(0x51, 0x07, 0xA1, 0x20)


def test_the_earliest_of_all_tracks_counts():
    early, late = [(0, TEMPO_90), END], [(24, TEMPO_120), END]
    assert read_midi(file_of(early, late, NOTE)).tempo == 90.0
    assert read_midi(file_of(late, early, NOTE)).tempo == 90.0
    signatures = [
        [(24, meta(0x58, 3, 2, 24, 8)), (0, meta(0x59, 1, 0)), *NOTE],
        [(12, meta(0x58, 6, 3, 24, 8)), (0, meta(0x59, 2, 0)), *NOTE],
    ]
    song = read_midi(file_of(*signatures))
    assert (song.time_signature, song.key) == ("6/8", "D major")


def test_of_several_at_one_time_the_last_in_the_first_track_counts():
    twice = [(0, TEMPO_120), (0, TEMPO_90), *NOTE]
    assert read_midi(file_of(twice, [(0, TEMPO_120), *NOTE])).tempo == 90.0


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


def test_what_the_grid_cost_is_told():
    # 24 ticks of the grid are 480 of the file: 5 and 10 ticks are 1/4 and 1/2.
    events = [(0, on(60)), (485, off(60)), (5, on(62)), (470, off(62)), END]
    rounding = parse_midi(file_of(events, division=480)).rounding
    assert rounding == Rounding(mean=(0 + 0.25 + 0.5 + 0) / 4, largest=0.5, off_grid=1)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=9), st.integers(1, 0x7FFF))
def test_no_onset_or_end_is_moved_by_more_than_half_a_tick(deltas, division):
    events = [(delta, event) for delta in deltas for event in (on(60), off(60))]
    limits = Limits(quarters=10**6, silence=10**6)
    reading = parse_midi(file_of([*events, END], division=division), "", limits)
    at = list(itertools.accumulate(delta for delta, _ in events))
    exact = [Fraction(tick * TICKS_PER_QUARTER, division) for tick in at]
    moved = [abs(tick - int(tick + Fraction(1, 2))) for tick in exact]
    assert reading.rounding.largest == pytest.approx(float(max(moved)))
    assert reading.rounding.mean == pytest.approx(float(sum(moved) / len(moved)))
    assert reading.rounding.largest <= 0.5
    assert reading.rounding.off_grid == sum(move > 0 for move in moved[::2])


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
    (repair,) = parse_midi(file_of(hanging, longer)).repairs
    assert repair.name == "hanging-note"
    assert repair.detail == "track 1 never ends a note of pitch 60; it lasts until the track's end"


def test_overlapping_notes_of_one_pitch_end_at_the_first_note_off():
    twice = [(0, on(60, 70)), (12, on(60, 90)), (12, off(60)), (12, off(60)), END]
    assert notes_of(file_of(twice)) == [[0, 24, 60, 70, 0], [12, 12, 60, 90, 0]]


def test_a_note_off_ends_all_notes_of_its_pitch():
    # Three begin, one note-off, and a second one that finds nothing left.
    events = [(0, on(60, 70)), (6, on(60, 80)), (6, on(60, 90)), (12, off(60)), (24, off(60)), END]
    assert notes_of(file_of(events)) == [
        [0, 24, 60, 70, 0],
        [6, 18, 60, 80, 0],
        [12, 12, 60, 90, 0],
    ]


def test_a_note_begun_again_before_it_ends_is_two_notes():
    # At tick 24 the new one comes first: the note-off ends both, as in music21.
    events = [(0, on(60, 70)), (24, on(60, 90)), (0, off(60)), (24, off(60)), END]
    assert notes_of(file_of(events)) == [[0, 24, 60, 70, 0], [24, 1, 60, 90, 0]]


@pytest.mark.parametrize("controller", [120, 123, 124, 125, 126, 127])
def test_a_silenced_channel_ends_its_notes_and_no_others(controller):
    silence = bytes([0xB0, controller, 0])
    events = [(0, on(60)), (0, on(64)), (0, on(67, channel=2)), (12, silence), (12, off(60))]
    events += [(0, off(67, channel=2)), END]
    assert notes_of(file_of(events)) == [[0, 12, 60, 80, 0], [0, 12, 64, 80, 0], [0, 24, 67, 80, 1]]


def test_other_channel_modes_end_no_note():
    for controller in (121, 122):
        events = [(0, on(60)), (12, bytes([0xB0, controller, 0])), (12, off(60)), END]
        assert notes_of(file_of(events)) == [[0, 24, 60, 80, 0]]


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


# ---- songs that are refused --------------------------------------------------


def test_a_file_without_notes_is_rejected_and_its_percussion_told():
    assert rejection(file_of([END])).reason == "no-notes"
    drums = file_of([(0, on(36, channel=10)), (12, on(38, channel=10)), END])
    told = "there are no notes but 2 of percussion, which is left out"
    assert rejection(drums).detail == told


def spread(quarters, more=0, step=500):
    """A file with a note every 500 quarters, the last of which ends at a time."""
    count = quarters // step
    events = [(0, on(60)), (24, off(60))] + [(step * 24 - 24, on(60)), (24, off(60))] * (count - 1)
    return file_of([*events, (step * 24 - 24 + more, on(60)), (0, off(60)), END])


def test_a_song_may_be_as_long_as_the_limit_and_no_longer():
    assert read_midi(spread(MAX_QUARTERS)).end == MAX_QUARTERS * 24 + 1
    assert rejection(spread(MAX_QUARTERS, 1)).reason == "too-long"
    assert rejection(spread(50_000)).detail == "50,000 quarters; at most 20,000 are read"


@pytest.mark.parametrize(
    "events",
    [
        lambda gap: [(gap, on(60)), (24, off(60)), END],
        lambda gap: [(0, on(60)), (gap, off(60)), END],
        lambda gap: [(0, on(60)), (24, off(60)), (gap - 24, on(62)), (24, off(62)), END],
    ],
    ids=["before", "within", "between"],
)
def test_a_song_may_be_silent_as_long_as_the_limit_and_no_longer(events):
    assert len(read_midi(file_of(events(1_000 * 24))))
    error = rejection(file_of(events(7_100 * 24)))
    assert error.reason == "too-long"
    assert error.detail == "no note begins for 7,100 quarters; at most 1,000 are allowed"
    assert rejection(file_of(events(1_000 * 24 + 1))).reason == "too-long"


def test_silence_at_the_end_of_a_track_is_no_music():
    assert len(read_midi(file_of([*NOTE[:-1], (50_000 * 24, meta(0x2F))]))) == 1


def test_a_file_may_have_as_many_notes_as_the_limit_and_no_more():
    def having(count):
        drums = [(1, event) for i in range(9) for event in (on(i, channel=10), off(i, channel=10))]
        notes = [(1, event) for i in range(count) for event in (on(i), off(i))]
        return file_of([*drums, *notes, END])

    limits = Limits(notes=5)
    assert len(parse_midi(having(5), "", limits).song) == 5
    with pytest.raises(MidiError, match="too-large: 6 notes; at most 5 are read"):
        parse_midi(having(6), "", limits)


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
