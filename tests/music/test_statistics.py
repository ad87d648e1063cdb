"""Facts of songs, and of many."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.codec import build_codec
from music.song import DURATION, ONSET, PART, PITCH, Song
from music.statistics import (
    Totals,
    clock,
    duration_name,
    song_facts,
    spoken_key,
    spoken_pitch,
)

songs_with_notes = st.from_type(Song).filter(len)


def song(*rows, **facts) -> Song:
    return Song(np.array(rows, np.int32).reshape(-1, 5), **facts)


def test_a_part_is_told_by_its_notes():
    facts = song_facts(
        song(
            (0, 24, 60, 80, 2),
            (0, 24, 64, 70, 2),
            (24, 12, 67, 90, 2),
            (96, 24, 55, 80, 2),
            (0, 96, 40, 50, 5),
        )
    )
    two, five = facts.parts
    assert (two.part, two.notes, two.chords) == (2, 4, 1)
    assert (two.low, two.high, two.soft, two.loud) == (55, 67, 70, 90)
    assert two.durations == ((24, 3), (12, 1))
    assert two.silence == 96 - 36
    assert (five.part, five.silence, five.chords) == (5, 0, 0)
    assert (facts.low, facts.high) == (40, 67)


def test_a_note_that_sounds_on_leaves_no_silence_behind_a_shorter_one():
    facts = song_facts(song((0, 100, 60, 80, 0), (10, 5, 64, 80, 0), (110, 5, 64, 80, 0)))
    assert facts.parts[0].silence == 10


def test_length_is_told_in_quarters_bars_and_seconds():
    notes = [(24 * beat, 24, 60, 80, 0) for beat in range(7)]
    facts = song_facts(song(*notes, tempo=90.0, time_signature="3/4"))
    assert (facts.quarters, facts.bars) == (7, 3)
    assert facts.seconds == pytest.approx(7 * 60 / 90)


def test_a_silent_file_is_played_at_120_in_four_quarters():
    facts = song_facts(song(*[(24 * beat, 24, 60, 80, 0) for beat in range(5)]))
    assert (facts.bars, facts.seconds) == (2, 2.5)
    assert (facts.tempo, facts.time_signature) == (None, None)


def test_codecs_say_what_they_make_of_it():
    facts = song_facts(song((0, 24, 60, 80, 0), (0, 24, 64, 80, 0), (24, 9999, 60, 80, 0)))
    notes, chords = facts.codecs["notes"], facts.codecs["chords"]
    assert (notes.events, notes.held) == (5, 1)
    assert (chords.events, chords.distinct, chords.chords) == (2, 2, 1)


def test_a_song_without_notes_has_no_facts():
    with pytest.raises(ValueError, match="without notes"):
        song_facts(song())


@settings(max_examples=50)
@given(songs_with_notes)
def test_facts_agree_with_the_notes(music):
    facts = song_facts(music)
    assert [part.part for part in facts.parts] == music.parts
    assert sum(part.notes for part in facts.parts) == facts.notes == len(music)
    assert sum(count for _, count in facts.durations) == len(music)
    for name, codec in facts.codecs.items():
        events = build_codec(name).encode(music)
        assert codec.events == len(events)
        closing = name == "notes" and events[-1, 0] != 0  # its step differs from the opening's
        assert codec.distinct == len({tuple(event) for event in events.tolist()}) - closing
    for part in facts.parts:
        notes = music.notes[music.notes[:, PART] == part.part]
        assert part.low == notes[:, PITCH].min()
        onsets = notes[:, ONSET].tolist()
        assert part.chords == sum(onsets.count(onset) > 1 for onset in set(onsets))
        sounding = np.zeros(int((notes[:, ONSET] + notes[:, DURATION]).max()), bool)
        for onset, duration in notes[:, [ONSET, DURATION]].tolist():
            sounding[onset : onset + duration] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[True], sounding[min(onsets) :], [True]])))
        assert part.silence == max(edges[1::2] - edges[::2], default=0)
    json.dumps(facts.as_dict(), allow_nan=False)


@settings(max_examples=30)
@given(st.lists(songs_with_notes, max_size=4))
def test_totals_are_sums(songs):
    totals = Totals()
    for index, music in enumerate(songs):
        totals.add(song_facts(music), mean=0.25, largest=0.1 * index, off_grid=index)
    assert totals.songs == len(songs)
    assert totals.notes == sum(map(len, songs)) == sum(totals.durations.values())
    assert totals.parts == sum(len(music.parts) for music in songs)
    assert totals.ticks == sum(music.end for music in songs)
    assert totals.off_grid == sum(range(len(songs)))
    assert totals.rounding_mean == (pytest.approx(0.25) if songs else 0)
    if songs:
        assert totals.high == max(music.notes[:, PITCH].max() for music in songs)
    json.dumps(totals.as_dict(), allow_nan=False)


def test_tables_name_the_commonest_first_and_what_is_not_given():
    totals = Totals()
    for key in ("C major", None, "A minor", "C major"):
        totals.add(song_facts(song((0, 24, 60, 80, 0), key=key)))
    assert totals.as_dict()["keys"] == [["C major", 2], ["A minor", 1], [None, 1]]


def test_a_hundred_thousand_parts_take_no_minutes():
    number = np.arange(100_000)
    rows = np.stack([number * 4, number * 0 + 6, number % 80 + 20, number * 0 + 80, number], 1)
    music = Song(rows)
    began = time.process_time()
    assert len(song_facts(music).parts) == 100_000
    assert time.process_time() - began < 3  # all at once: 0.6 s; one after the other: 5 s


@pytest.mark.parametrize(
    ("ticks", "name"),
    [
        (96, "whole"), (24, "quarter"), (3, "thirty-second"), (36, "dotted quarter"),
        (9, "dotted sixteenth"), (8, "triplet eighth"), (16, "triplet quarter"),
        (120, "5 quarters"), (60, "2½ quarters"), (1, "1 tick"), (23, "23 ticks"),
    ],
)  # fmt: skip
def test_durations_have_the_names_that_musicians_use(ticks, name):
    assert duration_name(ticks) == name


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_two_durations_never_share_a_name(one, other):
    assert (duration_name(one) == duration_name(other)) == (one == other)


def test_pitches_keys_and_times_are_spoken():
    assert [spoken_pitch(pitch) for pitch in (0, 60, 63, 127)] == ["C-1", "C4", "E♭4", "G9"]
    assert [spoken_key(key) for key in ("E- minor", "F# major")] == ["E♭ minor", "F♯ major"]
    assert [clock(seconds) for seconds in (0, 59.6, 125, 3725)] == [
        "0:00", "1:00", "2:05", "1:02:05",
    ]  # fmt: skip
