"""Rendering: seconds a song for each format, one process, against MuseScore and music21 alone.

The songs are 12 of Bach's chorales in four parts, as MIDI; a format is asked for alone,
so that what scores share (the notes dealt out to staves and voices, and music21's
export) is in each of their figures. The peers are given the same MIDI files: music21's
own conversion to MusicXML, and MuseScore 3 to PDF, all songs in one start of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.ingest import row
from client.rendering import FORMATS, Provenance, check_formats, render
from music.corpus import export
from music.errors import SegueError
from music.midi import read_midi
from music.song import Song

SONGS = 12


def measure() -> list[dict[str, Any]]:
    """Rows of seconds a song."""
    with tempfile.TemporaryDirectory() as folder:
        paths = export("bach", Path(folder), limit=SONGS, parts=4)
        songs = [read_midi(path.read_bytes(), path.stem) for path in paths]
        rows = [_format(name, songs) for name in FORMATS]
        rows.append(_music21(paths))
        rows.append(_musescore(paths, Path(folder)))
    return rows


def _format(name: str, songs: list[Song]) -> dict[str, Any]:
    try:
        check_formats([name])
    except SegueError as error:
        return row(name, 0, "s/song", f"not measured: {error}")
    what = Provenance("Song", "J. S. Bach", (("seed", "1"),), "a remark")
    render(songs[0], [name], what)  # imports
    began = time.perf_counter()
    files = [render(song, [name], what) for song in songs]
    took = (time.perf_counter() - began) / len(songs)
    size = sum(len(data) for one in files for data in one.values()) / len(songs) / 1024
    return row(
        name, took, "s/song", f"{size:,.0f} KiB, {sum(map(len, files)) / len(songs):g} files"
    )


def _music21(paths: list[Path]) -> dict[str, Any]:
    from music21 import converter
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    began = time.perf_counter()
    for path in paths:
        GeneralObjectExporter(converter.parse(path, forceSource=True)).parse()
    took = (time.perf_counter() - began) / len(paths)
    return row("music21 alone: MIDI to MusicXML", took, "s/song", "the peer of musicxml")


def _musescore(paths: list[Path], folder: Path) -> dict[str, Any]:
    what, program = "MuseScore 3: MIDI to PDF", shutil.which("musescore3")
    if program is None:
        return row(what, 0, "s/song", "not measured: there is no musescore3")
    jobs = [{"in": str(path), "out": str(path.with_suffix(".pdf"))} for path in paths]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    began = time.perf_counter()
    subprocess.run(
        [program, "-j", str(folder / "jobs.json")],
        check=True,
        capture_output=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    took = (time.perf_counter() - began) / len(paths)
    return row(what, took, "s/song", "the peer of pdf; its start is in it")
