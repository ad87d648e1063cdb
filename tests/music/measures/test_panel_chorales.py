"""The default bounds on real music: chorales keep to them, their notes without a song do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from music.codec import NotesCodec
from music.corpus import export
from music.measures.heard import Heard
from music.measures.originality import SongIndex
from music.measures.panel import PanelBounds, judge
from music.measures.reference import Reference, measure
from music.midi import read_midi

pytestmark = pytest.mark.slow  # music21 takes a minute to read so many scores

CHORALES, HELD_OUT, PANEL, STEPS = 64, 24, 12, 120
CODEC = NotesCodec()


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    paths = export("bach", tmp_path_factory.mktemp("bach"), limit=CHORALES, parts=4)
    songs = [read_midi(path.read_bytes(), path.stem) for path in paths]
    return [dataclasses.replace(song, id=f"{n:064d}") for n, song in enumerate(songs)]


@pytest.fixture(scope="module")
def learned(chorales):
    """Those that a panel's songs may be like: neither held out nor a panel of their own."""
    return chorales[PANEL:-HELD_OUT]


@pytest.fixture(scope="module")
def verdict(chorales, learned):
    index = SongIndex.of([Heard(song, song.notes[:, 0]) for song in learned])
    reference = Reference.of([measure(song, index, leave_out=True) for song in learned])
    held_out = chorales[-HELD_OUT:]
    return lambda songs: judge(songs, held_out, reference, index, PanelBounds())


def findings(verdict):
    return {one.name: one for one in verdict.findings}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("together", [True, False], ids=["events", "fields"])
def test_notes_drawn_as_often_as_in_chorales_make_no_chorales(verdict, learned, together, seed):
    """Every note is the composer's, or each of its fields; none belongs to those before it."""
    events = np.concatenate([CODEC.encode(song) for song in learned])
    rng = np.random.default_rng(seed)
    shape = (PANEL, STEPS, 1) if together else (PANEL, STEPS, events.shape[1])
    drawn = np.take_along_axis(events[None], rng.integers(0, len(events), shape), axis=1)
    found = findings(verdict([CODEC.decode(song) for song in drawn]))
    assert found["copies"].met
    assert not found["tonality"].met


def test_chorales_keep_to_the_bounds_of_coherence_and_tonality_with_a_margin(verdict, chorales):
    found = findings(verdict(chorales[:PANEL]))
    for name in ("coherence", "tonality"):
        assert found[name].met
        assert found[name].value > found[name].bound + 0.08
