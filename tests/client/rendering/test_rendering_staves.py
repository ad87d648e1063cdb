"""Hands, clefs and voices."""

import dataclasses

import numpy as np

from client.rendering import staves
from client.rendering.meter import meter_of
from client.rendering.reading import KEY, NEVER, START, read_song
from client.rendering.score import score_of
from client.rendering.staves import lay_out, right_hand, stands_by_part
from client.rendering.voices import Piece, _common_stop, voices_by_bar

from .conftest import four_parts, played, song_of


def reading_of(rows, signature="4/4"):
    return read_song(song_of(rows), meter_of(signature), by_part=False)


def voices_of(rows):
    reading = reading_of(rows)
    return voices_by_bar(reading, np.arange(len(reading.notes)))


def shape(voice):
    return [(chord.start, chord.stop, [p.pitch for p in chord.pieces]) for chord in voice]


def test_the_hands_share_a_chord_that_one_cannot_reach():
    reading = reading_of([(0, 24, pitch) for pitch in (40, 47, 52, 64, 68, 71)])
    right = right_hand(reading.notes)
    assert reading.notes[right, KEY].tolist() == [64, 68, 71]


def test_a_melody_that_passes_middle_c_stays_in_its_hand():
    line = [67, 65, 64, 62, 60, 59, 60, 62, 64, 65, 67]
    rows = [(24 * n, 24, pitch) for n, pitch in enumerate(line)]
    rows += [(24 * n, 24, 43 + n % 3) for n in range(len(line))]
    reading = reading_of(rows)
    right = right_hand(reading.notes)
    assert sorted(reading.notes[right, KEY].tolist()) == sorted(line)


def test_the_border_moves_when_the_music_does():
    high = [(24 * n, 24, pitch) for n in range(16) for pitch in (72, 76, 84, 88)]
    low = [(24 * (n + 16), 24, pitch) for n in range(16) for pitch in (36, 40, 45, 52)]
    reading = reading_of(high + low)
    right = right_hand(reading.notes)
    early = reading.notes[:, START] < 24 * 16
    assert right[early].mean() > 0.5
    assert right[~early].mean() <= 0.25


def test_the_border_keeps_its_place_rather_than_jump(monkeypatch):
    notes = score_of(played(300)).reading.notes

    def moves():
        return np.count_nonzero(np.diff(staves.borders(notes)))

    steady = moves()
    monkeypatch.setattr(staves, "_MOVE", 0.0)
    assert steady < moves() / 2


def test_two_parts_high_and_low_are_a_piano():
    rows = [(24 * n, 24, 72 + n % 5, 0) for n in range(8)]
    rows += [(24 * n, 24, 45 + n % 5, 1) for n in range(8)]
    song = song_of(rows)
    assert stands_by_part(song)
    layout = lay_out(read_song(song, meter_of(None), True), True)
    assert layout.piano
    assert [staff.clef for staff in layout.staves] == ["treble", "bass"]


def test_a_part_that_is_too_wide_makes_it_a_piano_piece():
    rows = [(24 * n, 24, 30 + 12 * (n % 6), n % 2) for n in range(24)]
    assert not stands_by_part(song_of(rows))
    assert not stands_by_part(song_of([(0, 24, 60)]))
    assert not stands_by_part(song_of([(24 * n, 24, 60, n) for n in range(9)]))


def test_a_choir_has_a_tenor_clef():
    score = score_of(four_parts())
    assert [staff.clef for staff in score.layout.staves] == [
        "treble", "treble", "treble8vb", "bass",
    ]  # fmt: skip
    assert not score.layout.piano


def test_one_rhythm_is_one_voice():
    (voices,) = voices_of([(0, 48, 60), (0, 48, 64), (48, 48, 62), (48, 48, 65)])
    assert [shape(voice) for voice in voices] == [[(0, 48, [60, 64]), (48, 96, [62, 65])]]


def test_a_held_note_under_a_melody_is_a_second_voice():
    (voices,) = voices_of([(0, 96, 60), *((24 * n, 24, 67 + n) for n in range(4))])
    upper, lower = voices
    assert shape(lower) == [(0, 96, [60])]
    assert [chord.pieces[0].pitch for chord in upper] == [67, 68, 69, 70]


def test_an_overlap_that_was_only_played_makes_no_second_voice():
    (voices,) = voices_of([(0, 26, 72), (24, 25, 71), (48, 26, 69), (72, 23, 67)])
    assert len(voices) == 1
    assert [chord.stop - chord.start for chord in voices[0]] == [24, 24, 24, 24]


def test_a_gap_that_was_only_played_is_no_rest():
    (voices,) = voices_of([(0, 20, 72), (24, 19, 71), (48, 21, 69), (72, 22, 67)])
    assert [chord.stop - chord.start for chord in voices[0]] == [24, 24, 24, 24]


def test_a_written_rest_stays():
    (voices,) = voices_of([(0, 18, 72), (24, 24, 71)])
    assert [chord.stop for chord in voices[0]] == [18, 48]


def test_three_lines_on_one_staff_lose_no_pitch():
    rows = [(0, 96, 60)]
    rows += [(24 * n, 24, 72 - n) for n in range(4)] + [(12 + 36 * n, 36, 65 + n) for n in range(2)]
    (voices,) = voices_of(rows)
    assert len(voices) == 2
    pitches = sorted(p.pitch for voice in voices for chord in voice for p in chord.pieces)
    assert pitches == sorted(row[2] for row in rows)


def test_a_note_that_is_held_with_its_chord_ends_before_its_repetition():
    group = (
        Piece(0, 12, 60, False, again=24),
        *(Piece(0, 96, pitch, False, again=NEVER) for pitch in (64, 67, 71)),
    )
    assert _common_stop(group, 96, 96, lambda place: 6)[0] == 12
    group = (dataclasses.replace(group[0], again=NEVER), *group[1:])
    assert _common_stop(group, 96, 96, lambda place: 6)[0] == 96


def test_a_note_over_the_bar_line_comes_back_tied():
    first, second = voices_of([(72, 48, 60)])
    assert first[0][0].goes_on(first[0][0].pieces[0], 96)
    assert second[0][0].pieces[0].tied
    assert shape(second[0]) == [(0, 24, [60])]
