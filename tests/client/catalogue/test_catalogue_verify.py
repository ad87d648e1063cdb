"""Whether a folder of new songs is what its manifest says: every kind of tampering is told."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from client.catalogue.manifest import lines_bytes, read_manifest, table_bytes
from client.catalogue.store import Store
from client.catalogue.verify import verify
from music.errors import SegueError


@dataclasses.dataclass
class Made:
    """A finished run over four songs."""

    catalogue: Path
    out: Path

    @property
    def store(self):
        return Store(self.out)


@pytest.fixture(scope="module")
def finished():
    """What the first test of them all has made."""
    return []


@pytest.fixture
def made(request, finished, tmp_path_factory, tmp_path):
    """A `Made` of its own."""
    if not finished:
        run = request.getfixturevalue("run")
        run(limit=4)
        keep = tmp_path_factory.mktemp("finished")
        shutil.copytree(run.catalogue, keep / "catalogue")
        shutil.copytree(run.out, keep / "out")
        finished.append(keep)
    mine = tmp_path / "copy"
    shutil.copytree(finished[0], mine)
    return Made(mine / "catalogue", mine / "out")


def change(run, **changed):
    """Changes the first row of the manifest, in both of its forms."""
    rows = read_manifest(run.store)
    rows[0] |= changed
    (run.out / "manifest.jsonl").write_bytes(lines_bytes(rows))
    (run.out / "manifest.parquet").write_bytes(table_bytes(rows))


def first(run, suffix=".mid"):
    return min((run.out / "songs").glob(f"*{suffix}"))


def problems(run, catalogue=True):
    return list(verify(run.out, run.catalogue if catalogue else None).problems)


def test_what_was_made_is_as_it_was_said(made):
    found = verify(made.out, made.catalogue)
    assert (found.songs, found.files) == (4, 16)
    assert (found.problems, found.strangers) == ((), ())
    assert verify(made.out).problems == ()


@pytest.mark.parametrize("suffix", [".mid", ".roll.svg", ".original.mid"])
def test_a_changed_byte_is_found(made, suffix):
    path = first(made, suffix)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert problems(made) == [f"songs/{path.name}: holds something else than was written"]


def test_a_changed_size_is_found(made):
    path = first(made)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"\0")
    assert problems(made) == [f"songs/{path.name}: has {size + 1:,} bytes, not {size:,}"]


def test_a_missing_file_is_found(made):
    path = first(made)
    path.unlink()
    assert problems(made) == [f"songs/{path.name}: is missing"]


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_found_and_not_read(made, kind, tmp_path):
    path = first(made)
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    path.unlink()
    {"folder": path.mkdir, "link": lambda: path.symlink_to(copy),
     "pipe": lambda: os.mkfifo(path)}[kind]()  # fmt: skip
    assert problems(made) == [f"songs/{path.name}: is no regular file"]


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "/etc/passwd", "songs/../../etc/passwd", "songs/..", "songs/", "songs",
     "manifest.jsonl", "songs/deep/er.mid", ""],
)  # fmt: skip
def test_a_strangers_path_is_told_and_not_looked_at(made, path, monkeypatch):
    output = read_manifest(made.store)[0]["outputs"][0]
    change(made, outputs=[{**output, "path": path}])
    looked = []
    for name in ("lstat", "stat", "open"):
        plain = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda one, *a, f=plain, **kw: (looked.append(str(one)), f(one, *a, **kw))[1]
        )
    assert f"{path}: lies outside of songs/" in problems(made)
    assert looked
    assert not [one for one in looked if "passwd" in one]


def test_a_name_with_a_zero_byte_is_told(made):
    output = read_manifest(made.store)[0]["outputs"][0]
    change(made, outputs=[{**output, "path": "songs/a\0b"}])
    assert any("songs/a\0b: cannot be read" in problem for problem in problems(made))


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 5}, {"source_sha256": "0" * 64}, {"settings": {"steps": 9}},
        {"model": {"name": "segue", "version": 3, "sha256": "0" * 64}}, {"identity": "0" * 64},
    ],
)  # fmt: skip
def test_a_song_that_is_not_made_of_what_its_row_says_is_found(made, changed):
    change(made, **changed)
    assert "0.midi: its identity is not that of its source, model, seed and settings" in (
        problems(made)
    )


@pytest.mark.parametrize("changed", [{"notes": 3}, {"flags": ["x"]}, {"originality": {"run": 1}}])
def test_a_row_that_was_changed_in_one_form_is_found(made, changed):
    table = (made.out / "manifest.parquet").read_bytes()
    change(made, **changed)
    (made.out / "manifest.parquet").write_bytes(table)
    assert problems(made) == ["manifest.parquet: says something else than manifest.jsonl"]


def test_lines_that_were_written_by_hand_are_found(made):
    path = made.out / "manifest.jsonl"
    path.write_text(path.read_text().replace('"bars": ', '"bars":  ', 1))
    assert problems(made) == ["manifest.jsonl: was not written as it is"]


@pytest.mark.parametrize("data", [None, b"", b"PAR1", b"prose"])
def test_a_table_that_cannot_be_read_is_told(made, data):
    path = made.out / "manifest.parquet"
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    (problem,) = problems(made)
    assert problem.startswith("manifest.parquet: cannot be read: ")


def test_a_table_that_another_version_of_its_library_wrote_is_no_tampering(made):
    import pyarrow.parquet as parquet

    path = made.out / "manifest.parquet"
    before = path.read_bytes()
    parquet.write_table(parquet.read_table(path), path, compression="gzip", data_page_version="2.0")
    assert path.read_bytes() != before
    assert problems(made) == []


def test_sources_that_changed_or_went_are_found_where_the_catalogue_is_at_hand(made, make_song):
    (made.catalogue / "0.midi").write_bytes(make_song(77))
    (made.catalogue / "1.midi").unlink()
    assert problems(made) == [
        "0.midi: has changed since its song was made", "1.midi: is no longer in the catalogue",
    ]  # fmt: skip
    assert problems(made, catalogue=False) == []


def test_names_that_look_the_same_are_not_taken_for_each_other(run, make_song):
    folder = os.fsencode(run.catalogue)
    for byte in (b"\xe8", b"\xe9"):
        with open(folder + b"/Pr" + byte + b"lude.mid", "wb") as file:
            file.write(make_song(byte[0]))
    run()
    assert problems(run) == []


def test_files_that_stand_in_no_row_are_told(made):
    (made.out / "songs" / "extra.mid").write_bytes(b"")
    (made.out / "songs" / "folder").mkdir()
    found = verify(made.out, made.catalogue)
    assert found.strangers == ("songs/extra.mid", "songs/folder")
    assert found.problems == ()


def test_a_folder_without_a_manifest_is_told(tmp_path):
    with pytest.raises(SegueError, match="there is no manifest.jsonl in"):
        verify(tmp_path)


def test_hostile_rows_are_damage_and_no_crash(made):
    path = made.out / "manifest.jsonl"
    lines = path.read_text().splitlines()
    for changed in ({"outputs": [1]}, {"model": []}, {"source": None}):
        hostile = json.dumps({**json.loads(lines[0]), **changed})
        path.write_text("\n".join([hostile, *lines[1:], ""]))
        with pytest.raises(SegueError, match="is damaged at line 1"):
            verify(made.out)
    # What is only told, and never looked up, may be anything.
    path.write_text(json.dumps({**json.loads(lines[0]), "measures": 3, "notes": "x"}) + "\n")
    assert "manifest.parquet: says something else than manifest.jsonl" in problems(made)
