"""ReferenceBuilder: its executor on a Songs artifact."""

import dataclasses
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

from components.artifacts import MusicReference, MusicVocabulary
from components.reference_builder import executor as reference_builder
from music.codec import ChordsCodec, NotesCodec
from music.measures import Reference, SongIndex, as_heard, measure
from music.song import Song
from music.vocabulary import build_vocabulary


def vocabulary_of(songs, codec, **options):
    events = np.concatenate([codec.encode(song) for song in songs])
    counts = [Counter(events[:, column].tolist()) for column in range(len(codec.fields))]
    return build_vocabulary(codec, counts, **options)


@pytest.fixture(scope="module")
def album(make_song):
    """Eight songs; the fourth has twenty notes of the second, a third above."""
    songs = [make_song(number) for number in range(1, 9)]
    notes = songs[1].notes[:20].copy()
    notes[:, 0] += songs[3].end
    notes[:, 2] += 4
    both = np.concatenate([songs[3].notes, notes])
    songs[3] = dataclasses.replace(songs[3], notes=both)
    return songs


@pytest.fixture(scope="module")
def songs(album, songs_artifact, tmp_path_factory):
    """Six songs to learn from in three files, two held out."""
    return songs_artifact(tmp_path_factory.mktemp("album"), album[:6], album[6:], shards=3)


def build(songs, vocabulary, folder, beam_args=()):
    known, made = MusicVocabulary(), MusicReference()
    known.uri, made.uri = str(folder / "vocabulary"), str(folder / "reference")
    for artifact in (known, made):
        Path(artifact.uri).mkdir(parents=True)
    Path(known.uri, "vocabulary.json").write_text(vocabulary.to_json())
    beam_args = list(beam_args or ["--direct_running_mode=in_memory", "--direct_num_workers=1"])
    context = BaseBeamExecutor.Context(beam_pipeline_args=beam_args, tmp_dir=str(folder / "tmp"))
    reference_builder.Executor(context).Do(
        {"songs": [songs], "vocabulary": [known]}, {"reference": [made]}, {"code": ""}
    )
    return Path(made.uri)


@pytest.fixture(scope="module")
def known(album):
    return vocabulary_of(album[:6], NotesCodec(), min_count=2)


@pytest.fixture(scope="module")
def built(songs, known, tmp_path_factory):
    return build(songs, known, tmp_path_factory.mktemp("built"))


def lines(folder):
    return [json.loads(line) for line in (folder / "songs.jsonl").read_text().splitlines()]


def test_every_training_song_is_measured_against_the_others_and_no_held_out_one(built, album):
    found = lines(built)
    assert [line["id"] for line in found] == [song.id for song in album[:6]]
    borrowed = found[3]
    assert borrowed["run"] == borrowed["copied"]["notes"] >= 20
    assert borrowed["copied"]["source"] == album[1].id
    assert found[1]["copied"]["source"] == album[3].id


def test_the_reference_is_that_of_the_measures(built, album, known):
    heard = [as_heard(song, known) for song in album[:6]]
    index = SongIndex.of(heard)
    expected = Reference.of([measure(one.song, index, leave_out=True) for one in heard])
    assert (built / "reference.json").read_text() == expected.to_json()


def test_the_index_finds_the_training_songs_again(built, album, known):
    with (built / "index.zip").open("rb") as file:
        index = SongIndex.load(file)
    assert len(index) == 6
    for song in album[:6]:
        stolen = Song(as_heard(song, known).song.transpose(2).notes[5:25])
        assert index.originality(stolen).run == len(stolen)
    assert index.originality(as_heard(album[7], known).song).run < 10


def test_a_model_of_the_papers_tokens_is_held_against_what_it_heard(songs, album, tmp_path):
    known = vocabulary_of(album[:6], ChordsCodec(), min_count=2, closed=True)
    built = build(songs, known, tmp_path)
    with (built / "index.zip").open("rb") as file:
        index = SongIndex.load(file)
    # Played back in even eighths, as such a model plays.
    tokens = ChordsCodec().encode(album[2])
    played = ChordsCodec().decode(known.admit(tokens)[:15])
    assert index.originality(played).run == len(played)


def test_two_processes_build_the_same_files_as_one(songs, known, built, tmp_path):
    again = build(
        songs,
        known,
        tmp_path,
        ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    )
    for name in ("reference.json", "songs.jsonl", "index.zip"):
        assert (again / name).read_bytes() == (built / name).read_bytes()
    assert len(list(again.iterdir())) == 3


def test_what_was_found_is_told_in_a_line(songs, known, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "segue.progress"):
        build(songs, known, tmp_path)
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Reference")]
    assert line.startswith("ReferenceBuilder: 6 songs")
    assert "95 of 100 have runs of at most" in line


def test_a_worker_imports_neither_tfx_nor_tensorflow():
    check = (
        "import sys, components.reference_builder.stages\n"
        "sys.exit(' '.join({'tfx', 'tensorflow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
