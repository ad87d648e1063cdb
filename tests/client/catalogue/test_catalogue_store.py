"""The folder of new songs: whole files, records that are promises, and locks."""

import os
import subprocess
import sys
import threading

import pytest

from client.catalogue.store import Store
from music.errors import SegueError


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "out")
    made.make()
    return made


def aside(store):
    """Files that are being written."""
    return [path for path in (store.folder / ".segue" / "aside").rglob("*") if path.is_file()]


def outputs(*files):
    return [{"path": path, "bytes": size} for path, size in files]


def test_a_file_is_whole_or_not_there(store, monkeypatch):
    store.write("songs/a.mid", b"before")
    # The machine goes down between the writing and the renaming.
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write("songs/a.mid", b"after, and longer")
    with pytest.raises(KeyboardInterrupt):
        store.write("songs/b.mid", b"new")
    monkeypatch.undo()
    assert os.listdir(store.folder / "songs") == ["a.mid"]
    assert (store.folder / "songs" / "a.mid").read_bytes() == b"before"
    assert len(aside(store)) == 2


@pytest.mark.parametrize(
    ("shard", "goes"),
    [(None, {"all.a", "shard-1-of-2.b", "shard-2-of-2.c"}), ("2/2", {"shard-2-of-2.c"})],
)
def test_what_killed_runs_left_aside_goes_with_the_next_of_their_kind(store, shard, goes):
    left = store.folder / ".segue" / "aside"
    for name in ("all.a", "shard-1-of-2.b", "shard-2-of-2.c"):
        (left / name).mkdir()
        (left / name / "0").write_bytes(b"half a fi")
    with Store(store.folder).held(shard):
        assert goes.isdisjoint(os.listdir(left))
    assert set(os.listdir(left)) == {
        "all.a",
        "shard-1-of-2.b",
        "shard-2-of-2.c",
        store.run,
    } - goes - ({store.run} if shard is None else set())


def test_a_worker_that_outlives_its_run_writes_nothing_more(store):
    with store.held(None):
        worker = Store(store.folder, store.run)
        worker.write("songs/a.mid", b"of this run")
    with Store(store.folder).held(None), pytest.raises(SegueError, match="cannot be written"):
        worker.write("songs/a.mid", b"late")
    assert (store.folder / "songs" / "a.mid").read_bytes() == b"of this run"


def test_many_threads_write_whole_files(store):
    names = [f"songs/{number}" for number in range(8)]

    def write(byte):
        for _ in range(20):
            for name in names:
                store.write(name, bytes([byte]) * 5000)

    threads = [threading.Thread(target=write, args=(byte,)) for byte in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        data = (store.folder / name).read_bytes()
        assert (len(data), len(set(data))) == (5000, 1)
    assert aside(store) == []


def test_a_system_that_refuses_is_told(store, tmp_path):
    (store.folder / "songs" / "taken").mkdir()
    with pytest.raises(SegueError, match="songs/taken cannot be written: .*; choose another --out"):
        store.write("songs/taken", b"data")
    assert aside(store) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SegueError, match="cannot be written"):
        Store(tmp_path / "file").make()


def test_files_are_there_when_they_are_as_long_as_told(store):
    store.write("songs/a", b"12345")
    assert store.has([])
    assert store.has(outputs(("songs/a", 5)))
    assert not store.has(outputs(("songs/a", 4)))
    assert not store.has(outputs(("songs/a", 5), ("songs/b", 1)))
    assert not store.has(outputs(("songs/a\0", 5)))


def test_records_are_kept_and_let_go(store):
    one, two = ({"identity": name * 64, "status": "made", "outputs": []} for name in "ab")
    store.record(one)
    store.record(two)
    assert store.records() == {"a" * 64: one, "b" * 64: two}
    assert store.count() == 2
    store.forget(["a" * 64, "c" * 64])
    assert store.records() == {"b" * 64: two}
    assert Store(store.folder / "none").records() == {}
    assert Store(store.folder / "none").count() == 0


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b'"text"', b"{}", b'{"identity": 1}'])
def test_a_record_that_a_power_cut_damaged_is_none(store, data):
    store.record({"identity": "a" * 64, "status": "made", "outputs": []})
    (store.folder / ".segue" / "records" / f"{'b' * 64}.json").write_bytes(data)
    assert set(store.records()) == {"a" * 64}


def test_the_page_shows_what_was_last_said_where_there_is_one(store):
    assert store.page_shows() is None
    store.page_shows_now("this")
    assert store.page_shows() is None
    (store.folder / "index.html").write_text("page")
    assert store.page_shows() == "this"


# locks


@pytest.mark.parametrize(
    ("first", "second"), [(None, None), (None, "1/2"), ("1/2", None), ("1/2", "1/2")]
)
def test_runs_that_would_meet_exclude_each_other(store, first, second):
    with (
        store.held(first),
        pytest.raises(SegueError, match="another run is writing to .*; wait for it"),
        Store(store.folder).held(second),
    ):
        pytest.fail("both hold the folder")
    with Store(store.folder).held(second):
        pass


def test_shards_run_side_by_side(store):
    with store.held("1/3"), Store(store.folder).held("2/3"), Store(store.folder).held("3/3"):
        pass


def test_a_lock_ends_with_its_process(store):
    code = (
        "import sys, time; from pathlib import Path; from client.catalogue.store import Store\n"
        "with Store(Path(sys.argv[1])).held(None): print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(SegueError), store.held("1/2"):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with store.held(None):
        pass


def test_the_manifest_is_waited_for(store):
    order = []

    def merge():
        with Store(store.folder).merging():
            order.append("second")

    with store.merging():
        thread = threading.Thread(target=merge)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
