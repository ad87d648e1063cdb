"""The gallery's files: whole, the same each time, and nothing in them but what was meant."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import client.gallery
from client.gallery import write_gallery
from client.gallery.entries import keys_of, list_entry
from client.gallery.notes import COLUMNS, ROWS, read_track, stamp
from client.gallery.page import SONGS_A_SCRIPT, script_json
from music.errors import SegueError
from music.midi import write_midi
from music.song import Song
from tests.client.gallery.batches import ABOUT, HOSTILE, Batch, song

PACKAGE = Path(client.gallery.__file__).parent


@pytest.fixture
def small(tmp_path):
    """A batch of two songs in a folder of its own."""
    made = Batch(tmp_path / "out")
    made.add("Abend", 1)
    made.add("Morgen", 2)
    return made


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def data_of(path):
    """What a script of data brings."""
    return json.loads(re.fullmatch(r"[^{]*(\{.*\})\)?;\n", path.read_text("ascii")).group(1))


# ---- bytes ----


def test_the_same_records_give_the_same_bytes_whatever_else_the_manifest_says(small):
    write_gallery(small.folder, small.records, ABOUT)
    first = files_of(small.folder)
    timed = [{**record, "took": 1.25 * n, "host": "here"} for n, record in enumerate(small.records)]
    write_gallery(small.folder, timed, ABOUT)
    assert files_of(small.folder) == first


def test_nothing_tells_where_the_gallery_was_made(small):
    write_gallery(small.folder, small.records, ABOUT)
    for name, data in files_of(small.folder).items():
        assert str(small.folder).encode() not in data, name


def test_songs_are_spread_over_scripts_and_those_of_a_larger_gallery_go(tmp_path):
    batch = Batch(tmp_path)
    first = batch.add("Lied", 0)
    many = [{**first, "identity": f"{n:064x}"} for n in range(SONGS_A_SCRIPT + 1)]
    write_gallery(tmp_path, many, ABOUT)
    names = sorted(path.name for path in (tmp_path / "gallery").glob("data-*"))
    assert names == ["data-000.js", "data-001.js"]
    index = data_of(tmp_path / "gallery" / "songs.js")["songs"]
    for row in index:
        script = data_of(tmp_path / "gallery" / f"data-{row['script']:03d}.js")
        assert script[row["key"]]["identity"] == many[index.index(row)]["identity"]
    write_gallery(tmp_path, many[:1], ABOUT)
    assert [path.name for path in (tmp_path / "gallery").glob("data-*")] == ["data-000.js"]


def test_an_empty_batch_is_an_empty_gallery(tmp_path):
    assert write_gallery(tmp_path, [], {}).name == "index.html"
    assert data_of(tmp_path / "gallery" / "songs.js") == {"measures": [], "songs": []}


def nested(inner):
    return st.lists(inner) | st.dictionaries(st.text(), inner)


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(), nested, max_leaves=12))
def test_data_in_a_script_comes_back_and_cannot_end_the_script(data):
    text = script_json(data)
    assert json.loads(text) == data
    assert text.isascii()
    assert not set("<>&\n") & set(text)


def test_titles_are_text_in_the_page_and_in_the_scripts(small):
    small.add(HOSTILE, 3)
    path = write_gallery(small.folder, small.records, {**ABOUT, "composer": HOSTILE})
    page = path.read_text("utf-8")
    assert page.count("<script") == page.count("</script>") == page.count('<script src="gallery/')
    assert "<img" not in page
    assert "{{" in page  # the composer's own, not ours
    assert "\u202e" not in page
    for script in (small.folder / "gallery").glob("*.js"):
        assert b"<script" not in script.read_bytes().replace(b'"script"', b"")


# ---- what a record says ----


@pytest.mark.parametrize(
    ("originality", "status", "verdict"),
    [
        ({"run": 3, "bound": 14, "is_copy": False}, "made", "original"),
        ({"run": 30, "bound": 14, "is_copy": True}, "made", "copy"),
        ({"run": 30, "bound": None, "is_copy": False}, "made", "unjudged"),
        (None, "made", "unchecked"),
        (None, "failed", "failed"),
    ],
)
def test_a_verdict_says_no_more_than_was_found(originality, status, verdict):
    record = {"status": status, "originality": originality}
    assert list_entry(record, "key", [])["verdict"] == verdict


def test_values_that_are_no_numbers_are_none():
    record = {"status": "made", "measures": {"a": float("nan"), "b": None, "c": "x", "d": 0.5}}
    assert list_entry(record, "key", list("abcde"))["measures"] == [None, None, None, 0.5, None]


@settings(deadline=None)
@given(st.lists(st.text("0123456789abcdef", min_size=1, max_size=20)))
def test_keys_tell_songs_apart_and_begin_as_their_identities(identities):
    keys = keys_of([{"identity": identity} for identity in identities])
    assert len(set(keys)) == len(keys)
    for key, identity in zip(keys, identities, strict=True):
        assert identity.startswith(key.split("-")[0])


def test_a_name_that_means_something_in_a_url_is_escaped(small):
    midi = small.put("song", "midi", "songs/50% #1?.mid", write_midi(song(9)))
    small.records[0]["outputs"] = [midi]
    write_gallery(small.folder, small.records, ABOUT)
    entry = data_of(small.folder / "gallery" / "data-000.js")
    hrefs = [output["href"] for one in entry.values() for output in one["outputs"]]
    assert hrefs[0] == "songs/50%25%20%231%3F.mid"


# ---- notes ----

rows = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 200), st.integers(0, 127), st.integers(1, 127)),
    min_size=1, max_size=40, unique_by=lambda row: (row[0], row[2]),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(rows, st.sampled_from([None, 60.0, 96.0]))
def test_the_notes_of_a_track_are_those_of_the_file(rows, tempo):
    made = Song(np.array([[*row, 0] for row in rows]), tempo=tempo)
    found, track = read_track(write_midi(made))
    notes = np.array(track["notes"]).reshape(-1, 5)
    notes[:, 0] = np.cumsum(notes[:, 0])
    np.testing.assert_array_equal(notes, found.notes)
    assert sorted(map(tuple, notes[:, :4].tolist())) == sorted(rows)
    assert track["tempo"] == pytest.approx(tempo or 120.0)


@settings(max_examples=30, deadline=None)
@given(rows)
def test_a_stamp_has_all_time_and_all_pitches(rows):
    made = Song(np.array([[*row, 0] for row in rows]))
    columns = np.frombuffer(base64.b64decode(stamp(made)), "<u2")
    assert len(columns) == COLUMNS
    assert columns[-1] or made.end < COLUMNS
    assert int(np.bitwise_or.reduce(columns)) & 1
    assert int(np.bitwise_or.reduce(columns)) < 1 << ROWS


# ---- what is wrong is one line ----


def refused(batch, words):
    with pytest.raises(SegueError, match=words) as caught:
        write_gallery(batch.folder, batch.records, ABOUT)
    assert "\n" not in str(caught.value)
    assert not (batch.folder / "index.html").exists()


def test_a_missing_file_is_one_line(small):
    (small.folder / "songs" / "song-0002.mid").unlink()
    refused(small, r"songs/song-0002.mid is missing; it belongs to Book 2/Morgen 2.mid")


def test_a_file_that_is_not_the_one_that_was_made_is_one_line(small):
    (small.folder / "songs" / "song-0001.mid").write_bytes(write_midi(song(7)))
    refused(small, "songs/song-0001.mid is not the file that was made")


def test_a_file_that_is_no_midi_is_one_line(small):
    small.records[0]["outputs"][0] = small.put("song", "midi", "songs/x.mid", b"Dear Sebastian,")
    refused(small, "songs/x.mid cannot be read")


@pytest.mark.parametrize("path", ["../secret.mid", "/etc/passwd", "", "songs/../../x.mid", "a\0b"])
def test_a_path_that_leaves_the_folder_is_one_line(small, path):
    small.records[0]["outputs"][0]["path"] = path
    refused(small, "is no path inside the gallery's folder")


# ---- the package ----


def test_what_others_made_is_as_they_released_it_with_its_licence(small):
    vendored = PACKAGE / "vendor"
    told = (vendored / "README.md").read_text()
    [(name, digest)] = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", told, re.M)
    assert hashlib.sha256((vendored / name).read_bytes()).hexdigest() == digest
    write_gallery(small.folder, small.records, ABOUT)
    licence = small.folder / "gallery" / "webaudio-tinysynth.LICENSE.txt"
    assert "Apache License" in licence.read_text()
    assert (small.folder / "gallery" / name).is_file()


def test_import_brings_in_no_heavy_package():
    code = (
        "import sys, client.gallery; tops = {name.split('.')[0] for name in sys.modules};"
        "print(sorted(tops & {'jinja2', 'music21', 'tensorflow', 'matplotlib', 'pipeline'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
