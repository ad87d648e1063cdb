"""Songs in another key, range or tempo."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from client.shaping import OCTAVE, Shape, parse_range, shape_song
from music.codec import pitch_name
from music.errors import SegueError
from music.key import estimate_key
from music.song import PITCH, Song

PITCHES = st.integers(0, 127)


def song_of(pitches, durations=None):
    durations = durations or [12] * len(pitches)
    notes = [(12 * i, d, p, 80, 0) for i, (p, d) in enumerate(zip(pitches, durations, strict=True))]
    return Song(np.array(notes, np.int32).reshape(-1, 5), tempo=96.0, time_signature="3/4")


def pitches_of(song):
    return song.notes[:, PITCH].tolist()


def ranges():
    return st.tuples(PITCHES, PITCHES).map(sorted).filter(lambda ends: ends[1] - ends[0] >= OCTAVE)


@settings(deadline=None)
@given(st.lists(PITCHES, min_size=1), ranges())
def test_a_range_holds_every_pitch_and_keeps_its_class(pitches, ends):
    lowest, highest = ends
    song = song_of(pitches)
    shaped = pitches_of(shape_song(song, Shape(lowest=lowest, highest=highest)))
    for before, after in zip(pitches, shaped, strict=True):
        assert lowest <= after <= highest
        assert (after - before) % OCTAVE == 0
        # By as few octaves as bring it in: one fewer would not.
        if after > before:
            assert after - OCTAVE < lowest
        elif after < before:
            assert after + OCTAVE > highest


@settings(deadline=None)
@given(st.lists(st.integers(40, 80), min_size=1), st.integers(-40, 40))
def test_a_transposition_moves_all_pitches_alike(pitches, semitones):
    shaped = shape_song(song_of(pitches), Shape(transpose=semitones))
    assert pitches_of(shaped) == [pitch + semitones for pitch in pitches]
    assert shape_song(shaped, Shape(transpose=-semitones)) == song_of(pitches)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(30, 90), st.integers(1, 96)), min_size=1), st.integers(0, 11))
def test_a_key_is_reached_by_the_shorter_way(notes, tonic):
    pitches, durations = map(list, zip(*notes, strict=True))
    song = song_of(pitches, durations)
    key = estimate_key(song)
    assume(key is not None)
    shaped = shape_song(song, Shape(tonic=tonic))
    (moved,) = {after - before for before, after in zip(pitches, pitches_of(shaped), strict=True)}
    assert abs(moved) <= 6
    assert (key.tonic + moved) % OCTAVE == tonic


def test_a_song_without_a_key_cannot_be_moved_to_one():
    chromatic = song_of(range(60, 72))
    with pytest.raises(SegueError, match="suggest no key to move from; use a transposition"):
        shape_song(chromatic, Shape(tonic=0))
    assert pitches_of(shape_song(chromatic, Shape(transpose=2)))[0] == 62


def test_a_transposition_out_of_midi_is_told_with_the_pitches():
    with pytest.raises(SegueError, match=r"by 10 semitones, the song's pitches 60..120 leave"):
        shape_song(song_of([60, 120]), Shape(transpose=10))


def test_a_tempo_changes_nothing_else():
    song = song_of([60, 62])
    shaped = shape_song(song, Shape(tempo=132.5))
    assert shaped.tempo == 132.5
    assert np.array_equal(shaped.notes, song.notes)
    assert shaped.time_signature == "3/4"
    assert shape_song(song, Shape()) == song


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tempo": 4.9}, "tempo 4.9 is outside 5..1000"),
        ({"tempo": 1001.0}, "tempo 1001 is outside"),
        ({"tempo": float("nan")}, "tempo nan is outside"),
        ({"tempo": float("inf")}, "tempo inf is outside"),
        ({"transpose": 128}, "transpose 128 is outside -127..127"),
        ({"transpose": -128}, "transpose -128 is outside"),
        ({"transpose": 1, "tonic": 0}, "both a key and a transposition"),
        ({"lowest": 30}, "a lowest and a highest"),
        ({"highest": 30}, "a lowest and a highest"),
        ({"lowest": 60, "highest": 71}, "range C4-B4 is less than an octave"),
        ({"lowest": 72, "highest": 60}, "is less than an octave"),
        ({"lowest": 60, "highest": 128}, "range 60-128 is outside the MIDI pitches"),
    ],
)
def test_a_shape_that_cannot_be_is_told(asked, words):
    with pytest.raises(SegueError, match=words) as caught:
        Shape(**asked)
    assert "\n" not in str(caught.value)


def test_a_shape_tells_only_what_is_asked_for():
    assert Shape().as_dict() == {}
    assert Shape(tempo=90.0, transpose=-2, lowest=0, highest=127).as_dict() == {
        "tempo": 90.0, "transpose": -2, "lowest": 0, "highest": 127,
    }  # fmt: skip
    assert Shape(tonic=0).as_dict() == {"tonic": 0}, "C is a key, too"


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("C3-C6", (48, 84)),
        ("c3-c6", (48, 84)),
        ("48-84", (48, 84)),
        ("48..84", (48, 84)),
        (" Eb2 - G5 ", (39, 79)),
        ("F#2-B♭4", (42, 70)),
        ("b2-b4", (47, 71)),
        ("Bb2-bb4", (46, 70)),
        ("Cb4-B#4", (59, 72)),
        ("C-1-G9", (0, 127)),
        ("C-1-12", (0, 12)),
    ],
)
def test_a_range_is_read_as_musicians_write_it(text, ends):
    assert parse_range(text) == ends


@pytest.mark.parametrize("text", ["", "C3", "C3-", "-C3", "H3-C6", "3-C", "C3-C6-C7", "C3 to C6"])
def test_what_is_no_range_is_told(text):
    with pytest.raises(SegueError, match="is none; give the lowest and the highest pitch"):
        parse_range(text)


@pytest.mark.parametrize("text", ["C6-C3", "C3-B3", "0-200"])
def test_a_range_too_narrow_or_outside_is_told(text):
    with pytest.raises(SegueError, match="range .* is (less than an octave|outside)"):
        parse_range(text)


@settings(deadline=None)
@given(ranges(), st.sampled_from(["-", "..", " - "]))
def test_every_range_is_read_by_its_numbers_and_by_its_names(ends, between):
    lowest, highest = ends
    assert parse_range(f"{lowest}{between}{highest}") == (lowest, highest)
    # music21 writes a flat as `-`, which stands between the ends here.
    named = [pitch_name(end)[0] + pitch_name(end)[1:].replace("-", "b", 1) for end in ends]
    assume(lowest >= 12)
    assert parse_range(between.join(named)) == (lowest, highest)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_no_text_breaks_the_reader_of_ranges(text):
    try:
        lowest, highest = parse_range(text)
    except SegueError:
        return
    assert 0 <= lowest <= highest - OCTAVE
    assert highest <= 127
