"""MidiParser, VocabularyBuilder, WindowGenerator: their stages and their executors."""

import collections
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
from tfx.types import standard_artifacts

from components.artifacts import MusicVocabulary, Songs, Verdicts
from components.midi_parser import executor as midi_parser
from components.midi_parser.stages import SONGS, VERDICTS, MidiFile, ParseMidi
from components.records import SONG_SCHEMA, row_to_song, song_to_row
from components.stages import ReadSongs, SplitSongs
from components.vocabulary_builder import executor as vocabulary_builder
from components.vocabulary_builder.stages import CountCodes, count_codes
from components.window_generator import executor as window_generator
from components.window_generator.stages import CountNGrams, WriteWindows, alphabets, encode
from music import split
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.midi import write_midi
from music.ngram import NGramCounts, NGramModel
from music.song import Song
from music.vocabulary import Vocabulary, build_vocabulary
from music.windows import WindowSpec

CODEC = NotesCodec()
SHARE, SALT, ORDER = 0.3, "", 4


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


# VocabularyBuilder


def counts_of(songs, codec=CODEC):
    total = collections.Counter()
    for one in songs:
        for row in codec.encode(one):
            total.update(enumerate(row.tolist()))
    return dict(total)


def test_the_codes_of_a_song_are_counted():
    assert dict(count_codes(song(1), CODEC)) == counts_of([song(1)])


def test_codes_are_counted_in_the_train_split_alone():
    # A song with a pitch that no other has, on either side.
    wanted = counts_of([one for one in ALBUM if sides()[one.id] == "train"])
    assert wanted != counts_of(ALBUM)
    with Pipeline() as pipeline:
        found = pipeline | beam.Create(ALBUM) | CountCodes(CODEC, SHARE, SALT)
        assert_that(found, equal_to(list(wanted.items())))


@pytest.fixture(scope="module")
def songs_artifact(tmp_path_factory):
    """The album as MidiParser leaves it."""
    made = artifact(Songs, tmp_path_factory.mktemp("album") / "songs")
    with Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create(ALBUM)
            | beam.Map(song_to_row)
            | beam.io.WriteToParquet(
                os.path.join(made.uri, "songs"), SONG_SCHEMA, file_name_suffix=".parquet"
            )
        )
    return made


def build(songs, tmp_path, name="vocabulary", **given):
    made = artifact(MusicVocabulary, tmp_path / name)
    values = {
        "codec": json.dumps(CODEC.config()),
        "min_count": 5,
        "closed": 0,
        "eval_share": SHARE,
        "salt": SALT,
        "code": "",
        **given,
    }
    executor(vocabulary_builder.Executor, tmp_path).Do(
        {"songs": [songs]}, {"vocabulary": [made]}, values
    )
    return made


def test_the_builders_executor_writes_the_domains_vocabulary(songs_artifact, tmp_path):
    made = build(songs_artifact, tmp_path)
    counts = [{}, {}, {}]
    for (field, code), count in counts_of(
        [one for one in ALBUM if sides()[one.id] == "train"]
    ).items():
        counts[field][code] = count
    wanted = build_vocabulary(CODEC, counts, 5, False)
    assert Path(made.uri, "vocabulary.json").read_text() == wanted.to_json()


def test_a_vocabulary_without_a_frequent_code_is_one_line(songs_artifact, tmp_path):
    with pytest.raises(SegueError, match="no step is seen 100000 times in "):
        build(songs_artifact, tmp_path, min_count=100_000)


# WindowGenerator


@pytest.fixture(scope="module")
def known():
    counts = [{}, {}, {}]
    for one in ALBUM:
        for (field, code), count in counts_of([one]).items():
            counts[field][code] = counts[field].get(code, 0) + count
    return build_vocabulary(CODEC, counts, 5)


def write(songs, known, window, folder, shards=3):
    """Runs WriteWindows over the split songs; returns the splits' folders."""
    uris = {side: str(folder / f"Split-{side}") for side in split.SPLITS}
    with Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create(songs)
            | SplitSongs(SHARE, SALT)
            | WriteWindows(known, window, ORDER, uris, shards)
        )
    return {side: Path(uri) for side, uri in uris.items()}


def read(folder):
    """(song, offset, scored, int[T, F], ngram_nll or None) of every window of a split."""
    import tensorflow as tf

    found = []
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            names = [name for name in ("step", "pitch", "duration", "token") if name in feature]
            events = np.stack([feature[name].int64_list.value for name in names], axis=1)
            nats = feature["ngram_nll"].float_list.value[0] if "ngram_nll" in feature else None
            found.append(
                (
                    feature["song"].bytes_list.value[0].decode(),
                    feature["offset"].int64_list.value[0],
                    feature["scored"].int64_list.value[0],
                    events,
                    nats,
                )
            )
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory, known):
    return write(ALBUM, known, WindowSpec(7), tmp_path_factory.mktemp("windows"))


def test_shards_hold_every_window_of_their_split_once(written):
    wanted = {"train": {}, "eval": {}}
    for one in ALBUM:
        for cut in WindowSpec(7).cut(CODEC.encode(one)):
            wanted[sides()[one.id]][one.id, cut.offset, len(cut.events)] = cut
    for side, folder in written.items():
        rows = read(folder)
        assert len(rows) == len(wanted[side]) > 0
        for name, offset, scored, events, _ in rows:
            cut = wanted[side].pop((name, offset, len(events)))
            assert np.array_equal(events, cut.events)
            assert scored == cut.scored
        assert not wanted[side]
        for path in folder.iterdir():
            assert path.name.endswith("-of-00003.gz")
        assert len(list(folder.iterdir())) > 1
    # Nothing unfinished is left beside the splits.
    assert {path.name for path in written["train"].parent.iterdir()} == {
        "Split-train",
        "Split-eval",
    }


def test_only_held_out_windows_carry_the_ngrams_nats(written, known):
    counts = NGramCounts(ORDER)
    for one in ALBUM:
        if sides()[one.id] == "train":
            counts.add(CODEC.encode(one))
    model = NGramModel(counts, [field.size for field in CODEC.fields])
    nats = {one.id: model.nll(CODEC.encode(one)) for one in ALBUM}
    for name, offset, scored, events, mean in read(written["eval"]):
        stop = offset + len(events)
        assert mean == pytest.approx(nats[name][stop - scored : stop].mean(), rel=1e-6)
    assert all(mean is None for *_, mean in read(written["train"]))


@pytest.mark.parametrize("shuffle", [1, 2])
def test_the_same_songs_give_the_same_bytes_in_any_order(written, known, tmp_path, shuffle):
    songs = list(ALBUM)
    random.Random(shuffle).shuffle(songs)
    again = write(songs, known, WindowSpec(7), tmp_path)
    for side, folder in written.items():
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            path.name: path.read_bytes() for path in again[side].iterdir()
        }


def test_a_closed_vocabulary_drops_rare_events_before_windows_are_cut(tmp_path):
    codec = ChordsCodec()
    counts = {}
    for (_, token), count in counts_of(ALBUM, codec).items():
        counts[token] = count
    known = build_vocabulary(codec, [counts], min_count=8, closed=True)
    window = WindowSpec(5, "last")
    kept = {one.id: known.admit(codec.encode(one)) for one in ALBUM}
    assert any(len(kept[one.id]) < len(codec.encode(one)) for one in ALBUM)
    for side, folder in write(ALBUM, known, window, tmp_path, shards=1).items():
        rows = read(folder)
        assert len(rows) == sum(
            max(0, len(kept[one.id]) - 5) for one in ALBUM if sides()[one.id] == side
        )
        for name, offset, scored, events, _ in rows:
            assert scored == 1
            assert np.array_equal(events, kept[name][offset : offset + 6])
    assert alphabets(known) == known.sizes
    assert encode(("eval", ALBUM[0]), known)[1][1].tolist() == kept[ALBUM[0].id].tolist()


def test_ngram_counts_are_the_same_in_pieces():
    combine = CountNGrams(3)
    songs = [CODEC.encode(one) for one in ALBUM[:4]]
    pieces = [combine.add_input(combine.create_accumulator(), events) for events in songs]
    merged = combine.extract_output(combine.merge_accumulators(pieces[::-1]))
    whole = NGramCounts(3)
    for events in songs:
        whole.add(events)
    assert merged.tables == whole.tables


def generate(songs, vocabulary, tmp_path, **given):
    examples = artifact(standard_artifacts.Examples, tmp_path / "examples")
    values = {
        "length": 7, "form": "every", "ngram_order": ORDER, "eval_share": SHARE,
        "salt": SALT, "shards": 2, "code": "", **given,
    }  # fmt: skip
    executor(window_generator.Executor, tmp_path).Do(
        {"songs": [songs], "vocabulary": [vocabulary]}, {"examples": [examples]}, values
    )
    return examples


def test_the_generators_executor_leaves_a_standard_examples_artifact(
    songs_artifact, tmp_path, caplog
):
    from tfx.components.util import examples_utils

    vocabulary = build(songs_artifact, tmp_path)
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        examples = generate(songs_artifact, vocabulary, tmp_path)
    assert sorted(examples.splits) == ["eval", "train"]
    assert examples_utils.get_payload_format(examples) == 6  # FORMAT_TF_EXAMPLE
    assert examples_utils.get_file_format(examples) == "tfrecords_gzip"
    text = Path(vocabulary.uri, "vocabulary.json").read_text()
    assert Path(examples.uri, "vocabulary.json").read_text() == text
    assert sorted(os.listdir(examples.uri)) == ["Split-eval", "Split-train", "vocabulary.json"]
    (told,) = [r for r in caplog.records if getattr(r, "stage", "") == "WindowGenerator"]
    for side in split.SPLITS:
        rows = read(Path(examples.path(split=side)))
        assert told.facts[f"windows_{side}"] == len(rows)
        assert told.facts[f"scored_{side}"] == sum(scored for _, _, scored, _, _ in rows)
    events = sum(len(CODEC.encode(one)) for one in ALBUM)
    assert told.facts["events"] == events
    # Every event of a song but its first is scored once.
    assert told.facts["scored_train"] + told.facts["scored_eval"] == events - len(ALBUM)
    assert Vocabulary.from_json(text).sizes[1] == 129


def test_a_split_that_ends_without_a_window_is_one_line(songs_artifact, tmp_path):
    vocabulary = build(songs_artifact, tmp_path)
    with pytest.raises(SegueError) as caught:
        generate(songs_artifact, vocabulary, tmp_path, length=500, form="last")
    assert str(caught.value) == (
        "the train split has no window: it takes a song with at least 501 events there; "
        "give more songs, longer ones, or a smaller window length"
    )
