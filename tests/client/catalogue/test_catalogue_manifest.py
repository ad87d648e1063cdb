"""The manifest: the same rows as lines and as a table, whatever the songs are called."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.catalogue.manifest import (
    check_row,
    digest_of,
    known_songs,
    lines_bytes,
    read_manifest,
    rows_of,
    table_bytes,
    table_of,
    write_manifest,
)
from client.catalogue.store import Store
from music.errors import SegueError

# What a file may be called, with all that ends a line somewhere.
ENDS = "\n\r\x0b\x0c\x1c\x85\u2028\u2029"
NAMES = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(ENDS), max_size=12)


def row(identity="a" * 64, **changed):
    return {
        "identity": identity, "source": "Bach/air.mid", "title": "air", "composer": "Bach",
        "status": "made", "error": None, "source_sha256": "b" * 64,
        "model": {"name": "segue", "version": 3, "sha256": "c" * 64}, "seed": 2**63 - 1,
        "settings": {"steps": 20, "shape": {}}, "prime": {"offset": 4, "length": 75},
        "events": 21, "notes": 20, "bars": 5, "seconds": 12.125, "remade": 0,
        "measures": {"scale_consistency": 0.9, "polyphony_rate": None}, "flags": ["loops"],
        "originality": None,
        "outputs": [{"role": "song", "format": "midi", "path": "songs/air.mid",
                     "sha256": "d" * 64, "bytes": 3}],
    } | changed  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    made.make()
    return made


ROWS = st.lists(
    st.builds(
        row,
        source=NAMES, title=NAMES, composer=NAMES | st.none(), error=NAMES | st.none(),
        seconds=st.floats(0, 1e6), seed=st.integers(0, 2**63 - 1),
        prime=st.none() | st.just({"offset": 1, "length": 2}),
    ),
    max_size=4,
)  # fmt: skip


@settings(deadline=None)
@given(ROWS)
def test_lines_are_read_back_as_they_were_written(tmp_path_factory, rows):
    store = Store(tmp_path_factory.mktemp("store"))
    (store.folder / "manifest.jsonl").write_bytes(lines_bytes(rows))
    assert read_manifest(store) == rows
    assert lines_bytes(read_manifest(store)) == lines_bytes(rows)


@settings(deadline=None, max_examples=40)
@given(ROWS)
def test_the_table_says_what_the_lines_say(rows):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = parquet.read_table(pa.BufferReader(table_bytes(rows)))
    assert table.equals(table_of(rows))
    assert table_bytes(rows) == table_bytes(rows)
    for had, got in zip(rows, table.to_pylist(), strict=True):
        for name in ("identity", "source", "title", "composer", "error", "seconds", "seed",
                     "flags", "outputs", "notes"):  # fmt: skip
            assert got[name] == had[name]
        assert json.loads(got["settings"]) == had["settings"]
        assert got["model.version"] == 3
        assert got["prime.offset"] == (had["prime"] or {}).get("offset")
        assert got["measures.scale_consistency"] == 0.9
        assert got["measures.polyphony_rate"] is None
        assert got["originality.run"] is None


def test_both_files_are_written(store):
    write_manifest(store, [row()])
    assert read_manifest(store) == [row()]
    assert (store.folder / "manifest.parquet").read_bytes() == table_bytes([row()])
    assert digest_of([row()]) != digest_of([row(notes=21)])


def test_no_manifest_is_none_and_an_empty_one_is_empty(store):
    assert read_manifest(store) == []
    write_manifest(store, [])
    assert read_manifest(store) == []


def without(name):
    return {key: value for key, value in row().items() if key != name}


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "null", "1", '"text"', "[" * 100_000,
        *(json.dumps(without(name)) for name in
          ("identity", "source", "source_sha256", "status", "seed", "model", "settings")),
        json.dumps(without("outputs")),
        json.dumps(row(identity=3)), json.dumps(row(outputs="songs")),
        json.dumps(row(outputs=["songs/air.mid"])), json.dumps(row(outputs=[{"path": "x"}])),
        json.dumps(row(outputs=[{**row()["outputs"][0], "path": 5}])),
        json.dumps(row(model="segue")), json.dumps(row(model={})), json.dumps(row(flags=None)),
    ],
)  # fmt: skip
def test_damage_is_told_with_its_line(store, line):
    (store.folder / "manifest.jsonl").write_text(f"{json.dumps(row())}\n{line}\n")
    with pytest.raises(SegueError, match="is damaged at line 2; delete it, and the songs are made"):
        read_manifest(store)


def test_a_manifest_that_is_no_text_or_no_file_is_told(store):
    path = store.folder / "manifest.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SegueError, match="cannot be read: it is no text"):
        read_manifest(store)
    path.unlink()
    path.mkdir()
    with pytest.raises(SegueError, match="cannot be read: Is a directory"):
        read_manifest(store)


def test_a_failed_song_needs_no_flags():
    failed = row(status="failed", flags=None, outputs=[])
    assert check_row(failed) == failed


def test_records_of_a_run_that_is_not_over_stand_above_the_manifests(store):
    store.write("songs/air.mid", b"123")
    write_manifest(store, [row()])
    record = {key: row()[key] for key in row() if key not in ("source", "title", "composer")}
    assert known_songs(store, read_manifest(store)) == {"a" * 64: record}
    store.record({**record, "notes": 99})
    assert known_songs(store, read_manifest(store))["a" * 64]["notes"] == 99


def test_a_song_whose_file_is_gone_or_of_another_length_is_not_known(store):
    rows = [row()]
    assert known_songs(store, rows) == {}
    store.write("songs/air.mid", b"12")
    assert known_songs(store, rows) == {}
    store.write("songs/air.mid", b"123")
    assert len(known_songs(store, rows)) == 1


def test_rows_stand_by_their_sources_and_twins_each_for_itself(run):
    plan = run.plan()
    records = {job.identity: {"identity": job.identity} for job in plan.jobs[:-1]}
    rows = rows_of(plan, records)
    assert [one["source"] for one in rows] == [
        job.source for job in plan.jobs if job.identity in records
    ]
    twins = [one for one in rows if one["source"] in ("Anna_Amalia/1.mid", "Bach/twin.mid")]
    assert [one["composer"] for one in twins] == ["Anna Amalia", "Bach"]
    assert len({one["identity"] for one in twins}) == 1
