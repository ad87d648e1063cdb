"""A batch of songs: made, measured, written; and what becomes of those that cannot be."""

import dataclasses
import hashlib
import os

import grpc
import pytest

from client.catalogue.models import ServerModel
from client.catalogue.plan import make_plan
from client.catalogue.request import RegenerateRequest
from client.catalogue.songs import BatchSettings, make_batch
from client.catalogue.store import Store
from client.generation import GenerationClient
from client.shaping import Shape
from music.errors import SegueError
from music.measures import describe
from music.midi import read_midi
from music.song import ONSET, PITCH


@pytest.fixture
def client(toy):
    with ServerModel(toy.target, timeout=10).open() as connection:
        yield GenerationClient(connection)


@pytest.fixture
def batch(catalogue, facts, client, tmp_path):
    """batch(store, **settings): (jobs, their records), without Beam."""

    def make(folder="out", only=None, check=None, tries=0, **settings):
        store = Store(tmp_path / folder)
        store.make()
        request = RegenerateRequest(catalogue, store.folder, steps=20, **settings)
        plan = make_plan(request, facts, None, {})
        jobs = [job for job in plan.to_make if only is None or job.source in only]
        common = BatchSettings(
            steps=20, sampling=request.sampling, prime_length=plan.settings["prime_length"],
            formats=tuple(request.formats), settings=plan.settings, model=plan.model,
            ending=request.ending, shape=request.shape, tries=tries, composer="Toy",
        )  # fmt: skip
        return store, jobs, make_batch(jobs, client, check, store, common)

    return make


def test_a_record_tells_what_was_made(batch, catalogue):
    store, (job,), (record,) = batch(only=["Anna_Amalia/2.mid"])
    midi = (store.folder / "songs" / f"{job.stem}.mid").read_bytes()
    song = read_midi(midi)
    assert record["status"] == "made"
    assert (
        record["source_sha256"]
        == hashlib.sha256((catalogue / "Anna_Amalia" / "2.mid").read_bytes()).hexdigest()
    )
    assert (record["notes"], record["events"]) == (len(song), len(song))
    assert record["bars"] == -(-song.end // 72)
    assert record["seconds"] == pytest.approx(song.end / 24 / 90 * 60, abs=0.01)
    assert record["measures"]["polyphony_rate"] == pytest.approx(
        float(describe(song)["polyphony_rate"]), abs=1e-6
    )
    assert record["originality"] is None
    assert record["prime"] == {"offset": 0, "length": 41}
    assert store.records() == {job.identity: record}
    assert b"seed %d" % job.seed in midi


def test_the_files_are_those_of_the_record(batch):
    store, jobs, records = batch()
    names = set()
    for job, record in zip(jobs, records, strict=True):
        assert [(one["role"], one["format"]) for one in record["outputs"]] == [
            ("song", "midi"), ("song", "roll"), ("original", "midi"), ("original", "roll"),
        ]  # fmt: skip
        for one in record["outputs"]:
            data = (store.folder / one["path"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (one["bytes"], one["sha256"])
            assert one["path"].startswith(f"songs/{job.stem}")
            names.add(one["path"])
    assert len(names) == 4 * len(jobs)
    assert len(os.listdir(store.folder / "songs")) == 4 * len(jobs)


def test_the_original_is_the_source_byte_for_byte(batch, catalogue):
    store, (job,), _ = batch(only=["0.midi"])
    original = store.folder / "songs" / f"{job.stem}.original.mid"
    assert original.read_bytes() == (catalogue / "0.midi").read_bytes()


def test_formats_that_are_not_asked_for_are_not_made(batch):
    store, jobs, records = batch(formats=("midi",))
    assert [len(record["outputs"]) for record in records] == [2] * len(jobs)
    assert not list(store.folder.rglob("*.svg"))


def test_an_ending_and_a_shape_are_kept(batch):
    shape = Shape(lowest=48, highest=72, tempo=111.0)
    store, jobs, _ = batch(ending="bar", shape=shape)
    for job in jobs:
        song = read_midi((store.folder / "songs" / f"{job.stem}.mid").read_bytes())
        assert song.end <= (song.notes[-1, ONSET] // 72 + 1) * 72
        assert 48 <= song.notes[:, PITCH].min() <= song.notes[:, PITCH].max() <= 72
        assert song.tempo == pytest.approx(111)


# songs that cannot be


def test_bad_files_are_records_with_their_reason_and_stop_no_other(batch, catalogue, make_song):
    bad = {
        "empty.mid": b"", "cut.mid": make_song(5)[:60], "letter.mid": b"Dear Sebastian,",
        "silent.mid": b"MThd\0\0\0\6\0\0\0\1\0\x18MTrk\0\0\0\4\0\xff\x2f\0",
    }  # fmt: skip
    for name, data in bad.items():
        (catalogue / name).write_bytes(data)
    (catalogue / "folder.mid").mkdir()
    (catalogue / "gone.mid").symlink_to(catalogue / "nowhere")
    _, jobs, records = batch()
    # A folder and a link to nowhere fail alike: there is nothing to tell them apart by.
    failed = {
        job.source: record["error"]
        for job, record in zip(jobs, records, strict=True)
        if record["status"] == "failed"
    }
    assert sorted(failed) == sorted([*bad, "folder.mid"])
    assert failed["empty.mid"].startswith("empty: ")
    assert failed["letter.mid"].startswith("not-midi: ")
    assert failed["silent.mid"].startswith("no-notes: ")
    assert failed["folder.mid"] == "it is no regular file"
    made = [record for record in records if record["status"] == "made"]
    assert len(made) == 9
    alone = batch("alone", only=["0.midi"])[2]
    assert alone[0] in made
    for job, record in zip(jobs, records, strict=True):
        if job.source in failed:
            assert (record["outputs"], record["prime"], record["notes"]) == ([], None, 0)


def test_a_batch_in_which_no_song_can_be_asks_the_model_for_none(batch, catalogue, toy):
    (catalogue / "letter.mid").write_bytes(b"Dear Sebastian,")
    _, _, records = batch(only=["letter.mid"])
    assert [record["status"] for record in records] == ["failed"]
    assert "generate" not in {call[0] for call in toy.calls}


def test_a_file_that_changes_or_goes_meanwhile_is_told(batch, catalogue, monkeypatch):
    from client.catalogue import songs

    read = songs.read_source
    monkeypatch.setattr(songs, "read_source", lambda path: read(path) + b"more")
    _, _, (record,) = batch(only=["0.midi"])
    assert record["error"] == "it changed while the catalogue was being regenerated; run again"

    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(songs, "read_source", gone)
    _, _, (record,) = batch("other", only=["0.midi"])
    assert record["error"] == "it can no longer be read: No such file or directory"


def test_a_song_that_cannot_be_shaped_fails_alone(batch):
    _, jobs, records = batch(shape=Shape(transpose=33))
    failed = [record for record in records if record["status"] == "failed"]
    assert 0 < len(failed) < len(jobs)
    assert "leave MIDI's 0..127" in failed[0]["error"]
    assert all(record["outputs"] == [] for record in failed)


def test_songs_too_short_to_begin_with_are_told(paper, catalogue, make_song, tmp_path):
    (catalogue / "short.mid").write_bytes(make_song(7, 3))
    with ServerModel(paper.target, timeout=10).open() as connection:
        client = GenerationClient(connection)
        store = Store(tmp_path / "out")
        store.make()
        request = RegenerateRequest(catalogue, store.folder, steps=9)
        plan = make_plan(request, client.describe(), None, {})
        common = BatchSettings(9, request.sampling, 8, ("midi",), plan.settings, plan.model)
        records = make_batch(plan.to_make, client, None, store, common)
    failed = [record for record in records if record["status"] == "failed"]
    assert [record["error"] for record in failed] == [
        "it has 3 events; the model needs at least 8 to begin"
    ]


# what stops a run


def test_a_model_that_cannot_be_asked_is_no_songs_fault(batch, toy, tmp_path):
    toy.before = lambda: toy.calls and toy.failures.append((grpc.StatusCode.INTERNAL, "broken"))
    with pytest.raises(SegueError, match="failed with INTERNAL"):
        batch()
    assert Store(tmp_path / "out").records() == {}


def test_a_disk_that_is_full_is_no_songs_fault(batch, tmp_path, monkeypatch):
    written = Store.write

    def full(store, name, data):
        if name.endswith(".svg"):
            raise SegueError("the disk is full")
        written(store, name, data)

    monkeypatch.setattr(Store, "write", full)
    with pytest.raises(SegueError, match="the disk is full"):
        batch()
    assert Store(tmp_path / "out").records() == {}


def test_a_song_is_recorded_after_its_files(batch, monkeypatch):
    order = []
    write = Store.write
    monkeypatch.setattr(
        Store, "write", lambda store, name, data: (order.append(name), write(store, name, data))
    )
    batch(only=["0.midi"])
    assert [name.partition("/")[0] for name in order] == ["songs"] * 4 + [".segue"]


def test_a_batch_gives_the_same_bytes_whatever_is_beside(batch, tree_of):
    store, jobs, records = batch()
    for index, job in enumerate(jobs[:4]):
        alone, _, (record,) = batch(f"alone{index}", only=[job.source])
        assert record == records[index]
        for path, data in tree_of(alone.folder).items():
            assert (store.folder / path).read_bytes() == data


def test_settings_travel_to_other_processes(batch):
    import pickle

    _, jobs, _ = batch(only=["0.midi"])
    assert pickle.loads(pickle.dumps(jobs)) == jobs
    model = ServerModel("127.0.0.1:1", timeout=3)
    assert pickle.loads(pickle.dumps(model)) == model
    assert dataclasses.is_dataclass(model)
