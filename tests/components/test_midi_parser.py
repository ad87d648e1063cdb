"""MidiParser: every file gets its verdict, music counts once, songs are split."""

import hashlib
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

from components.artifacts import Songs, Verdicts
from components.midi_parser import executor as midi_parser
from components.midi_parser.reader import Reader, music_digest
from components.midi_parser.stages import ParseFiles
from components.records import row_to_song
from components.stages import song_shards
from music import split
from music.errors import SegueError
from music.folder import File
from music.midi import Limits, write_midi
from music.song import Song
from music.split import Extremes, Splitter


def song(number, count=30):
    """A song in memory, another for every number."""
    rng = np.random.default_rng(number)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([0, 6, 12, 24], count))
    notes[:, 1] = rng.choice([6, 12, 24], count)
    notes[:, 2] = rng.integers(50, 80, count)
    notes[:, 3] = 70
    return Song(notes, title=f"song {number}", tempo=90.0 + number)


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
    (data / "text.mid").write_text("no midi at all")
    (data / "silent.mid").write_bytes(write_midi(Song(np.zeros((0, 5), np.int32))))
    (data / "folder.mid").mkdir()
    (data / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(data / "pipe.mid")
    (data / "gone.mid").symlink_to(data / "nowhere")
    (data / "notes.txt").write_text("passed over")
    return data


WANTED = {
    "a copy.mid": "kept",  # the first by name
    "b.mid": "duplicate",
    "sub/higher.mid": "duplicate",  # the same music, transposed
    "sub/other.MIDI": "kept",
    "text.mid": "not-midi",
    "silent.mid": "no-notes",
    "folder.mid": "unreadable",
    "linked": "unreadable",
    "pipe.mid": "unreadable",
    "gone.mid": "unreadable",
}


def fates(verdicts):
    return {row["file"]: row["reason"] or row["verdict"] for row in verdicts}


class Run:
    """One run of the executor, and what it left."""

    def __init__(self, base, data, beam_args=("--direct_num_workers=1",), **properties):
        number = len(list(base.glob("run*")))
        self.songs, self.verdicts = Songs(), Verdicts()
        for artifact, name in ((self.songs, "songs"), (self.verdicts, "verdicts")):
            artifact.uri = str(base / f"run{number}" / name)
            os.makedirs(artifact.uri)
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=[*beam_args, "--sdk_container_image=unused"],
            tmp_dir=str(base / "tmp"),
        )
        midi_parser.Executor(context).Do(
            {},
            {"songs": [self.songs], "verdicts": [self.verdicts]},
            {
                "data": str(data), "store": str(base / "store"), "eval_share": 0.3, "salt": "",
                "shards": 2, **properties,
            },
        )  # fmt: skip

    def rows(self):
        paths = sorted(Path(self.verdicts.uri).glob("verdicts-*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def summary(self):
        return json.loads(Path(self.verdicts.uri, "summary.json").read_text())

    def songs_of(self, side):
        return [
            row_to_song(row)
            for path in song_shards(self.songs.uri, side)
            for row in pq.read_table(path).to_pylist()
        ]

    def titles(self):
        return {one.title: side for side in split.SPLITS for one in self.songs_of(side)}

    def bytes(self):
        """{file: SHA-256} of the songs and the table, however they were made."""
        return {
            path.name if path.suffix == ".jsonl" else str(path.relative_to(self.songs.uri)): (
                hashlib.sha256(path.read_bytes()).hexdigest()
            )
            for uri in (self.songs.uri, self.verdicts.uri)
            for path in Path(uri).rglob("*-of-*")
        }


def listed(folder):
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".mid", ".MIDI"))
    return [File(os.fsencode(path), path.relative_to(folder).as_posix()) for path in found]


@pytest.mark.parametrize("order", [1, 2])
def test_verdicts_do_not_depend_on_the_order_of_files(folder, tmp_path, order):
    files = listed(folder)
    random.Random(order).shuffle(files)

    def check(parsed):
        rows = [one.verdict.as_dict() for one in parsed]
        assert fates(rows) == {name: fate for name, fate in WANTED.items() if name != "linked"}
        (detail,) = {row["detail"] for row in rows if row["reason"] == "duplicate"}
        assert detail == "the same music as a copy.mid"
        for row in rows:
            if row["verdict"] == "kept":
                assert (row["notes"], row["parts"], row["percussion"]) == (30, 1, 0)
                assert len(row["song"]) == 64
            else:
                assert row["detail"]

    with Pipeline() as pipeline:
        parsed = pipeline | beam.Create(files) | ParseFiles(Reader(str(tmp_path / "store")))
        assert_that(parsed, check)


def test_the_executor_writes_songs_a_table_and_a_line(folder, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        run = Run(tmp_path, folder)
    assert fates(run.rows()) == WANTED
    assert [row["file"] for row in run.rows()] == sorted(WANTED)
    assert set(run.titles()) == {"a copy", "sub/other"}
    assert set(run.titles().values()) == {"train", "eval"}
    for side in split.SPLITS:
        names = [os.path.basename(path) for path in song_shards(run.songs.uri, side)]
        assert names == ["songs-00000-of-00002.parquet", "songs-00001-of-00002.parquet"]
    (told,) = [record for record in caplog.records if record.name == "segue.progress"]
    assert told.text.startswith(
        "10 files: 2 kept, 0 repaired, 8 rejected (4 unreadable, 2 duplicate, 1 no-notes, "
        f"1 not-midi); see {run.verdicts.uri}; 60 notes"
    )
    assert told.text.endswith(
        "; 1 not parsed again; 1 other file passed over (not .mid, .midi, .kar or .rmi); "
        "rejected: silent.mid (no-notes); text.mid (not-midi); folder.mid (unreadable) and 5 more"
    )
    assert told.facts["passed_over"] == 1
    assert told.facts["reasons"] == {"duplicate": 2, "no-notes": 1, "not-midi": 1, "unreadable": 4}
    # Nothing half-made is left, beside or inside.
    left = [path for path in Path(run.songs.uri).parent.rglob(".*") if path.is_file()]
    assert not left


def test_a_name_cannot_break_the_line_or_take_over_the_terminal(folder, tmp_path, caplog):
    (folder / "a\n\x1b[31mred\x1b]0;title\x07.mid").write_text("no midi at all")
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        Run(tmp_path, folder)
    (told,) = [record for record in caplog.records if record.name == "segue.progress"]
    assert told.text.isprintable()
    assert r"a\n\x1b[31mred\x1b]0;title\x07.mid (not-midi)" in told.text


def test_a_name_cannot_pass_for_the_music_of_a_song(folder, tmp_path):
    fingerprint = (
        Reader(str(tmp_path / "store"))
        .read(File(os.fsencode(folder / "b.mid"), "b.mid"))[0]
        .fingerprint
    )
    (folder / fingerprint).symlink_to(tmp_path, target_is_directory=True)
    titles = Run(tmp_path, folder).titles()
    assert set(titles) == {"a copy", "sub/other"}


def test_the_songs_are_those_of_the_files_in_the_order_of_their_ids(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(9):
        (data / f"{number}.mid").write_bytes(write_midi(song(number)))
    run = Run(tmp_path, data)
    for side in split.SPLITS:
        for path in song_shards(run.songs.uri, side):
            ids = pq.read_table(path)["id"].to_pylist()
            assert ids == sorted(ids)
    found = {one.title: one for side in split.SPLITS for one in run.songs_of(side)}
    assert sorted(found) == [str(number) for number in range(9)]
    for name, one in found.items():
        assert np.array_equal(one.notes[:, :4], song(int(name)).notes[:, :4])
        assert one.tempo == pytest.approx(90 + int(name), abs=0.01)
        assert one.id == hashlib.sha256((data / f"{name}.mid").read_bytes()).hexdigest()


def test_a_second_run_parses_only_what_is_new_and_writes_the_same(folder, tmp_path, monkeypatch):
    from components.midi_parser import reader

    judged = []
    judge = reader.judge

    def watched(file, data, limits):
        judged.append(data)
        return judge(file, data, limits)

    monkeypatch.setattr(reader, "judge", watched)
    first = Run(tmp_path, folder)
    assert len(judged) == 5  # two files have the same bytes
    assert first.summary()["files"] == 10
    again = Run(tmp_path, folder)
    assert len(judged) == 5
    assert {**again.bytes()} == {**first.bytes()}
    new = write_midi(song(3))
    (folder / "new.mid").write_bytes(new)
    grown = Run(tmp_path, folder)
    assert judged[5:] == [new]
    assert set(grown.titles()) == {"a copy", "sub/other", "new"}


def test_the_sum_of_the_music_is_that_of_its_songs_and_of_nothing_else(folder, tmp_path):
    first = Run(tmp_path, folder)
    # Copies, files that are none and names play no role.
    songs = {song(number).fingerprint() for number in (1, 2)}
    assert first.summary()["music"] == music_digest(songs)
    (folder / "new.mid").write_bytes(write_midi(song(3)))
    assert Run(tmp_path, folder).summary()["music"] == music_digest(
        [first.summary()["music"], song(3).fingerprint()]
    )


def test_a_reading_that_was_lost_is_made_again(folder, tmp_path):
    first = Run(tmp_path, folder)
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and len(path.name) == 64:
            path.write_bytes(b"damaged")
    assert Run(tmp_path, folder).bytes() == first.bytes()


def test_without_a_store_nothing_is_left_behind(folder, tmp_path):
    kept = Run(tmp_path, folder)
    run = Run(tmp_path, folder, store="")
    assert run.bytes() == kept.bytes()
    assert sorted(os.listdir(run.songs.uri)) == ["Split-eval", "Split-train"]


@pytest.mark.parametrize(
    "beam_args",
    [
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        # The protocol by which Flink, Spark and Dataflow get their work.
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
    ],
)
def test_processes_and_other_runners_write_the_same_bytes(folder, tmp_path, beam_args):
    one = Run(tmp_path, folder)
    two = Run(tmp_path, folder, beam_args, store=str(tmp_path / "another"))
    assert two.bytes() == one.bytes()
    assert two.summary()["reasons"] == one.summary()["reasons"]


def test_workers_do_not_import_tensorflow_or_tfx():
    code = (
        "import sys; import components.midi_parser.stages; "
        "print([name for name in ('tensorflow', 'tfx', 'music21') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_beyond_the_limits_is_judged_and_not_kept(folder, tmp_path):
    reader = Reader(str(tmp_path / "store"), Limits(bytes=100))
    file = File(os.fsencode(folder / "b.mid"), "b.mid")
    head, known = reader.read(file)
    assert (head.verdict.reason, known) == ("too-large", False)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("good", [0, 1])
def test_a_folder_with_too_little_to_learn_from_is_one_line(tmp_path, good):
    data = tmp_path / "data"
    data.mkdir()
    (data / "text.mid").write_text("no midi at all")
    if good:
        (data / "a.mid").write_bytes(write_midi(song(1)))
        (data / "b.mid").write_bytes(write_midi(song(1).transpose(1)))
    with pytest.raises(SegueError) as caught:
        Run(tmp_path, data)
    told = str(caught.value)
    if good:
        assert told.startswith(f"{data} holds one song to learn from and none to judge by; give")
        assert "b.mid (duplicate: the same music as a.mid)" in told
    else:
        assert told.startswith(f"none of the 1 MIDI files in {data} can be learned from; rejected:")
    assert "text.mid (not-midi: " in told
    assert "\n" not in told


# the split


def sides(songs, splitter):
    extremes = Extremes().add(splitter.rank(one.fingerprint()) for one in songs)
    return {one.title: splitter.side(one.fingerprint(), extremes) for one in songs}


def test_songs_are_split_by_their_music_alone(tmp_path):
    album = [song(number) for number in range(12)]
    wanted = sides(album, Splitter(0.3))
    assert set(wanted.values()) == {"train", "eval"}
    data = tmp_path / "data"
    data.mkdir()
    for one in album:
        (data / f"{one.title}.mid").write_bytes(write_midi(one.transpose(2)))
    assert Run(tmp_path, data).titles() == wanted


def test_a_growing_catalogue_never_learns_from_what_judged_it(tmp_path):
    # Ordered by rank downwards: each new song is the lowest, and would take the place of
    # the one that had to be held out before.
    splitter = Splitter(0.01)
    album = sorted(map(song, range(5)), key=lambda one: -splitter.rank(one.fingerprint()))
    assert splitter.rank(album[-1].fingerprint()) > 0.01
    data = tmp_path / "data"
    data.mkdir()
    held_out = set()
    for count, one in enumerate(album, start=1):
        (data / f"{one.title}.mid").write_bytes(write_midi(one))
        if count < 2:
            continue
        titles = Run(tmp_path, data, eval_share=0.01).titles()
        now = {title for title, side in titles.items() if side == "eval"}
        assert held_out <= now
        held_out = now
    assert held_out == {album[1].title}  # one was enough, once it was there
    # Without the memory it moves.
    forgot = Run(tmp_path, data, eval_share=0.01, store=str(tmp_path / "other")).titles()
    assert forgot[album[1].title] == "train"
