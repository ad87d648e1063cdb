"""WindowGenerator: songs to windows file by file, the n-gram, and the executor."""

import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.artifacts import MusicVocabulary
from components.window_generator import executor as window_generator
from components.window_generator import stages
from components.window_generator.stages import AddUp, WriteWindows, alphabets, encode, parts_for
from components.window_generator.tables import Stretch
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.ngram import NGramCounts
from music.split import SPLITS
from music.vocabulary import Vocabulary, build_vocabulary
from music.windows import WindowSpec

CODEC = NotesCodec()
ORDER, SHARDS = 4, 3
WINDOW = WindowSpec(7)


def vocabulary_of(songs, codec, min_count, closed=False):
    counts = [{} for _ in codec.fields]
    for one in songs:
        events = codec.encode(one)
        for column, seen in enumerate(counts):
            for code in events[:, column].tolist():
                seen[code] = seen.get(code, 0) + 1
    return build_vocabulary(codec, counts, min_count, closed)


@pytest.fixture(scope="module")
def album(make_song):
    """{split: songs}; with three held-out songs in three files each has one."""
    made = [make_song(number) for number in range(8)]
    return {"train": made[:5], "eval": made[5:]}


@pytest.fixture(scope="module")
def songs(album, songs_artifact, tmp_path_factory):
    return songs_artifact(tmp_path_factory.mktemp("album"), *album.values(), shards=SHARDS)


@pytest.fixture(scope="module")
def known(album):
    return vocabulary_of(album["train"], CODEC, 5)


def write(songs, known, window, folder):
    """Runs WriteWindows; returns the splits' folders."""
    uris = {side: str(folder / f"Split-{side}") for side in SPLITS}
    with Pipeline() as pipeline:
        _ = pipeline | WriteWindows(songs.uri, known, window, ORDER, uris, str(folder / "ngram"))
    return {side: Path(uri) for side, uri in uris.items()}


def read(path):
    """(song, offset, scored, int[T, F], ngram_nll or None) of every window of a file."""
    import tensorflow as tf

    found = []
    for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        names = [name for name in ("step", "pitch", "duration", "token") if name in feature]
        events = np.stack([feature[name].int64_list.value for name in names], axis=1)
        nats = feature["ngram_nll"].float_list.value[0] if "ngram_nll" in feature else None
        song = feature["song"].bytes_list.value[0].decode()
        offset, scored = (feature[name].int64_list.value[0] for name in ("offset", "scored"))
        found.append((song, offset, scored, events, nats))
    return found


def read_split(folder):
    return [row for path in sorted(folder.iterdir()) for row in read(path)]


@pytest.fixture(scope="module")
def written(tmp_path_factory, songs, known):
    return write(songs, known, WINDOW, tmp_path_factory.mktemp("windows"))


# ---- files ------------------------------------------------------------------


def test_a_file_of_songs_becomes_a_file_of_windows_in_its_order(written, album):
    for side, folder in written.items():
        assert sorted(os.listdir(folder)) == [
            f"windows-{shard:05d}-of-{SHARDS:05d}.gz" for shard in range(SHARDS)
        ]
        for shard in range(SHARDS):
            wanted = [
                (one.id, cut)
                for one in album[side][shard::SHARDS]
                for cut in WINDOW.cut(CODEC.encode(one))
            ]
            found = read(folder / f"windows-{shard:05d}-of-{SHARDS:05d}.gz")
            assert len(found) == len(wanted) > 0
            for (name, offset, scored, events, _), (song, cut) in zip(found, wanted, strict=True):
                assert (name, offset, scored) == (song, cut.offset, cut.scored)
                assert np.array_equal(events, cut.events)
    # Nothing unfinished is left beside the splits.
    assert {path.name for path in written["train"].parent.iterdir()} == {
        "Split-train", "Split-eval", "ngram"
    }  # fmt: skip


def test_the_same_songs_give_the_same_bytes(written, songs, known, tmp_path):
    again = write(songs, known, WINDOW, tmp_path)
    for side, folder in written.items():
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            path.name: path.read_bytes() for path in again[side].iterdir()
        }


def test_a_closed_vocabulary_drops_rare_events_before_windows_are_cut(songs, album, tmp_path):
    codec = ChordsCodec()
    known = vocabulary_of(album["train"], codec, 8, closed=True)
    every = [one for side in SPLITS for one in album[side]]
    kept = {one.id: known.admit(codec.encode(one)) for one in every}
    assert any(len(kept[one.id]) < len(codec.encode(one)) for one in every)
    for side, folder in write(songs, known, WindowSpec(5, "last"), tmp_path).items():
        rows = read_split(folder)
        assert len(rows) == sum(max(0, len(kept[one.id]) - 5) for one in album[side])
        for name, offset, scored, events, _ in rows:
            assert scored == 1
            assert np.array_equal(events, kept[name][offset : offset + 6])
    assert alphabets(known) == known.sizes
    events, dropped = encode(every[0], known)
    assert events.tolist() == kept[every[0].id].tolist()
    assert len(events) + dropped == len(codec.encode(every[0]))


def test_a_worker_that_writes_windows_imports_neither_tfx_nor_tensorflow():
    check = (
        "import sys, components.window_generator.stages\n"
        "sys.exit(' '.join({'tfx', 'tensorflow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- the n-gram -------------------------------------------------------------


def nats_of(album, order=ORDER):
    """{song id: nats of each event} of the held-out songs, without Beam."""
    counts = NGramCounts(order)
    for one in album["train"]:
        counts.add(CODEC.encode(one))
    model = counts.model([field.size for field in CODEC.fields])
    return {one.id: model.nll(CODEC.encode(one)) for one in album["eval"]}


def assert_nats(folders, nats):
    rows = read_split(folders["eval"])
    assert {name for name, *_ in rows} == set(nats)
    for name, offset, scored, events, mean in rows:
        stop = offset + len(events)
        assert mean == pytest.approx(nats[name][stop - scored : stop].mean(), rel=1e-6)


def test_only_held_out_windows_carry_the_ngrams_nats(written, album):
    assert_nats(written, nats_of(album))
    assert all(mean is None for *_, mean in read_split(written["train"]))


def test_an_ngram_in_parts_and_runs_gives_the_same_nats(songs, known, album, tmp_path, monkeypatch):
    """A few events a part, a run for every song: what a large catalogue comes to."""
    monkeypatch.setattr(stages, "EVENTS_A_PART", 50)
    monkeypatch.setattr(stages, "ENTRIES_A_RUN", 100)
    folders = write(songs, known, WINDOW, tmp_path)
    parts = parts_for(known)
    assert parts == -(-sum(len(CODEC.encode(one)) for one in album["train"]) // 50) > 3
    names = [f"ngram-{part:05d}-of-{parts:05d}.npy" for part in range(parts)]
    assert sorted(set(os.listdir(tmp_path / "ngram")) - {"runs"}) == names
    assert len(os.listdir(tmp_path / "ngram" / "runs")) >= SHARDS
    assert_nats(folders, nats_of(album))


def test_a_run_is_written_whenever_enough_is_counted(songs, known, tmp_path, monkeypatch):
    from components.stages import song_shards

    monkeypatch.setattr(stages, "ENTRIES_A_RUN", 100)
    monkeypatch.setattr("components.stages.SONGS_A_BATCH", 1)
    count = stages._CountShard(known, ORDER, str(tmp_path), parts=2)
    found = list(count.process(song_shards(songs.uri, "train")[0]))  # two songs
    assert [part for part, _ in found] == [0, 1] * 3  # the last run holds nothing
    assert [stretch.first == stretch.stop for _, stretch in found] == [False] * 4 + [True] * 2
    assert len({stretch.path for _, stretch in found}) == 3


def test_places_of_counts_are_combined_in_any_order():
    combine = AddUp()
    places = [Stretch(name, 0, 1) for name in "abc"]
    one = combine.add_input(combine.add_input(combine.create_accumulator(), places[0]), places[1])
    other = combine.add_input(combine.create_accumulator(), places[2])
    assert set(combine.merge_accumulators([one, other])) == set(places)
    assert set(combine.merge_accumulators([other, one])) == set(places)


def test_the_stages_travel_to_other_processes(known):
    count = stages._CountShard(known, ORDER, "folder", parts=1)
    for stage in (count, stages._WriteShard("eval", "folder", known, WINDOW, ORDER)):
        assert pickle.loads(pickle.dumps(stage)).vocabulary == known


# ---- the executor -----------------------------------------------------------


IN_MEMORY = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


def generate(songs, known, tmp_path, beam_args=IN_MEMORY, **given):
    vocabulary, examples = MusicVocabulary(), standard_artifacts.Examples()
    vocabulary.uri, examples.uri = str(tmp_path / "vocabulary"), str(tmp_path / "examples")
    for made in (vocabulary, examples):
        os.makedirs(made.uri)
    Path(vocabulary.uri, "vocabulary.json").write_text(known.to_json())
    values = {"length": 7, "form": "every", "ngram_order": ORDER, "code": "", **given}
    beam_args = [*beam_args, "--sdk_container_image=unused"]
    context = BaseBeamExecutor.Context(beam_pipeline_args=beam_args, tmp_dir=str(tmp_path / "tmp"))
    window_generator.Executor(context).Do(
        {"songs": [songs], "vocabulary": [vocabulary]}, {"examples": [examples]}, values
    )
    return examples


def test_the_executor_leaves_a_standard_examples_artifact(songs, album, known, tmp_path, caplog):
    from tfx.components.util import examples_utils

    with caplog.at_level(logging.INFO, logger="segue.progress"):
        examples = generate(songs, known, tmp_path)
    assert sorted(examples.splits) == ["eval", "train"]
    assert examples_utils.get_payload_format(examples) == 6  # FORMAT_TF_EXAMPLE
    assert examples_utils.get_file_format(examples) == "tfrecords_gzip"
    text = Path(examples.uri, "vocabulary.json").read_text()
    assert Vocabulary.from_json(text) == known
    assert sorted(os.listdir(examples.uri)) == [
        "Split-eval", "Split-train", "ngram", "vocabulary.json"
    ]  # fmt: skip
    assert os.listdir(Path(examples.uri, "ngram")) == ["ngram-00000-of-00001.npy"]
    (told,) = [r for r in caplog.records if getattr(r, "stage", "") == "WindowGenerator"]
    for side in SPLITS:
        rows = read_split(Path(examples.path(split=side)))
        assert told.facts[f"windows_{side}"] == len(rows)
        assert told.facts[f"scored_{side}"] == sum(scored for _, _, scored, _, _ in rows)
    every = [one for side in SPLITS for one in album[side]]
    events = sum(len(CODEC.encode(one)) for one in every)
    assert told.facts["events"] == events
    # Every event of a song but its first is scored once.
    assert told.facts["scored_train"] + told.facts["scored_eval"] == events - len(every)
    nats = np.concatenate([nll[1:] for nll in nats_of(album).values()]).mean()
    assert told.facts["ngram_nats"] == pytest.approx(nats, abs=1e-5)
    entries = told.facts["ngram_entries"]
    assert told.text.endswith(f"; n-gram of {entries:,} counts, {nats:.3f} nats an event")


@pytest.mark.parametrize(
    "beam_args",
    [
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        # The protocol by which Flink, Spark and Dataflow get their work.
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
    ],
)
def test_processes_and_other_runners_write_the_same_bytes(
    songs, known, written, tmp_path, caplog, beam_args
):
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        examples = generate(songs, known, tmp_path, beam_args)
    for side, folder in written.items():
        there = Path(examples.path(split=side))
        assert {path.name: path.read_bytes() for path in there.iterdir()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }
    (told,) = [r for r in caplog.records if getattr(r, "stage", "") == "WindowGenerator"]
    assert told.facts["windows_train"] == len(read_split(written["train"]))


def test_held_out_files_without_songs_and_with_them_are_read_alike(
    songs_artifact, album, known, tmp_path
):
    """One held-out song in three files: two of them have no window."""
    from tensorflow_data_validation import generate_statistics_from_tfrecord

    few = songs_artifact(tmp_path, album["train"], album["eval"][:1], shards=SHARDS)
    folders = write(few, known, WINDOW, tmp_path)
    sizes = [len(read(path)) for path in sorted(folders["eval"].iterdir())]
    assert sizes[0] > 0
    assert sizes[1:] == [0, 0]
    statistics = generate_statistics_from_tfrecord(f"{folders['eval']}/*.gz")
    assert statistics.datasets[0].num_examples == sum(sizes)


def test_a_split_that_ends_without_a_window_is_one_line(songs, known, tmp_path):
    with pytest.raises(SegueError) as caught:
        generate(songs, known, tmp_path, length=500, form="last")
    assert str(caught.value) == (
        "the train split has no window: it takes a song with at least 501 events there; "
        "give more songs, longer ones, or lower window.length"
    )


def test_the_vocabulary_says_how_many_parts_the_ngram_has(known):
    assert parts_for(known) == 1
    value = json.loads(known.to_json())
    value["fields"][0]["counts"] = [[0, 2**20], [6, 1]]
    assert parts_for(Vocabulary.from_json(json.dumps(value))) == 2
    value["fields"][0]["counts"] = [[0, 2**40]]
    assert parts_for(Vocabulary.from_json(json.dumps(value))) == stages.MAX_PARTS
    value["fields"][0]["counts"] = []
    assert parts_for(Vocabulary.from_json(json.dumps(value))) == 1
