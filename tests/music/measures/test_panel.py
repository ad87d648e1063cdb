"""Panels whose verdict is known: fair ones, copies, loops, noise."""

import dataclasses
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.errors import SegueError
from music.measures.heard import Heard
from music.measures.originality import SongIndex
from music.measures.panel import PanelBounds, judge, sections
from music.measures.reference import Reference, measure
from music.song import ONSET, PITCH, Song

BOUNDS = PanelBounds()


def song_of(seed, count=120):
    """A walk through a major scale, so that songs are alike and yet each is new."""
    rng = np.random.default_rng(seed)
    scale = np.array([n for n in range(48, 85) if n % 12 in (0, 2, 4, 5, 7, 9, 11)])
    places = np.clip(10 + np.cumsum(rng.integers(-2, 3, count)), 0, len(scale) - 1)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 12, 24], count))
    notes[:, 1], notes[:, 2], notes[:, 3] = 12, scale[places], 80
    return Song(notes, id=f"{seed:064d}", title=f"song {seed}")


@pytest.fixture(scope="module")
def trained():
    return [song_of(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def index(trained):
    return SongIndex.of([Heard(song, song.notes[:, 0]) for song in trained])


@pytest.fixture(scope="module")
def reference(trained, index):
    return Reference.of([measure(song, index, leave_out=True) for song in trained])


@pytest.fixture(scope="module")
def verdict(reference, index):
    held_out = [song_of(100 + seed, count=240) for seed in range(6)]
    return lambda songs, bounds=BOUNDS: judge(songs, held_out, reference, index, bounds)


def test_new_songs_of_the_same_kind_pass(verdict):
    found = verdict([song_of(200 + seed) for seed in range(10)])
    assert found.passed
    assert found.shortfalls == []
    assert len(found.coherence) == 9


def test_a_panel_of_copies_is_refused_for_that_and_says_how_many(verdict, trained):
    found = verdict([dataclasses.replace(song, id="") for song in trained[:10]])
    (line,) = found.shortfalls
    assert line.startswith("10 of 10 songs copy more than")
    assert {one.percentile for one in found.songs} == {100.0}


def test_a_finding_counts_as_people_do(verdict, trained):
    one = dataclasses.replace(trained[0], id="")
    fair = [song_of(200 + seed) for seed in range(3)]
    words = verdict([*fair, one]).findings[0].words
    assert words.startswith("1 of 4 songs copies more than ")
    assert verdict(fair).findings[0].words.startswith("0 of 3 songs copy more than ")
    words = verdict([one]).findings[1].words
    assert words == "0 of 1 songs are degenerate (at most 25% may)"


def test_a_few_long_runs_are_allowed_as_real_songs_have_them(verdict, trained):
    fair = [song_of(200 + seed) for seed in range(8)]
    assert verdict([*fair, *(dataclasses.replace(s, id="") for s in trained[:2])]).passed
    assert not verdict([*fair, *(dataclasses.replace(s, id="") for s in trained[:3])]).passed


def test_a_panel_of_loops_is_refused_for_that(verdict):
    turn = song_of(7).notes[:4]
    loops = []
    for number in range(6):
        notes = np.tile(turn, (30, 1))
        notes[:, 0] = 12 * np.arange(120) + number
        loops.append(Song(notes))
    found = verdict(loops)
    assert any(line.startswith("6 of 6 songs are degenerate") for line in found.shortfalls)
    assert all("a cycle of 4 events" in one.flags[0] for one in found.songs)


def test_noise_is_refused_as_a_set_though_no_song_is_degenerate(verdict):
    rng = np.random.default_rng(3)
    noise = []
    for _ in range(8):
        notes = song_of(0).notes.copy()
        notes[:, 0] = np.cumsum(rng.choice([1, 2, 3, 5], 120))
        notes[:, 1] = rng.integers(40, 90, 120)
        notes[:, 2] = rng.integers(50, 84, 120)
        noise.append(Song(notes))
    found = verdict(noise, PanelBounds(min_coherence=0.7))
    assert [line.split()[0] for line in found.shortfalls] == ["overlap", "scale"]


def in_no_key(songs):
    """The same songs with every second note a semitone higher."""
    made = []
    for song in songs:
        notes = song.notes.copy()
        notes[::2, PITCH] = np.minimum(notes[::2, PITCH] + 1, 84)
        made.append(Song(notes))
    return made


def test_songs_in_no_key_are_refused_where_the_composer_keeps_to_one(verdict):
    fair = [song_of(200 + seed) for seed in range(8)]
    alone = PanelBounds(min_coherence=0.0)
    found = verdict(in_no_key(fair), alone)
    (line,) = found.shortfalls
    assert line.startswith("scale consistency 0.7")
    assert "the training songs' 1.00" in line
    assert verdict(in_no_key(fair), PanelBounds(min_coherence=0.0, min_tonality=0.0)).passed
    # Half of the panel may wander before the whole of it does.
    assert verdict([*in_no_key(fair[:3]), *fair[3:]], alone).passed


def test_a_composer_without_a_key_asks_for_none():
    songs = in_no_key([song_of(seed, 240) for seed in range(24)])
    for number, song in enumerate(songs):
        notes = song.notes.copy()
        notes[:, PITCH] = np.random.default_rng(number).integers(48, 85, len(notes))
        songs[number] = Song(notes, id=f"{number:064d}")
    index = SongIndex.of([Heard(song, song.notes[:, 0]) for song in songs])
    reference = Reference.of([measure(song, index, leave_out=True) for song in songs])
    panel = in_no_key([song_of(200 + seed) for seed in range(8)])
    found = judge(panel, [], reference, index, BOUNDS).findings[-1]
    assert found.met
    assert math.isnan(found.value)
    assert found.words == "tonality cannot be told: the training songs keep to no key"


def in_its_own_key(seed, count=240):
    """As `song_of`, in one of twelve keys, with a rhythm that it keeps to."""
    song = song_of(seed, count)
    notes, rng = song.notes.copy(), np.random.default_rng(seed)
    notes[:, PITCH] += seed * 7 % 12
    notes[:, ONSET] = np.cumsum(rng.choice(rng.choice([6, 12, 18, 24, 48], 2), count))
    return dataclasses.replace(song, notes=notes)


def test_notes_as_frequent_as_the_composers_are_refused_where_no_song_holds_them():
    """Each from the songs of the catalogue, one by one: what an n-gram of order 1 plays."""
    trained = [in_its_own_key(seed) for seed in range(24)]
    held_out = [in_its_own_key(100 + seed) for seed in range(18)]
    index = SongIndex.of([Heard(song, song.notes[:, 0]) for song in trained])
    reference = Reference.of([measure(song, index, leave_out=True) for song in trained])
    pitches = np.concatenate([song.notes[:, PITCH] for song in trained])
    steps = np.concatenate([np.diff(song.notes[:, ONSET]) for song in trained])
    drawn, rng = [], np.random.default_rng(5)
    for number in range(12):
        notes = in_its_own_key(number).notes.copy()
        notes[:, PITCH] = rng.choice(pitches, len(notes))
        notes[:, ONSET] = np.cumsum(rng.choice(steps, len(notes)))
        drawn.append(Song(notes))
    found = {one.name: one for one in judge(drawn, held_out, reference, index, BOUNDS).findings}
    assert [name for name, one in found.items() if not one.met] == ["coherence", "tonality"]
    fair = [dataclasses.replace(in_its_own_key(200 + seed), id="") for seed in range(12)]
    found = judge(fair, held_out, reference, index, BOUNDS)
    assert found.passed


def test_what_is_the_same_in_every_section_counts_for_nothing_and_is_shown(verdict):
    """All sections have as many notes, whoever wrote them: that made noise up by a ninth."""
    found = verdict([song_of(200 + seed) for seed in range(10)])
    # Every song of these lets every note sound as long.
    constant = {"note_count", "note_length_histogram", "note_length_transition_matrix"}
    assert {name for name, one in found.coherence.items() if one.constant} == constant
    told = {name: one.relative for name, one in found.coherence.items() if name not in constant}
    assert max(told.values()) > 1.0
    # What is above the ceiling makes up for nothing.
    mean = np.mean([min(value, 1.0) for value in told.values()])
    assert found.findings[2].value == pytest.approx(mean)
    assert found.as_dict()["coherence"]["note_count"]["constant"] is True


def test_a_composer_whose_songs_are_all_alike_cannot_be_missed_or_met(reference, index):
    one = song_of(3, count=240)
    found = judge([one] * 4, [one] * 12, reference, index, BOUNDS).findings[2]
    assert found.met
    assert math.isnan(found.value)
    assert found.words == "coherence cannot be told: all real songs are alike"


def test_a_run_as_long_as_the_bound_is_no_copy_and_one_note_more_is(
    verdict, trained, reference, index
):
    longest = reference.borrowing.bound(BOUNDS.percentile)

    def with_run_of(notes):
        for seed in range(300, 400):
            made = song_of(seed, count=80).notes.copy()
            start = 40 - notes // 2
            taken = trained[seed % 24].notes[30 : 30 + notes]
            shift = made[start, ONSET] - taken[0, ONSET]
            made[start : start + notes, PITCH] = taken[:, PITCH]
            made[start : start + notes, ONSET] = taken[:, ONSET] + shift
            rest = made[start + notes :, ONSET]
            rest += max(0, taken[-1, ONSET] + shift + 6 - rest[0])
            song = Song(made)
            if measure(song, index).originality.run == notes:
                return song
        raise AssertionError(f"no song has a run of {notes} notes")

    within, beyond = verdict([with_run_of(longest), with_run_of(longest + 1)]).songs
    assert (within.is_copy, beyond.is_copy) == (False, True)


def test_songs_longer_than_the_real_ones_are_compared_in_sections_as_long_as_these(
    reference, index
):
    held_out = [song_of(100 + seed, count=90 + seed) for seed in range(18)]
    songs = [song_of(200 + seed, count=250) for seed in range(6)]
    found = judge(songs, held_out, reference, index, BOUNDS)
    assert found.passed
    assert len(found.coherence) == 9
    # All sections have as many notes, so that the number of notes says nothing.
    assert found.coherence["note_count"].overlap == pytest.approx(1.0, abs=1e-6)


def test_of_many_real_sections_a_sample_is_compared(reference, index):
    """Memory grows with the square of their number: thousands would end the run."""
    held_out = [song_of(seed, count=2_000) for seed in range(1_000, 1_040)]
    songs = [song_of(200 + seed, count=40) for seed in range(4)]
    tracemalloc.start()
    try:
        found = judge(songs, held_out, reference, index, BOUNDS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.coherence) == 9
    assert peak < 200 * 2**20


def test_songs_of_a_few_notes_are_degenerate_and_not_compared(reference, index):
    songs = [song_of(200 + seed, count=5) for seed in range(4)]
    held_out = [song_of(100 + seed, count=240) for seed in range(6)]
    found = judge(songs, held_out, reference, index, BOUNDS)
    assert found.coherence == {}
    assert found.songs[0].flags == ("it has only 5 notes",)
    assert any("4 of 4 songs are degenerate" in line for line in found.shortfalls)


def test_of_a_handful_of_training_songs_copies_cannot_be_told(trained):
    few = trained[:3]
    index = SongIndex.of([Heard(song, song.notes[:, 0]) for song in few])
    reference = Reference.of([measure(song, index, leave_out=True) for song in few])
    found = judge([dataclasses.replace(few[0], id="")], few, reference, index, BOUNDS)
    copies = found.findings[0]
    assert copies.met
    assert math.isnan(copies.value)
    assert copies.words.startswith("copies cannot be told")
    assert found.songs[0].percentile is None


def test_too_few_real_songs_refuse_nothing_and_say_so(reference, index):
    found = judge([song_of(200)], [song_of(300)], reference, index, BOUNDS)
    assert found.passed
    assert math.isnan(found.findings[2].value)
    assert found.findings[2].words.startswith("coherence cannot be told")


def test_a_verdict_is_strict_json_with_every_finding(verdict):
    silent = Song(np.zeros((0, 5), np.int32))
    found = verdict([song_of(200), silent])
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [one["name"] for one in told["findings"]] == [
        "copies", "degenerate", "coherence", "tonality"
    ]  # fmt: skip
    assert told["songs"][1]["flags"] == ["it has no notes"]


@given(st.integers(0, 50), st.integers(1, 20))
def test_sections_are_of_one_length_and_lose_less_than_one(count, length):
    song = song_of(1, count) if count else Song(np.zeros((0, 5), np.int32))
    parts = sections(song, length)
    assert {len(part) for part in parts} <= {length}
    assert len(song) - sum(map(len, parts)) < length
    assert all(part.notes[0, 0] == 0 for part in parts)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"max_copies": 1.5}, "max_copies 1.5"), ({"percentile": -1.0}, "percentile -1.0")],
)
def test_bounds_that_cannot_be_are_refused(given, words):
    with pytest.raises(SegueError, match=f"{words} is not allowed"):
        PanelBounds(**given)


def test_an_empty_panel_cannot_be_judged(verdict):
    with pytest.raises(ValueError, match="a panel without songs"):
        verdict([])
