"""MidiParser: its stages and its executor."""

import json
import logging
import os
import random
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

from components.artifacts import Songs, Verdicts
from components.midi_parser import executor as midi_parser
from components.midi_parser.stages import SONGS, VERDICTS, MidiFile, ParseMidi
from components.records import SONG_SCHEMA, row_to_song, song_to_row
from components.stages import ReadSongs, SplitSongs
from music import split
from music.errors import SegueError
from music.midi import write_midi
from music.song import Song

SHARE, SALT = 0.3, ""


def song(number, count=30):
    """A song in memory, another for every number."""
    rng = np.random.default_rng(number)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([0, 6, 12, 24], count))
    notes[:, 1] = rng.choice([6, 12, 24], count)
    notes[:, 2] = rng.integers(50, 80, count)
    notes[:, 3] = 70
    return Song(notes, id=f"{number:064d}", title=f"song {number}", tempo=90.0 + number)


ALBUM = [song(number, 20 + 9 * number) for number in range(8)]


def sides(songs=ALBUM, share=SHARE):
    """{song id: split}, by the domain's own functions."""
    ranks = {one.id: split.rank(one.fingerprint(), SALT) for one in songs}
    bound = split.eval_bound(list(ranks.values()), share)
    return {name: split.split_of(rank, bound) for name, rank in ranks.items()}


def executor(kind, tmp_path):
    beam_args = ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
    return kind(
        BaseBeamExecutor.Context(beam_pipeline_args=beam_args, tmp_dir=str(tmp_path / "tmp"))
    )


def artifact(kind, folder):
    made = kind()
    made.uri = str(folder)
    os.makedirs(made.uri)
    return made


# MidiParser


@pytest.fixture
def folder(tmp_path):
    """MIDI files of every fate."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    good = write_midi(song(1))
    (data / "b.mid").write_bytes(good)
    (data / "a copy.mid").write_bytes(good)
    (data / "sub" / "higher.mid").write_bytes(write_midi(song(1).transpose(3)))
    (data / "sub" / "other.MIDI").write_bytes(write_midi(song(2)))
    (data / "damaged.mid").write_bytes(good[:20] + b"\xff" * 30)
    (data / "text.mid").write_text("no midi at all")
    (data / "empty.mid").write_bytes(b"")
    (data / "silent.mid").write_bytes(write_midi(Song(np.zeros((0, 5), np.int32))))
    (data / "folder.mid").mkdir()
    os.mkfifo(data / "pipe.mid")
    (data / "gone.mid").symlink_to(data / "nowhere")
    return data


def files(folder):
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in (".mid", ".MIDI")]
    return [MidiFile(os.fsencode(path), path.relative_to(folder).as_posix()) for path in found]


WANTED = {
    "a copy.mid": "kept",  # the first by name
    "b.mid": "duplicate",
    "sub/higher.mid": "duplicate",  # the same music, transposed
    "sub/other.MIDI": "kept",
    "damaged.mid": "damaged",
    "text.mid": "not-midi",
    "empty.mid": "not-midi",
    "silent.mid": "no-notes",
    "folder.mid": "unreadable",
    "pipe.mid": "unreadable",
    "gone.mid": "unreadable",
}


def fates(verdicts):
    return {row["file"]: row.get("reason", row["verdict"]) for row in verdicts}


@pytest.mark.parametrize("order", [None, 1])
def test_every_file_gets_its_verdict_and_music_is_kept_once(folder, order):
    listed = files(folder)
    if order is not None:
        random.Random(order).shuffle(listed)

    def check_verdicts(rows):
        assert len(rows) == len(WANTED)
        assert fates(rows) == WANTED
        for row in rows:
            if row["verdict"] == "kept":
                assert (row["notes"], row["parts"], row["percussion"]) == (30, 1, 0)
                assert len(row["song"]) == 64
            else:
                assert row["detail"]
        (detail,) = {row["detail"] for row in rows if row.get("reason") == "duplicate"}
        assert detail == "the same music as a copy.mid"

    def check_songs(songs):
        assert {one.title: one.fingerprint() for one in songs} == {
            "a copy": song(1).fingerprint(),
            "sub/other": song(2).fingerprint(),
        }

    with Pipeline() as pipeline:
        parsed = pipeline | beam.Create(listed) | ParseMidi()
        assert_that(parsed[VERDICTS], check_verdicts, label="verdicts")
        assert_that(parsed[SONGS], check_songs, label="songs")


def test_a_file_that_may_not_be_read_is_a_verdict(folder, monkeypatch):
    from components.midi_parser import stages

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(stages, "open", refuse, raising=False)
    with pytest.raises(stages.MidiError) as caught:
        stages.read_file(MidiFile(os.fsencode(folder / "b.mid"), "b.mid"))
    assert (caught.value.reason, caught.value.detail) == ("unreadable", "Permission denied")


def test_the_parsers_executor_writes_songs_and_tells_the_sum(folder, tmp_path, caplog):
    songs, verdicts = artifact(Songs, tmp_path / "songs"), artifact(Verdicts, tmp_path / "verdicts")
    (folder / "folder.mid").rmdir()  # listings leave folders out
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        executor(midi_parser.Executor, tmp_path).Do(
            {}, {"songs": [songs], "verdicts": [verdicts]}, {"data": str(folder)}
        )
    lines = Path(verdicts.uri, "verdicts.jsonl").read_text().splitlines()
    assert lines == sorted(lines)
    rows = [json.loads(line) for line in lines]
    listed = {name: fate for name, fate in WANTED.items() if name != "folder.mid"}
    assert fates(rows) == listed
    (told,) = [record for record in caplog.records if record.name == "segue.progress"]
    assert told.text.startswith("10 files: 2 kept, 8 rejected; 60 notes; rejected: ")
    assert "and 5 more, see " in told.text
    assert told.facts["rejected"] == {
        "duplicate": 2, "damaged": 1, "not-midi": 2, "no-notes": 1, "unreadable": 2
    }  # fmt: skip
    with Pipeline() as pipeline:
        titles = pipeline | ReadSongs(songs.uri) | beam.Map(lambda one: one.title)
        assert_that(titles, equal_to(["a copy", "sub/other"]))


def test_a_folder_from_which_nothing_can_be_learned_is_one_line(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "text.mid").write_text("no midi at all")
    outputs = {
        "songs": [artifact(Songs, tmp_path / "songs")],
        "verdicts": [artifact(Verdicts, tmp_path / "verdicts")],
    }
    with pytest.raises(SegueError) as caught:
        executor(midi_parser.Executor, tmp_path).Do({}, outputs, {"data": str(data)})
    assert str(caught.value) == (
        f"none of the 1 MIDI files in {data} can be learned from: text.mid (not-midi)"
    )


def test_a_song_survives_its_row():
    import pyarrow as pa

    bare = Song(song(3).notes, id="x", percussion=4)
    for one in (song(1), bare):
        table = pa.Table.from_pylist([song_to_row(one)], SONG_SCHEMA)
        (row,) = table.to_pylist()
        assert row_to_song(row) == one


# the split


def test_songs_are_split_by_their_music_alone():
    wanted = sides()
    assert set(wanted.values()) == {"train", "eval"}
    for songs in (ALBUM, ALBUM[::-1]):
        with Pipeline() as pipeline:
            found = (
                pipeline
                | beam.Create(songs)
                | SplitSongs(SHARE, SALT)
                | beam.Map(lambda pair: (pair[1].id, pair[0]))
            )
            assert_that(found, equal_to(list(wanted.items())))
    moved = [song(number, len(one)).transpose(2) for number, one in enumerate(ALBUM)]
    assert sides(moved) == wanted
