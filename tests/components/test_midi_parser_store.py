"""Readings are kept by content, whole or not at all."""

import dataclasses
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.midi_parser.store import Head, Store, reader_version, to_bytes
from music.midi import Limits
from music.song import Song
from music.verdict import Verdict

CONTENT = "ab" * 32


def entry_of(notes, **facts):
    song = Song(np.array(notes, np.int32).reshape(-1, 5), id=CONTENT, percussion=3, **facts)
    verdict = Verdict(
        "", "repaired", detail="mended", repairs=("end-of-track",), song=CONTENT,
        notes=len(song), parts=1, percussion=3, rounding_mean=0.25, rounding_max=0.5,
    )  # fmt: skip
    return Head(verdict, song.fingerprint()), song


WHOLE = entry_of([(0, 24, 60, 80, 0), (24, 6, 64, 70, 1)], tempo=92.5, key="G major")
REFUSED = Head(Verdict("", "rejected", reason="not-midi", detail="the file is a poem — ‘x’")), None


def entry(store, content=CONTENT):
    return store.head(content), store.song(content)


note = st.tuples(
    st.integers(0, 2**20), st.integers(1, 999), st.integers(0, 127), st.integers(1, 127),
    st.integers(0, 40),
)  # fmt: skip


@given(notes=st.lists(note), tempo=st.none() | st.floats(1, 999), key=st.none() | st.text())
@settings(max_examples=60, deadline=None)
def test_an_entry_is_what_was_put(tmp_path_factory, notes, tempo, key):
    store = Store(str(tmp_path_factory.getbasetemp() / "entries"), "v")
    whole = entry_of(notes, tempo=tempo, key=key, time_signature="6/8")
    store.put(CONTENT, *whole)
    assert entry(store) == whole
    assert to_bytes(*entry(store)) == to_bytes(*whole)
    assert store.song(CONTENT, "title") == dataclasses.replace(whole[1], title="title")


def test_the_entry_of_a_rejected_file_has_no_song(tmp_path):
    store = Store(str(tmp_path), "v")
    store.put(CONTENT, *REFUSED)
    assert entry(store) == REFUSED


def test_what_was_put_is_there_and_nothing_else(tmp_path):
    store = Store(str(tmp_path / "store"), "v")
    assert entry(store) == (None, None)
    assert not store.known(CONTENT)
    store.put(CONTENT, *WHOLE)
    store.put(CONTENT, *WHOLE)  # by another worker, say
    assert store.known(CONTENT)
    assert entry(store) == WHOLE
    assert entry(store, "cd" * 32) == (None, None)
    (kept,) = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert kept.name == CONTENT  # and nothing beside it


@pytest.mark.parametrize("keep", [0, 1, 40, -1, None])
def test_a_damaged_entry_counts_as_absent_and_can_be_put_again(tmp_path, keep):
    store = Store(str(tmp_path), "v")
    store.put(CONTENT, *WHOLE)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    data = path.read_bytes()
    path.write_bytes(b"{}" if keep is None else data[:keep])
    assert store.song(CONTENT) is None
    assert store.head(CONTENT) in (None, WHOLE[0])
    store.put(CONTENT, *WHOLE)
    assert entry(store) == WHOLE


def test_every_flipped_byte_of_an_entry_is_noticed_or_harmless(tmp_path):
    store = Store(str(tmp_path), "v")
    store.put(CONTENT, *WHOLE)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        assert store.head(CONTENT) in (None, WHOLE[0])
        assert store.song(CONTENT) in (None, WHOLE[1])


def test_readers_do_not_see_each_others_entries_and_old_ones_go(tmp_path):
    old, new = Store(str(tmp_path), "old"), Store(str(tmp_path), "new")
    old.put(CONTENT, *REFUSED)
    assert new.head(CONTENT) is None
    new.put(CONTENT, *WHOLE)
    (tmp_path / "held-out.json").write_text("{}")
    new.remove_other_readers()
    assert entry(new) == WHOLE
    assert old.head(CONTENT) is None
    assert sorted(os.listdir(tmp_path)) == ["held-out.json", "new"]


def test_other_limits_are_another_reader():
    assert reader_version(Limits()) == reader_version(Limits())
    assert reader_version(Limits()) != reader_version(Limits(notes=5))


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("fingerprint"),
        lambda facts: facts["verdict"].pop("repairs"),
        lambda facts: facts["verdict"].update(more=1),
        lambda facts: facts["song"].update(more=1),
        lambda facts: facts.update(song=3),
        lambda facts: facts.update(verdict=[]),
    ],
)
def test_an_entry_of_another_shape_counts_as_absent(tmp_path, change):
    store = Store(str(tmp_path), "v")
    store.put(CONTENT, *WHOLE)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    line, _, notes = path.read_bytes().partition(b"\n")
    facts = json.loads(line.partition(b" ")[2])
    change(facts)
    line = json.dumps(facts).encode()
    path.write_bytes(b"%08x %b\n%b" % (zlib.crc32(line), line, notes))
    assert store.head(CONTENT) is None or store.song(CONTENT) is None


def test_notes_of_another_shape_count_as_absent(tmp_path):
    store = Store(str(tmp_path), "v")
    store.put(CONTENT, *WHOLE)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    line, _, _ = path.read_bytes().partition(b"\n")
    for notes in (zlib.compress(bytes(12)), zlib.compress(bytes(7)), b"", bytes(9)):
        path.write_bytes(line + b"\n" + notes)
        assert store.song(CONTENT) is None


def test_threads_may_put_one_content_at_once(tmp_path):
    store = Store(str(tmp_path), "v")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.put(CONTENT, *WHOLE), range(400)))
    assert entry(store) == WHOLE
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
