"""VocabularyBuilder: its stages, and its executor on a Songs artifact."""

import collections
import json
import logging
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor

from components.artifacts import MusicVocabulary
from components.kept import KEPT_VOCABULARY_FILE, WEIGHTS_FILE, start_of
from components.stages import SONGS_A_BATCH, ReadSongs, read_songs, song_shards
from components.vocabulary_builder import executor as vocabulary_builder
from components.vocabulary_builder.stages import CountCodes, count_codes
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.song import Song
from music.vocabulary import build_vocabulary

CODEC = NotesCodec()


def counts_of(songs, codec=CODEC):
    total = collections.Counter()
    for one in songs:
        for row in codec.encode(one):
            total.update(enumerate(row.tolist()))
    return dict(total)


def by_field(counts, codec=CODEC):
    fields = [{} for _ in codec.fields]
    for (field, code), count in counts.items():
        fields[field][code] = count
    return fields


@pytest.fixture(scope="module")
def album(make_song):
    return [make_song(number) for number in range(9)]


@pytest.fixture(scope="module")
def songs(album, songs_artifact, tmp_path_factory):
    """Six songs to learn from in three files, three held out in three others."""
    return songs_artifact(tmp_path_factory.mktemp("album"), album[:6], album[6:], shards=3)


# ---- reading songs ----------------------------------------------------------


def test_songs_are_read_from_the_files_of_one_split(songs, album):
    for side, wanted in (("train", album[:6]), ("eval", album[6:])):
        with Pipeline() as pipeline:
            found = pipeline | ReadSongs(songs.uri, side)
            assert_that(found, equal_to(sorted(wanted, key=lambda one: one.id)))


def test_a_file_of_songs_is_read_some_songs_at_a_time(songs_artifact, make_song, tmp_path):
    many = [make_song(number, count=number % 4) for number in range(SONGS_A_BATCH + 5)]
    bare = Song(many[3].notes, id="f" * 64, percussion=4)  # tempo, key and title unknown
    made = songs_artifact(tmp_path, [*many, bare], [], shards=1)
    (path,) = song_shards(made.uri, "train")
    batches = list(read_songs(path))
    assert [len(batch) for batch in batches] == [SONGS_A_BATCH, 6]
    found = [one for batch in batches for one in batch]
    assert found == [*many, bare]
    assert [len(one) for one in found[:4]] == [0, 1, 2, 3]


def test_a_file_without_songs_is_read_as_none(songs_artifact, make_song, tmp_path):
    made = songs_artifact(tmp_path, [make_song(1)], [], shards=4)
    found = [list(read_songs(path)) for path in song_shards(made.uri, "train")]
    assert sorted(len(batches) for batches in found) == [0, 0, 0, 1]


# ---- counting ---------------------------------------------------------------


def test_the_codes_of_a_song_are_counted(album):
    assert dict(count_codes(album[1], CODEC)) == counts_of([album[1]])


def test_the_codes_of_many_songs_are_added_up(album):
    with Pipeline() as pipeline:
        found = pipeline | beam.Create(album) | CountCodes(CODEC)
        assert_that(found, equal_to(list(counts_of(album).items())))


def test_a_worker_that_counts_imports_neither_tfx_nor_tensorflow():
    check = (
        "import sys, components.vocabulary_builder.stages\n"
        "sys.exit(' '.join({'tfx', 'tensorflow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- the executor -----------------------------------------------------------


def build(songs, tmp_path, codec=CODEC, **given):
    made = MusicVocabulary()
    made.uri = str(tmp_path / "vocabulary")
    Path(made.uri).mkdir()
    values = {
        "codec": json.dumps(codec.config()), "min_count": 5, "closed": 0, "max_size": 4096,
        "start": "", "serving_dir": "", "code": "", **given,
    }  # fmt: skip
    beam_args = ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
    context = BaseBeamExecutor.Context(beam_pipeline_args=beam_args, tmp_dir=str(tmp_path / "tmp"))
    vocabulary_builder.Executor(context).Do({"songs": [songs]}, {"vocabulary": [made]}, values)
    return Path(made.uri, "vocabulary.json").read_text()


def test_the_executor_writes_the_domains_vocabulary_of_the_training_songs(songs, album, tmp_path):
    wanted = build_vocabulary(CODEC, by_field(counts_of(album[:6])), 5, False)
    assert by_field(counts_of(album)) != by_field(counts_of(album[:6]))
    assert build(songs, tmp_path) == wanted.to_json()


def test_a_capped_vocabulary_tells_what_became_of_the_rest(songs, album, tmp_path, caplog):
    codec = ChordsCodec()
    (counts,) = by_field(counts_of(album[:6], codec), codec)
    often = sorted(counts.values())[-6:]
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        text = build(songs, tmp_path, codec, min_count=1, max_size=6, closed=1)
    rare = sum(counts.values()) - sum(often)
    (told,) = [record for record in caplog.records if record.name == "segue.progress"]
    assert told.text == f"codec chords: the most frequent 6 token ({rare:,} dropped)"
    assert told.facts == {"sizes": {"token": 6}, "rare": {"token": rare}}
    (field,) = json.loads(text)["fields"]
    assert sorted(counts[code] for code in field["kept"]) == often


def test_a_vocabulary_without_a_frequent_code_is_one_line(songs, tmp_path):
    with pytest.raises(SegueError, match="no step is seen 100000 times in "):
        build(songs, tmp_path, min_count=100_000)


# ---- the vocabulary of a version --------------------------------------------


@pytest.fixture
def version(tmp_path):
    """version(text): the folder of a version that keeps such a vocabulary."""

    def version(text):
        folder = tmp_path / "serving" / "5"
        (folder / WEIGHTS_FILE).parent.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
        (folder / WEIGHTS_FILE).write_bytes(b"weights")
        (folder / KEPT_VOCABULARY_FILE).write_text(text)
        return folder

    return version


def test_the_vocabulary_of_a_version_is_taken_to_the_byte_and_what_it_lacks_is_told(
    songs, album, version, tmp_path, caplog
):
    seen = by_field(counts_of(album[:6]))
    # As if of other songs: two steps, of which one stands here, and of a third one too few.
    theirs = [{0: 50, 24: 50, 6: 1}, {}, {12: 100}]
    text = build_vocabulary(CODEC, theirs, 5).to_json() + " "
    folder = version(text)
    given = {"start": start_of(str(folder)), "serving_dir": str(folder.parent)}
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        # What is asked for otherwise has no say.
        assert build(songs, tmp_path, min_count=100_000, **given) == text
    (told,) = [record for record in caplog.records if record.name == "segue.progress"]
    moved = {field: sum(counts.values()) for field, counts in zip("sd", seen[::2], strict=True)}
    moved["s"] -= seen[0][0] + seen[0][24]
    moved["d"] -= seen[2][12]
    new = {"s": moved["s"] - seen[0][6], "d": moved["d"]}
    assert told.text == (
        "codec notes, the vocabulary of the version in service: "
        f"2 step ({moved['s']:,} moved to the nearest, {new['s']:,} of them never seen before), "
        f"129 pitch, 1 duration ({moved['d']:,} moved to the nearest, {new['d']:,} of them never "
        "seen before)"
    )
    assert told.facts["rare"] == {"step": moved["s"], "pitch": 0, "duration": moved["d"]}
    assert told.facts["unseen"] == {"step": new["s"], "pitch": 0, "duration": new["d"]}


def test_a_version_that_speaks_another_codec_or_is_gone_is_one_line(songs, version, tmp_path):
    text = build_vocabulary(ChordsCodec(), [{60: 9}]).to_json()
    folder = version(text)
    given = {"start": start_of(str(folder)), "serving_dir": str(folder.parent)}
    with pytest.raises(SegueError, match="^version 5 speaks the codec .*its vocabulary does not"):
        build(songs, tmp_path, **given)
    (folder / KEPT_VOCABULARY_FILE).write_text("other")
    (tmp_path / "again").mkdir()
    with pytest.raises(SegueError, match="is no longer in .*; run the pipeline again"):
        build(songs, tmp_path / "again", **given)
