"""The training songs of a version: found by its card, and told apart from what is damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
import types

import numpy as np
import pytest

from components.model_card import CARD_JSON
from music.codec import NotesCodec
from music.errors import SegueError
from music.measures import REFERENCE_FILE, Heard, Reference, SongIndex, measure
from music.song import Song
from pipeline.originals import find_original

FACTS = types.SimpleNamespace(version=5, codec=NotesCodec(), training={"parameters": 7})


def song_of(seed):
    notes = np.zeros((40, 5), np.int32)
    notes[:, 0], notes[:, 1], notes[:, 3] = 12 * np.arange(40), 12, 80
    notes[:, 2] = np.random.default_rng(seed).integers(50, 80, 40)
    return Song(notes, id=f"{seed:064d}")


@pytest.fixture(scope="module")
def text():
    songs = [song_of(seed) for seed in range(6)]
    index = SongIndex.of([Heard(song, song.notes[:, 0]) for song in songs])
    return Reference.of([measure(song, index, leave_out=True) for song in songs]).to_json()


@pytest.fixture
def root(text, tmp_path):
    """A root with a pushed version and the references of two runs, the first of them its own."""
    card = {
        "model": {"codec": NotesCodec().config(), "parameters": 7},
        "given": {"composer": "A. Tester"},
        "originality": {
            "reference": hashlib.sha256(text.encode()).hexdigest(), "percentile": 95.0,
        },
    }  # fmt: skip
    path = tmp_path / "serving" / "segue" / "5" / CARD_JSON
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(card))
    for run, told in (("3", text), ("14", text.replace('"songs": 6', '"songs": 60'))):
        folder = tmp_path / "pipeline" / "ReferenceBuilder" / "reference" / run
        folder.mkdir(parents=True)
        (folder / REFERENCE_FILE).write_text(told)
    return tmp_path


def reference(root, run):
    return root / "pipeline" / "ReferenceBuilder" / "reference" / run / REFERENCE_FILE


def test_the_reference_is_found_by_the_card_whichever_run_left_it(root):
    found = find_original(root, FACTS)
    assert found.folder == reference(root, "3").parent
    assert (found.percentile, found.composer) == (95.0, "A. Tester")


def test_a_reference_that_is_cut_off_is_damaged_and_not_gone(root, text):
    reference(root, "3").write_text(text[:-40])
    with pytest.raises(SegueError) as told:
        find_original(root, FACTS)
    path = reference(root, "3")
    assert str(told.value) == (
        f"{path} is damaged, or of another version; run the pipeline again, with --no-cache"
    )


def test_another_reference_that_is_cut_off_is_no_matter(root):
    reference(root, "14").write_text("{")
    assert find_original(root, FACTS).folder == reference(root, "3").parent


def test_a_reference_that_is_gone_is_told_so(root):
    shutil.rmtree(reference(root, "3").parent)
    with pytest.raises(SegueError, match="index of version 5 is no longer under"):
        find_original(root, FACTS)
