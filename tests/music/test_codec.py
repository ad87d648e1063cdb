"""Songs as integers and back: each codec as a pair of inverses."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from music.codec import (
    BOUNDARY,
    MAX_PARTS,
    MAX_TICKS,
    VELOCITY_LEVELS,
    ChordsCodec,
    NotesCodec,
    build_codec,
    pitch_name,
)
from music.errors import SegueError
from music.song import DEFAULT_VELOCITY, DURATION, ONSET, PART, PITCH, VELOCITY, Song

songs = st.from_type(Song)

NOTES_CODECS = [
    NotesCodec(velocity, part) for velocity, part in itertools.product([False, True], repeat=2)
]
CODECS = [*NOTES_CODECS, ChordsCodec()]
CHORDS = ChordsCodec()

every_notes_codec = pytest.mark.parametrize("codec", NOTES_CODECS, ids=str)
# For properties that are tried on every codec.
few = settings(max_examples=40)

every_codec = pytest.mark.parametrize("codec", CODECS, ids=str)


def held(song, codec):
    """The song as far as a notes codec can express it."""
    notes = song.notes.copy()
    notes[:, ONSET] = np.cumsum(np.minimum(np.diff(notes[:, ONSET], prepend=0), MAX_TICKS))
    notes[:, DURATION] = np.minimum(notes[:, DURATION], MAX_TICKS)
    notes[:, VELOCITY] = notes[:, VELOCITY] // 8 * 8 + 4 if codec.velocity else DEFAULT_VELOCITY
    notes[:, PART] = notes[:, PART] % MAX_PARTS if codec.part else 0
    return Song(notes)


@st.composite
def notes_events(draw, codec):
    """Events as the module's text describes them, made without the codec."""
    ticks = st.one_of(st.integers(0, 30), st.integers(0, MAX_TICKS))
    steps = draw(st.lists(ticks, min_size=1, max_size=16))
    rows = [
        (
            onset,
            draw(st.integers(0, 127)),
            max(1, draw(ticks)),
            draw(st.integers(0, VELOCITY_LEVELS - 1)) if codec.velocity else 0,
            draw(st.integers(0, MAX_PARTS - 1)) if codec.part else 0,
        )
        for onset in itertools.accumulate(steps)
    ]
    rows.sort()
    optional = [3] * codec.velocity + [4] * codec.part
    events, now = [[0, BOUNDARY, 0] + [0] * len(optional)], 0
    for row in rows:
        events.append([row[0] - now, row[1], row[2], *(row[column] for column in optional)])
        now = row[0]
    end = max(row[0] + row[2] for row in rows)
    events.append([min(end - now, MAX_TICKS), BOUNDARY, 0] + [0] * len(optional))
    return np.array(events, np.int32)


# ---- notes ------------------------------------------------------------------


@every_notes_codec
@few
@given(song=songs)
def test_decoding_what_was_encoded_gives_all_that_the_codec_expresses(codec, song):
    expressible = held(song, codec)
    assert codec.decode(codec.encode(expressible)) == expressible


@every_notes_codec
@few
@given(song=songs)
def test_what_a_codec_cannot_express_is_held_to_its_bounds(codec, song):
    assert codec.decode(codec.encode(song)) == held(song, codec)


@every_notes_codec
@few
@given(data=st.data())
def test_encoding_what_was_decoded_gives_the_same_events(codec, data):
    events = data.draw(notes_events(codec))
    again = codec.encode(codec.decode(events))
    assert again.dtype == np.int32
    assert np.array_equal(again, events)


@every_notes_codec
@few
@given(song=songs.filter(len))
def test_the_boundary_opens_and_closes_every_song_and_stands_nowhere_else(codec, song):
    events = codec.encode(song)
    assert np.flatnonzero(events[:, 1] == BOUNDARY).tolist() == [0, len(song) + 1]
    assert not events[0, [0, 2]].any()
    assert not events[-1, 2:].any()
    assert events[-1, 0] == min(song.end - song.notes[-1, ONSET], MAX_TICKS)


def test_an_event_is_a_step_a_pitch_and_a_duration():
    song = Song([(6, 24, 60, 100, 3), (6, 48, 55, 50, 2), (18, 6, 62, 1, 1)])
    assert NotesCodec().encode(song).tolist() == [
        [0, 128, 0],
        [6, 55, 48],
        [0, 60, 24],
        [12, 62, 6],
        [36, 128, 0],
    ]
    assert NotesCodec(velocity=True, part=True).encode(song).tolist() == [
        [0, 128, 0, 0, 0],
        [6, 55, 48, 6, 2],
        [0, 60, 24, 12, 3],
        [12, 62, 6, 0, 1],
        [36, 128, 0, 0, 0],
    ]


def test_gaps_and_notes_are_held_to_sixteen_bars():
    song = Song([(2 * MAX_TICKS, 3 * MAX_TICKS, 60, 80, 0), (5 * MAX_TICKS, 5, 60, 80, 0)])
    events = NotesCodec().encode(song)
    assert events[:, 0].tolist() == [0, MAX_TICKS, MAX_TICKS, 5]
    assert events[:, 2].tolist() == [0, MAX_TICKS, 5, 0]


def test_velocities_keep_sixteen_levels():
    codec = NotesCodec(velocity=True)
    song = Song([(i, 1, 60, i, 0) for i in range(1, 128)])
    levels = codec.encode(song)[1:-1, 3]
    assert levels.tolist() == [velocity // 8 for velocity in range(1, 128)]
    assert np.abs(codec.decode(codec.encode(song)).notes[:, VELOCITY] - range(1, 128)).max() <= 4


def test_parts_are_numbered_modulo_sixteen():
    codec = NotesCodec(part=True)
    assert codec.encode(Song([(0, 1, 60, 80, 17)]))[1, 3] == 1


def test_a_duration_of_0_sounds_for_a_tick():
    assert NotesCodec().decode(np.array([[0, 60, 0]])).notes[0, DURATION] == 1


def test_a_boundary_inside_a_song_moves_time_and_sounds_nothing():
    song = NotesCodec().decode(np.array([[6, 60, 6], [12, BOUNDARY, 0], [6, 62, 6]]))
    assert song.notes[:, [ONSET, PITCH]].tolist() == [[6, 60], [24, 62]]


@every_notes_codec
def test_a_continuation_leaves_the_closing_boundary_out(codec):
    events = codec.encode(Song([(0, 6, 60, 80, 0), (6, 6, 62, 80, 0)]))
    assert np.array_equal(codec.continuation_of(events), events[:-1])
    assert np.array_equal(codec.continuation_of(events[:-1]), events[:-1])


def test_a_continuation_of_a_boundary_alone_is_that_boundary():
    opening = np.array([[0, BOUNDARY, 0]])
    assert NotesCodec().continuation_of(opening) is opening
    assert len(NotesCodec().continuation_of(opening[:0])) == 0


# ---- chords -----------------------------------------------------------------

notes_tokens = st.integers(0, 127)
chord_tokens = st.integers(1, 4095).filter(lambda mask: mask & (mask - 1)).map(lambda m: 128 + m)
tokens = st.lists(st.one_of(notes_tokens, chord_tokens), max_size=20)


def played(tokens):
    """The song of chords tokens, made without the codec."""
    return Song(
        [
            (12 * index, 12, pitch, DEFAULT_VELOCITY, 0)
            for index, token in enumerate(tokens)
            for pitch in (
                [token]
                if token < 128
                else [60 + bit for bit in range(12) if token - 128 & 1 << bit]
            )
        ]
    )


@given(tokens)
def test_chords_decode_to_half_quarters_and_encode_back(tokens):
    events = np.array(tokens, np.int32).reshape(-1, 1)
    song = CHORDS.decode(events)
    assert song == played(tokens)
    again = CHORDS.encode(song)
    assert again.dtype == np.int32
    assert np.array_equal(again, events)


@given(tokens)
def test_what_chords_can_express_comes_back_whole(tokens):
    assert CHORDS.decode(CHORDS.encode(played(tokens))) == played(tokens)


def encoded(*notes):
    return CHORDS.encode(Song([(*note, 80, 0) for note in notes]))[:, 0].tolist()


def test_a_c_major_chord_is_128_and_the_mask_of_its_pitch_classes():
    assert encoded((0, 24, 60), (0, 24, 64), (0, 24, 67)) == [128 + (1 << 0 | 1 << 4 | 1 << 7)]


def test_the_order_the_octave_and_the_length_of_a_chords_notes_play_no_role():
    assert encoded((0, 24, 67), (0, 6, 36), (0, 12, 88)) == [128 + 0b10010001]


def test_octaves_inside_a_chord_are_one_pitch_class():
    assert encoded((0, 24, 48), (0, 24, 60), (0, 24, 67)) == [128 + (1 << 0 | 1 << 7)]


def test_octaves_alone_are_the_lowest_note():
    assert encoded((0, 24, 72), (0, 24, 48), (0, 24, 60)) == [48]


def test_a_repeated_unison_is_one_note():
    assert encoded((0, 24, 60), (0, 12, 60)) == [60]


def test_parts_follow_one_another():
    song = Song(
        [
            (0, 6, 72, 80, 1),
            (0, 6, 48, 80, 3),
            (6, 6, 74, 80, 1),
            (6, 6, 52, 80, 3),
            (6, 6, 55, 80, 3),
        ]
    )
    assert CHORDS.encode(song)[:, 0].tolist() == [72, 74, 48, 128 + (1 << 4 | 1 << 7)]


def test_a_chord_is_what_one_part_starts_not_what_sounds():
    assert encoded((0, 48, 60), (24, 24, 64)) == [60, 64]


def test_chords_have_no_boundary_and_are_continued_as_they_are():
    events = CHORDS.encode(Song([(0, 6, 60, 80, 0)]))
    assert CHORDS.boundary is None
    assert CHORDS.continuation_of(events) is events


def test_the_empty_chord_sounds_nothing():
    assert len(CHORDS.decode(np.array([[128]]))) == 0


# ---- all codecs -------------------------------------------------------------


@every_codec
@few
@given(songs, st.integers(-30, 30))
def test_events_are_transposed_as_their_song_is(codec, song, semitones):
    pitches = song.notes[:, PITCH]
    if len(song):
        semitones = int(np.clip(semitones, -pitches.min(), 127 - pitches.max()))
    notes = song.notes.copy()
    notes[:, PITCH] += semitones
    events = codec.encode(song)
    events[:, codec.pitched] = codec.transpose(events[:, codec.pitched], semitones)
    assert np.array_equal(events, codec.encode(Song(notes)))


def test_what_is_no_pitch_stays_and_pitches_are_held_to_their_ends():
    codes = np.array([0, 60, 126, 127, BOUNDARY])
    assert NotesCodec().transpose(codes, 2).tolist() == [2, 62, 127, 127, BOUNDARY]
    assert NotesCodec().transpose(codes, -1).tolist() == [0, 59, 125, 126, BOUNDARY]


@every_codec
def test_a_song_without_notes_has_no_events(codec):
    events = codec.encode(Song([]))
    assert events.shape == (0, len(codec.fields))
    assert events.dtype == np.int32
    assert codec.decode(events) == Song([])


@every_codec
@few
@given(song=songs)
def test_every_code_lies_inside_its_field(codec, song):
    events = codec.encode(song)
    assert events.dtype == np.int32
    assert codec.check(events) is events


@every_codec
@pytest.mark.parametrize("columns", [-1, 1])
def test_a_matrix_of_another_width_is_refused(codec, columns):
    width = len(codec.fields) + columns
    with pytest.raises(ValueError, match=rf"reads \[T, {len(codec.fields)}\].*\[2, {width}\]"):
        codec.decode(np.zeros((2, width), np.int32))
    with pytest.raises(ValueError, match="got shape"):
        codec.decode(np.zeros(len(codec.fields), np.int32))


@every_codec
def test_a_code_outside_of_its_field_is_named(codec):
    for column, field in enumerate(codec.fields):
        for code in (-1, field.size):
            events = np.zeros((3, len(codec.fields)), np.int32)
            events[1:, column] = code
            message = f"event 1: {field.name} {code} is outside 0..{field.size - 1}"
            with pytest.raises(ValueError, match=f"^{message}$"):
                codec.decode(events)
        events[:, column] = field.size - 1
        assert codec.check(events) is not None


@every_codec
def test_a_codec_is_built_again_from_its_configuration(codec):
    assert build_codec(json.loads(json.dumps(codec.config()))) == codec


def test_a_codec_is_built_from_its_name():
    assert build_codec("notes") == NotesCodec()
    assert build_codec("chords") == ChordsCodec()
    assert build_codec({"name": "notes", "part": True}) == NotesCodec(part=True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("midi", "codec 'midi' does not exist; choose one of: notes, chords"),
        ({"velocity": True}, "codec None does not exist"),
        ({"name": "notes", "pedal": True}, r"codec 'notes' does not take the options \['pedal'\]"),
        ({"name": "chords", "velocity": True}, "codec 'chords' does not take the options"),
    ],
)
def test_an_unknown_codec_or_option_is_a_line_for_a_person(config, message):
    with pytest.raises(SegueError, match=message):
        build_codec(config)


@pytest.mark.parametrize(
    ("codec", "field", "code", "label"),
    [
        (CHORDS, 0, 64, "E4"),
        (CHORDS, 0, 128 + 0b10010001, "0.4.7"),
        (CHORDS, 0, 128 + 0b110000000000, "10.11"),
        (NotesCodec(), 0, 6, "6"),
        (NotesCodec(), 1, 60, "C4"),
        (NotesCodec(), 1, BOUNDARY, "|"),
        (NotesCodec(), 2, 24, "24"),
    ],
)
def test_a_code_is_shown_as_a_musician_writes_it(codec, field, code, label):
    assert codec.label(field, code) == label


def test_pitches_are_spelled_as_music21_spells_them():
    from music21.pitch import Pitch

    assert [pitch_name(midi) for midi in range(128)] == [
        Pitch(midi=midi).nameWithOctave for midi in range(128)
    ]


# ---- distances --------------------------------------------------------------


def nearest(codec, field, codes, kept):
    distances = codec.distances(field, np.array(codes), np.array(kept))
    assert distances.shape == (len(codes), len(kept))
    assert distances.dtype == np.float64
    return [kept[index] for index in distances.argmin(axis=1)]


@every_codec
@few
@given(data=st.data())
def test_a_kept_code_is_nearest_to_itself_alone(codec, data):
    for column, field in enumerate(codec.fields):
        kept = data.draw(st.lists(st.integers(0, field.size - 1), min_size=1, unique=True))
        distances = codec.distances(column, np.array(kept), np.array(kept))
        # The empty chord and the like are codes of their own, too.
        assert not distances.diagonal().any()
        assert np.count_nonzero(distances) == len(kept) * (len(kept) - 1)


def test_a_boundary_and_a_note_are_farther_apart_than_any_two_notes():
    assert nearest(NotesCodec(), 1, [127, BOUNDARY], [0, BOUNDARY]) == [0, BOUNDARY]
    assert nearest(NotesCodec(), 1, [BOUNDARY], [0, 90]) == [90]


@example(60, 128 + 0b10010001)
@given(notes_tokens, chord_tokens)
def test_a_note_and_a_chord_are_farther_apart_than_two_of_a_kind(note, chord):
    assert nearest(CHORDS, 0, [note, chord], [127, 128 + 4095]) == [127, 128 + 4095]
    assert nearest(CHORDS, 0, [note, chord], [0, 128 + 3]) == [0, 128 + 3]


def test_chords_are_as_far_apart_as_the_pitch_classes_that_differ():
    c_major, c_minor, c_seventh = (128 + m for m in (0b10010001, 0b10001001, 0b10010010001))
    distances = CHORDS.distances(0, np.array([c_major]), np.array([c_major, c_seventh, c_minor]))
    assert distances.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("codec", [NotesCodec(), ChordsCodec()])
@given(semitones=st.integers(-11, 11))
def test_pitch_classes_turn_as_codes_are_transposed(codec, semitones):
    table = codec.pitch_classes()
    size = codec.fields[codec.pitched].size
    assert table.shape == (size, 12)
    codes = np.arange(size)
    inside = (codes >= 12) & ((codes < 116) | (codes >= 128))
    moved = codec.transpose(codes, semitones)
    assert np.array_equal(table[moved][inside], np.roll(table, semitones, axis=1)[inside])


def test_pitch_classes_are_those_that_a_code_sounds():
    notes, chords = NotesCodec().pitch_classes(), ChordsCodec().pitch_classes()
    assert np.flatnonzero(notes[61]).tolist() == [1]
    assert not notes[128].any()
    assert np.flatnonzero(chords[61]).tolist() == [1]
    assert np.flatnonzero(chords[128 + 0b10010001]).tolist() == [0, 4, 7]
