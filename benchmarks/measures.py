"""Songs measured a second, on one core: every measure of the gate, against a whole catalogue.

The catalogue is 180 of Bach's chorales, through the default codec; each is measured as a
new song is: descriptors, loops, silence and range, and the longest run that it shares with
any of the others. The peer for the five descriptors is MusPy, which defines them; it is
given its own objects, made beforehand. Coherence compares two sets, and is told apart.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from music.codec import build_codec
from music.corpus import export
from music.measures import DESCRIPTORS, Heard, Reference, SongIndex, as_heard, coherence, describe
from music.measures import measure as measure_song
from music.midi import read_midi
from music.song import DURATION, ONSET, PITCH, TICKS_PER_QUARTER, Song
from music.vocabulary import FieldVocabulary, Vocabulary

SONGS = 180
NEW = 12  # songs of a panel
TARGET = 20.0  # songs a second


def measure() -> list[dict[str, Any]]:
    """Rows of songs a second, and the peer's ratio."""
    songs = _songs()
    began = time.perf_counter()
    index = SongIndex.of(songs)
    indexed = time.perf_counter() - began
    real = [one.song for one in songs]
    per_song = _best(lambda: [measure_song(song, index, leave_out=True) for song in real])
    measured = [measure_song(song, index, leave_out=True) for song in real]
    reference = _best(lambda: Reference.of(measured))
    sets = _best(lambda: coherence(real[NEW:], real[:NEW]))
    ours = _best(lambda: [describe(song) for song in real])
    objects = [_muspy(song) for song in real]
    theirs = _best(lambda: [_by_muspy(one) for one in objects], rounds=1)
    rate = len(real) / per_song
    rows = [
        _row("songs measured whole", rate, "songs/s", f"target {TARGET:g}: {rate / TARGET:.1f} x"),
        _row("indexed", len(real) / indexed, "songs/s", f"{sum(map(len, real)):,} notes in all"),
        _row("the composer's distribution", 1e3 * reference, "ms", "once a run"),
        _row(f"coherence of {NEW} songs", 1e3 * sets, "ms", f"against {len(real) - NEW}"),
        _row("five descriptors", len(real) / ours, "songs/s", f"{theirs / ours:.0f} x MusPy's"),
        _row("five descriptors by MusPy", len(real) / theirs, "songs/s", "the peer"),
    ]
    for row in rows:
        print(f"  {row['what']:<32} {row['value']:10,.1f} {row['unit']:<8} {row['note']}")
    return rows


def _row(what: str, value: float, unit: str, note: str) -> dict[str, Any]:
    return {"what": what, "value": value, "unit": unit, "note": note}


def _best(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the quickest of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def _songs() -> list[Heard]:
    codec = build_codec({"name": "notes"})
    every = tuple(
        FieldVocabulary(field.name, tuple(range(field.size)), ()) for field in codec.fields
    )
    vocabulary = Vocabulary(codec.config(), every)
    with tempfile.TemporaryDirectory() as folder:
        paths = export("bach", Path(folder), limit=SONGS, parts=4)
        songs = [read_midi(path.read_bytes(), path.stem) for path in paths]
    return [as_heard(song, vocabulary) for song in songs]


def _muspy(song: Song) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import muspy
    notes = [
        muspy.Note(time=onset, pitch=pitch, duration=duration, velocity=64)
        for onset, duration, pitch in song.notes[:, [ONSET, DURATION, PITCH]].tolist()
    ]
    return muspy.Music(resolution=TICKS_PER_QUARTER, tracks=[muspy.Track(notes=notes)])


def _by_muspy(music: Any) -> Sequence[float]:
    import muspy

    found = [
        muspy.scale_consistency(music),
        muspy.pitch_class_entropy(music),
        muspy.groove_consistency(music, 4 * TICKS_PER_QUARTER),
        muspy.polyphony_rate(music),
        muspy.empty_beat_rate(music),
    ]
    assert len(found) == len(DESCRIPTORS)
    return found
