"""What music21 read of a score, on the grid."""

import pytest
from music21 import harmony, meter, note, percussion, stream, tempo

from music.errors import MidiError
from music.score import song_of_parts


def part(*elements):
    made = stream.Part()
    for offset, element in elements:
        made.insert(offset, element)
    return made


def test_triplets_and_odd_offsets_are_rounded_to_the_grid():
    song = song_of_parts(
        [part((0, note.Note(60, quarterLength=1 / 3)), (1 / 3, note.Note(62, quarterLength=0.01)))]
    )
    assert song.notes[:, [0, 1, 2]].tolist() == [[0, 8, 60], [8, 1, 62]]


def test_the_first_signature_and_tempo_of_any_part_are_the_songs():
    silent = part((0, note.Note(60)))
    other = part(
        (0, meter.TimeSignature("6/8")), (0, tempo.MetronomeMark(number=72)), (0, note.Note(64))
    )
    song = song_of_parts([silent, other], "song")
    assert (song.time_signature, song.tempo, song.title) == ("6/8", 72, "song")
    assert song.parts == [0, 1]


def test_a_signature_that_midi_cannot_write_is_none():
    odd = part((0, meter.TimeSignature("2/4+3/8")), (0, note.Note(60)))
    assert song_of_parts([odd]).time_signature in (None, "7/8")


def test_what_is_not_played_is_left_out():
    made = part(
        (0, harmony.ChordSymbol("C")), (0, note.Note(60).getGrace()), (0, note.Note(72)),
        (1, note.Unpitched()), (2, percussion.PercussionChord([note.Unpitched()])),
    )  # fmt: skip
    assert song_of_parts([made]).notes[:, [0, 2]].tolist() == [[0, 72]]
    assert len(song_of_parts([])) == 0


@pytest.mark.parametrize(("offset", "reason"), [(-2.0, "damaged"), (2.0**28, "too-long")])
def test_notes_where_no_song_has_one_are_refused(offset, reason):
    with pytest.raises(MidiError) as caught:
        song_of_parts([part((offset, note.Note(60)))])
    assert caught.value.reason == reason
