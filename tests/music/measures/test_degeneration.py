"""Songs that are broken on purpose are flagged for what is broken; real ones are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.measures.degeneration import Bounds, Loop, degeneration, longest_loop, signs
from music.song import Song


def song_of(events):
    """A song of (step, pitch, duration) events."""
    notes = np.zeros((len(events), 5), np.int32)
    if len(events):
        columns = np.array(events, np.int32)
        notes[:, 0] = np.cumsum(columns[:, 0])
        notes[:, 2], notes[:, 1], notes[:, 3] = columns[:, 1], columns[:, 2], 80
    return Song(notes)


def varied(seed, count=80):
    rng = np.random.default_rng(seed)
    return [
        (int(s), int(p), int(d))
        for s, p, d in zip(
            rng.choice([6, 12, 24], count),
            rng.integers(55, 80, count),
            rng.choice([6, 12, 24], count),
            strict=True,
        )
    ]


def bounds_of(songs):
    return Bounds.of([signs(song) for song in songs])


def wrong(events, bounds):
    """What is wrong with a song of these events."""
    return degeneration(signs(song_of(events)), bounds)


@pytest.fixture(scope="module")
def bounds():
    return bounds_of([song_of(varied(seed)) for seed in range(20)])


@pytest.mark.parametrize("cycle", range(1, 9))
def test_a_cycle_that_is_repeated_is_found_with_its_place(cycle):
    turn = [(12, 60 + place, 12) for place in range(cycle)]
    before, after = varied(1, 10), varied(2, 10)
    song = song_of([*before, *turn * 5, turn[0], *after])
    assert longest_loop(song) == Loop(5 * cycle + 1, cycle, 10)


def test_a_longer_cycle_than_eight_is_music():
    turn = [(12, 60 + place, 12) for place in range(9)]
    assert longest_loop(song_of(turn * 4)).events == 0


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(60, 61), st.just(12)), max_size=20))
def test_a_loop_repeats_what_it_says(events):
    song = song_of(events)
    loop = longest_loop(song)
    onsets, pitches = song.notes[:, 0], song.notes[:, 2]
    steps = np.diff(onsets, prepend=0)
    for place in range(loop.first + loop.cycle, loop.first + loop.events):
        assert steps[place] == steps[place - loop.cycle]
        assert pitches[place] == pitches[place - loop.cycle]
    assert loop.events == 0 or loop.events >= 2 * loop.cycle


def test_real_songs_are_not_flagged(bounds):
    flagged = [wrong(varied(seed), bounds) for seed in range(20)]
    assert sum(map(bool, flagged)) <= 1  # the percentile leaves one of twenty out


def test_one_note_for_ever_is_flagged_as_a_loop_and_as_one_tone(bounds):
    loop, tone = wrong([(12, 60, 12)] * 60, bounds)
    assert loop == "the same event for 60 events, over 16"
    assert tone.startswith("pitch classes of 0.00 bits, under")


def test_a_cycle_is_flagged_with_its_length(bounds):
    turn = [(12, 60, 12), (12, 64, 6), (6, 67, 24)]
    found = wrong([*varied(3, 40), *turn * 8], bounds)
    assert "a cycle of 3 events for 24 events, over 16" in found


def test_loops_that_real_songs_have_are_allowed():
    turn = [(12, 60 + place, 12) for place in range(4)]
    real = [song_of(varied(seed) + turn * 10) for seed in range(5)]
    allowing = bounds_of(real)
    assert allowing.loop == 40
    assert not [w for w in wrong(varied(9) + turn * 9, allowing) if "cycle" in w]


def test_silence_and_pitches_beyond_the_real_songs_are_flagged(bounds):
    events = varied(4)
    events[40] = (events[40][0] + 960, events[40][1], events[40][2])
    for place in range(50, 56):
        events[place] = (events[place][0], 100, events[place][2])
    assert signs(song_of(events)).silence >= 960 - 24
    quiet, outside = wrong(events, bounds)
    assert quiet.startswith("silence of ")
    assert outside.startswith("most pitches from ")
    assert outside.endswith(" to 100, outside 55 to 79")


def test_a_rest_of_a_bar_is_no_silence_even_where_real_songs_never_rest(bounds):
    assert bounds.silence == 96
    events = varied(4)
    for step in range(200):
        later = [*events]
        later[40] = (events[40][0] + step, events[40][1], events[40][2])
        silence = signs(song_of(later)).silence
        if silence <= 96:
            assert wrong(later, bounds) == []
        if silence == 120:
            break
    events = later
    assert wrong(events, bounds) == ["silence of 120 ticks, over 96"]


def test_a_few_notes_beyond_the_real_songs_are_no_matter(bounds):
    events = varied(4)
    for place in (3, 20, 50, 70):  # of eighty
        events[place] = (events[place][0], 100, events[place][2])
    assert wrong(events, bounds) == []


def test_what_a_real_song_has_of_one_tone_is_allowed_however_rare_it_is():
    bare = [(12, 60 + 7 * (place % 2), 6 + place % 3) for place in range(80)]
    real = [*(song_of(varied(seed)) for seed in range(40)), song_of(bare)]
    least = min(signs(song).entropy for song in real)
    allowing = bounds_of(real)
    assert allowing.entropy == least == signs(song_of(bare)).entropy
    # Of the others alone, it lies beyond what deviations allow.
    assert bounds_of(real[:-1]).entropy > least
    entropies = [signs(song).entropy for song in real]
    assert np.mean(entropies) - 3 * np.std(entropies, ddof=1) > least


def test_no_notes_are_flagged(bounds):
    assert wrong([], bounds) == ["it has no notes"]


def test_bounds_need_a_song():
    with pytest.raises(ValueError, match="no real song has a note"):
        bounds_of([song_of([])])
