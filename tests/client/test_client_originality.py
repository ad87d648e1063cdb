"""Whether a new song is one, and how a copy is made again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.assembling import song_of
from client.connection import Connection
from client.generation import GenerationClient, Sampling
from client.originality import OriginalityCheck, another_seed, events_before_copy
from client.songs import GenerateRequest, generate_song
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.measures import Heard, Reference, SongIndex, measure
from music.measures.originality import Copy
from music.midi import read_midi
from music.song import ONSET, Song


def some_song(number, count=60):
    rng = np.random.default_rng(number)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 24], count))
    notes[:, 1] = 6
    notes[:, 2] = rng.integers(50, 80, count)
    notes[:, 3] = 80
    return Song(notes, id=f"{number:064d}", title=f"song {number}")


def check_of(*songs):
    """A check against songs that the model is taken to have learned from."""
    heard = [Heard(song, song.notes[:, ONSET]) for song in songs]
    index = SongIndex.of(heard)
    return index, Reference.of([measure(song, index, leave_out=True) for song in songs])


@pytest.fixture
def request_for(toy, tmp_path):
    def build(**given):
        given.setdefault("out", tmp_path / "song.mid")
        return GenerateRequest(
            steps=60, target=toy.target, timeout=10, sampling=Sampling(seed=7), **given
        )

    return build


@pytest.fixture
def played(toy):
    """What the toy plays from nothing with seed 7: 60 events, and their song."""
    codec = NotesCodec()
    with Connection(toy.target) as connection:
        begin = np.array([[0, 128, 0]], np.int32)
        events = GenerationClient(connection).generate([begin], 60, Sampling(seed=7))[0].events
    song = song_of(codec, events)
    return events, dataclasses.replace(song, id="f" * 64, title="the toy's own")


def learned(played, first, last):
    """A training song with notes of the toy's, in another key, among others'."""
    stranger = some_song(99)
    notes = stranger.notes.copy()
    part = played[1].notes[first:last].copy()
    part[:, 2] += 1
    part[:, ONSET] += notes[-1, ONSET] + 24 - part[0, ONSET]
    return dataclasses.replace(stranger, notes=np.concatenate([notes, part]), title="learned")


def test_a_song_of_its_own_is_told_so(request_for):
    check = OriginalityCheck(*check_of(*map(some_song, range(1, 6))))
    report = generate_song(request_for(), None, lambda facts: check)
    assert report.unchecked is None
    assert not report.originality.is_copy
    assert report.remade == 0
    told = report.as_dict()["originality"]
    assert told["run"] == report.originality.run <= told["bound"]
    assert told["is_copy"] is False


def test_a_copy_is_told_with_its_source_and_bars_in_any_key(request_for, played):
    source = learned(played, 20, 50)
    check = OriginalityCheck(*check_of(source, *map(some_song, range(1, 6))))
    report = generate_song(request_for(), None, lambda facts: check)
    found = report.originality
    assert found.is_copy
    assert found.run >= 30 > found.bound
    assert (found.longest.title, found.longest.source) == ("learned", source.id)
    assert found.longest.first in (19, 20)
    assert found.percentile == 100.0
    line = found.line()
    assert f"longest copied run: {found.run} notes from bar {found.longest.bar}" in line
    assert "stand in learned, bar " in line
    assert line.endswith("(a copy)")


def test_an_original_song_keeps_what_stands_before_the_copy_and_goes_on_otherwise(
    request_for, played, tmp_path
):
    check = OriginalityCheck(*check_of(learned(played, 20, 50), *map(some_song, range(1, 6))))
    plain = generate_song(request_for(out=tmp_path / "copy.mid"), None, lambda facts: check)
    request = request_for(original=True)
    report = generate_song(request, None, lambda facts: check)
    assert report.remade >= 1
    assert not report.originality.is_copy
    assert report.originality.run <= report.originality.bound
    assert report.steps_made == 60
    before, after = (
        read_midi(path.read_bytes()).notes for path in (tmp_path / "copy.mid", request.out)
    )
    # 4/4: what stands in bars before the copy's is as it was.
    bar = 96 * (plain.originality.longest.bar - 1)
    kept = before[before[:, ONSET] < bar]
    assert 0 < len(kept) <= plain.originality.longest.first
    np.testing.assert_array_equal(after[: len(kept)], kept)
    assert not np.array_equal(before, after)
    # The same request, the same song.
    again = request_for(original=True, out=tmp_path / "again.mid")
    generate_song(again, None, lambda facts: check)
    assert again.out.read_bytes() == request.out.read_bytes()
    assert b"made again" in request.out.read_bytes()


def test_a_song_that_stays_a_copy_is_one_line_and_no_file(request_for, played):
    check = OriginalityCheck(*check_of(learned(played, 20, 50), *map(some_song, range(1, 6))))
    check.bound = 1  # nothing but the first note may be shared, which no song keeps to
    request = request_for(original=True, tries=2)
    with pytest.raises(SegueError, match=r"^after 2 tries the song still shares \d+ notes"):
        generate_song(request, None, lambda facts: check)
    assert not request.out.exists()


def test_without_an_index_the_song_is_made_and_told_unchecked(request_for):
    def missing(facts):
        raise SegueError("there is no index")

    report = generate_song(request_for(), None, missing)
    assert report.originality is None
    assert report.unchecked == "there is no index"
    assert request_for().out.exists()


def test_without_an_index_no_song_is_called_original(request_for):
    def missing(facts):
        raise SegueError("there is no index")

    for find in (missing, None):
        request = request_for(original=True)
        with pytest.raises(SegueError, match="index"):
            generate_song(request, None, find)
        assert not request.out.exists()


@pytest.mark.parametrize("mode", ["call", "stream", "paper-loop"])
def test_a_song_is_made_again_as_it_was_made(request_for, played, mode):
    plain = generate_song(request_for(mode=mode))
    song = dataclasses.replace(
        read_midi(Path(plain.out).read_bytes()), id="e" * 64, title="learned"
    )
    check = OriginalityCheck(*check_of(song, *map(some_song, range(1, 8))))
    report = generate_song(request_for(mode=mode, original=True), None, lambda facts: check)
    assert report.remade >= 1
    assert report.steps_made == 60
    assert not report.originality.is_copy
    assert report.seconds > 0


def test_of_a_handful_of_songs_nobody_can_say_what_is_original(request_for):
    check = OriginalityCheck(*check_of(*map(some_song, range(1, 4))))
    report = generate_song(request_for(), None, lambda facts: check)
    assert (report.originality.bound, report.originality.percentile) == (None, None)
    assert not report.originality.is_copy
    if report.originality.longest:
        assert "too few of the composer's songs" in report.originality.line()
    with pytest.raises(SegueError, match="too few songs to say what is original"):
        generate_song(request_for(original=True), None, lambda facts: check)


def test_titles_of_files_cannot_break_the_line(request_for, played):
    source = dataclasses.replace(learned(played, 20, 50), title="a\nb\x1b[2J")
    check = OriginalityCheck(*check_of(source, *map(some_song, range(1, 6))))
    line = generate_song(request_for(), None, lambda facts: check).originality.line()
    assert line.isprintable()
    assert "a\\nb" in line


@pytest.mark.parametrize("tries", [0, -1, 101])
def test_tries_are_bounded(request_for, tries):
    with pytest.raises(SegueError, match=rf"^tries {tries} is not allowed; it must be 1\.\.100"):
        generate_song(request_for(tries=tries))


@settings(max_examples=60, deadline=None)
@given(
    codec=st.sampled_from([NotesCodec(), ChordsCodec()]),
    bar=st.integers(1, 12),
    signature=st.sampled_from([None, "3/4", "6/8"]),
    data=st.data(),
)
def test_exactly_the_events_before_the_bar_are_kept(codec, bar, signature, data):
    if codec.name == "notes":
        rows = st.tuples(st.integers(0, 40), st.integers(30, 90), st.integers(1, 30))
    else:
        rows = st.tuples(st.integers(30, 90))
    events = np.array(data.draw(st.lists(rows, min_size=1, max_size=40)), np.int32)
    like = Song(np.zeros((0, 5), np.int32), time_signature=signature)
    song = song_of(codec, events, like)
    length = {None: 96, "3/4": 72, "6/8": 72}[signature]
    copy = Copy(9, 0, bar, "", "", 1)
    kept = events_before_copy(codec, events, song, copy)
    first = (bar - 1) * length
    assert (song_of(codec, events[:kept]).notes[:, ONSET] < first).all()
    if kept < len(events):
        assert (song_of(codec, events[: kept + 1]).notes[:, ONSET] >= first).any()


def test_the_index_is_read_from_the_references_folder_and_told_where_it_cannot(tmp_path):
    index, reference = check_of(*map(some_song, range(1, 6)))
    with pytest.raises(SegueError, match="No such file"):
        OriginalityCheck.open(tmp_path)
    (tmp_path / "reference.json").write_text(reference.to_json())
    with open(tmp_path / "index.zip", "wb") as file:
        index.save(file)
    check = OriginalityCheck.open(tmp_path)
    assert check.bound == reference.borrowing.bound()
    assert check.check(some_song(3)).run == 60
    whole = (tmp_path / "index.zip").read_bytes()
    for damaged in (b"no index", whole[:-20], whole[:60] + b"\xff" * 40 + whole[100:]):
        (tmp_path / "index.zip").write_bytes(damaged)
        with pytest.raises(SegueError, match="it is damaged"):
            OriginalityCheck.open(tmp_path)
    (tmp_path / "index.zip").write_bytes(whole)
    for damaged in ("[" * 5_000, "{}", "\ud800".encode("utf-8", "surrogatepass")):
        data = damaged if isinstance(damaged, bytes) else damaged.encode()
        (tmp_path / "reference.json").write_bytes(data)
        with pytest.raises(SegueError, match="it is damaged"):
            OriginalityCheck.open(tmp_path)


def test_seeds_of_attempts_differ_and_are_seeds():
    seeds = {another_seed(seed, attempt) for seed in (-1, 0, 7) for attempt in range(1, 20)}
    assert len(seeds) == 57
    for seed in seeds:
        Sampling(seed=seed)
