"""What the grid does to notes that were played."""

import numpy as np

from client.rendering.meter import meter_of
from client.rendering.reading import KEY, LOOSE, START, STOP, bars_of, read_song
from client.rendering.score import score_of

from .conftest import played, song_of


def rows(song, by_part=False, signature="4/4"):
    reading = read_song(song, meter_of(signature), by_part)
    return reading.notes[:, [START, STOP, KEY]].tolist()


def test_a_beat_is_divided_by_three_where_its_notes_are():
    song = song_of([(0, 8, 60), (8, 8, 62), (16, 8, 64), (24, 6, 60), (30, 6, 62), (36, 12, 64)])
    reading = read_song(song, meter_of("4/4"), False)
    assert reading.triplets == {0}
    assert reading.notes[:, START].tolist() == [0, 8, 16, 24, 30, 36]


def test_uneven_sixteenths_are_no_triplet():
    song = song_of([(0, 5, 60), (7, 5, 62), (11, 5, 64), (19, 5, 65)])
    assert rows(song) == [[0, 6, 60], [6, 12, 62], [12, 18, 64], [18, 24, 65]]


def test_compound_meters_have_no_triplets():
    song = song_of([(0, 8, 60), (8, 8, 62), (16, 8, 64)])
    assert read_song(song, meter_of("6/8"), False).triplets == frozenset()


def test_a_struck_again_pitch_ends_the_one_before():
    assert rows(song_of([(0, 96, 60), (24, 24, 60)])) == [[0, 24, 60], [24, 48, 60]]


def test_notes_that_come_to_begin_together_are_one():
    assert rows(song_of([(0, 6, 60), (1, 48, 60)])) == [[0, 48, 60]]


def test_parts_keep_their_unisons_where_they_stand_apart():
    song = song_of([(0, 24, 60, 0), (0, 48, 60, 1)])
    assert rows(song, by_part=True) == [[0, 24, 60], [0, 48, 60]]
    assert rows(song, by_part=False) == [[0, 48, 60]]


def test_only_ends_off_the_grid_may_move():
    reading = read_song(song_of([(0, 23, 60), (24, 24, 62)]), meter_of("4/4"), False)
    assert reading.notes[:, LOOSE].tolist() == [1, 0]


def test_empty_bars_at_the_beginning_are_left_out():
    reading = read_song(song_of([(198, 24, 60)]), meter_of("4/4"), False)
    assert (reading.offset, reading.bars) == (192, 1)
    assert reading.notes[:, START].tolist() == [6]
    assert bars_of(song_of([(198, 24, 60)]), meter_of("4/4")) == 1


def test_what_is_written_on_the_grid_stays_there():
    random = np.random.default_rng(1)
    onsets = np.unique(random.integers(0, 200, 60)) * 6
    song = song_of([(int(onset), 6, 60) for onset in onsets])
    reading = score_of(song).reading
    assert (reading.notes[:, START] + reading.offset).tolist() == onsets.tolist()
    assert not reading.notes[:, LOOSE].any()


def test_a_played_song_reads_as_sixteenths_and_triplets():
    reading = score_of(played()).reading
    for start in reading.notes[:, START].tolist():
        assert start % reading.step_at(start) == 0
