"""The whole: formats by name, files by ending."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.rendering import (
    FORMATS,
    Provenance,
    RenderSettings,
    check_formats,
    parse_formats,
    render,
)
from client.rendering import sound as sounds
from music.errors import SegueError
from music.midi import read_midi, write_midi
from music.song import Song

from .conftest import PROVENANCE, scale

ROOT = Path(__file__).resolve().parents[3]
SILENT = tuple(name for name in FORMATS if name != "wav")


@given(st.lists(st.sampled_from(FORMATS), min_size=1))
def test_formats_come_in_their_order_and_once(names):
    parsed = parse_formats(" , ".join(names).upper())
    assert parsed == tuple(name for name in FORMATS if name in names)


def test_unknown_formats_are_named_with_what_there_is():
    with pytest.raises(SegueError, match=r"unknown format: 'mp3', 'ogg'; there are midi, musicxml"):
        parse_formats("midi,ogg,mp3")
    with pytest.raises(SegueError, match="no format was named; there are midi"):
        parse_formats(" , ")


def test_a_missing_package_is_named_with_the_formats_that_need_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "verovio" else found(name)
    )
    with pytest.raises(SegueError, match=r"pdf, svg needs the Python package verovio"):
        check_formats(("midi", "pdf", "svg"))
    check_formats(("midi", "musicxml", "roll"))


def test_missing_sound_is_told_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(sounds.shutil, "which", lambda name: None)
    with pytest.raises(SegueError, match="wav needs FluidSynth"):
        render(scale(), ("midi", "wav"), PROVENANCE)


def test_every_format_gives_its_files():
    files = render(scale(400, 12, title="t"), SILENT, PROVENANCE)
    pages = sum(ending.endswith(".svg") for ending in files) - 1
    assert pages > 1
    numbered = [[f"-{number}{kind}" for number in range(1, pages + 1)] for kind in (".svg", ".png")]
    assert list(files) == [".mid", ".musicxml", ".pdf", *numbered[0], *numbered[1], ".roll.svg"]
    beginnings = {".mid": b"MThd", ".musicxml": b"<?xml", ".pdf": b"%PDF", ".roll.svg": b"<svg"}
    for ending, beginning in beginnings.items():
        assert files[ending].startswith(beginning)


def test_the_midi_file_is_the_song_untouched():
    song = scale(tempo=96.0)
    files = render(song, ["midi"], PROVENANCE)
    assert files == {".mid": write_midi(song, PROVENANCE.remark)}
    assert np.array_equal(read_midi(files[".mid"]).notes[:, :3], song.notes[:, :3])


def test_the_same_song_gives_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import hashlib\n"
        "from tests.client.rendering.conftest import PROVENANCE, four_parts\n"
        "from client.rendering import render\n"
        "files = render(four_parts(), ['musicxml', 'pdf', 'svg', 'png', 'roll'], PROVENANCE)\n"
        "print({end: hashlib.sha256(data).hexdigest() for end, data in files.items()})\n"
    )
    seen = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1


def test_a_song_without_notes_is_refused():
    empty = Song(np.zeros((0, 5), np.int32))
    for name in SILENT:
        with pytest.raises(SegueError, match="Song 1 has no notes"):
            render(empty, [name], PROVENANCE)


def test_bounds_hold_for_scores_alone():
    bounded = RenderSettings(notes=10)
    with pytest.raises(SegueError, match="a score may have 10"):
        render(scale(), ["midi", "pdf"], PROVENANCE, bounded)
    assert list(render(scale(), ["midi"], PROVENANCE, bounded)) == [".mid"]


def test_provenance_without_a_remark_tells_its_facts():
    bare = Provenance("T", None, (("model", "segue"), ("seed", "7")))
    assert bare.described == "made by Segue; model segue; seed 7"
    assert bare.byline == "by Segue"


def test_importing_brings_in_nothing_heavy():
    code = (
        "import sys, client.rendering\n"
        "heavy = {'music21', 'verovio', 'typst', 'matplotlib', 'tensorflow', 'PIL', 'jinja2'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
