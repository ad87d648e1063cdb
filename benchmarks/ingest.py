"""Ingest: reading against music21's converter, the steps on a catalogue, memory, new files.

The catalogue is the folder that SEGUE_BENCH_DATA names; else the OpenScore Lieder
beside the project (`../shared/data/openscore-lieder`, 1,460 songs) when they are
there; else Bach's chorales of music21's corpus, exported by ourselves.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from music.corpus import export
from music.folder import midi_files
from music.midi import read_midi

Rows = list[dict[str, Any]]
PEER_SECONDS = 60.0  # the converter is timed on as many songs as that takes
LIEDER = Path(__file__).parents[1].parent / "shared" / "data" / "openscore-lieder"
# With SEGUE_BENCH_TENFOLD set the tenfold catalogue is made of all songs, else of 146.
TENFOLD = bool(os.environ.get("SEGUE_BENCH_TENFOLD"))


def row(what: str, value: float, unit: str, note: str = "") -> dict[str, Any]:
    """A line of the table, printed as it is measured."""
    print(f"  {what:<52} {value:10.2f} {unit:<9} {note}".rstrip(), flush=True)
    return {"what": what, "value": value, "unit": unit, "note": note}


def measure() -> Rows:
    """Everything that is claimed of ingest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = catalogue(folder)
        return [*_reading(paths), *_steps(paths, folder), *_memory(paths, folder)]


def catalogue(folder: Path) -> list[Path]:
    """The files to measure on; an export goes into the folder."""
    named = os.environ.get("SEGUE_BENCH_DATA")
    data = Path(named) if named else LIEDER
    if not named and not LIEDER.is_dir():
        data = folder / "bach"
        export("bach", data)
    return [path for path in midi_files(data) if path.is_file()]


# ---- one core, against music21's converter --------------------------------


def _reading(paths: Sequence[Path]) -> Rows:
    """Notes a second; both readers get the same bytes, in turn."""
    from music21 import converter

    sample = [path.read_bytes() for path in paths[:: max(1, len(paths) // 200)]]
    read_midi(sample[0])
    converter.parse(sample[0], format="midi", quantizePost=False, forceSource=True)
    ours = theirs = 0.0
    notes = songs = 0
    for data in sample:
        began = time.perf_counter()
        notes += len(read_midi(data))
        middle = time.perf_counter()
        converter.parse(data, format="midi", quantizePost=False, forceSource=True)
        theirs += time.perf_counter() - middle
        ours += middle - began
        songs += 1
        if theirs > PEER_SECONDS:
            break
    return [
        row("reading, one core", notes / ours, "notes/s", f"{notes:,} notes of {songs} songs"),
        row("converter.parse, the same songs", notes / theirs, "notes/s", f"{theirs / ours:.1f} x"),
    ]


# ---- the steps of a pipeline ----------------------------------------------


def _step(step: str, folder: Path, beam: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    request = {
        "step": step, "folder": str(folder), "properties": properties, "beam": list(beam)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._stages", json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{step} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _parse(data: Path, folder: Path, store: Path, beam: Sequence[str] = ()) -> dict[str, Any]:
    return _step(
        "parse", folder, beam, data=str(data), store=str(store), eval_share=0.1, salt="", shards=2
    )


def _steps(paths: Sequence[Path], folder: Path) -> Rows:
    """The parsing stage, again with 1% new files, the vocabulary, the windows."""
    data, store, out = folder / "data", folder / "store", folder / "out"
    new = set(paths[:: max(1, len(paths) // max(1, len(paths) // 100))])
    _link([path for path in paths if path not in new], data)
    first = _parse(data, out, store)
    count = len(paths) - len(new)
    rows = [row(f"parsing stage, {count:,} files", first["seconds"], "s", "default runner")]
    _link(new, data)
    second = _parse(data, folder / "again", store)
    share = second["seconds"] / first["seconds"]
    rows.append(
        row(f"again, {len(new)} new files", second["seconds"], "s", f"{share:.0%} of the first")
    )
    return [*rows, *_vocabulary_and_windows(out, folder)]


def _vocabulary_and_windows(out: Path, folder: Path) -> Rows:
    from pipeline.configuration import load_configuration

    rows = []
    for preset in ("default", "paper"):
        config = load_configuration(folder / "data", folder / "root", preset)
        target = folder / f"windows-{preset}"
        target.mkdir()
        (target / "songs").symlink_to(out / "songs")
        took = _step(
            "vocabulary",
            target,
            codec=json.dumps(dict(config.codec)),
            min_count=config.vocabulary.min_count,
            max_size=config.vocabulary.max_size,
            closed=int(config.vocabulary.closed),
            start="",
            serving_dir="",
        )
        rows.append(row(f"vocabulary, {preset} preset", took["seconds"], "s"))
        took = _step(
            "windows",
            target,
            length=config.window.length,
            form=config.window.form,
            ngram_order=config.ngram_order,
        )
        megabytes = sum(path.stat().st_size for path in target.rglob("*.gz")) / 2**20
        rows.append(
            row(f"windows and n-gram, {preset} preset", took["seconds"], "s", f"{megabytes:.0f} MB")
        )
        shutil.rmtree(target)
    return rows


def _link(paths: Sequence[Path] | set[Path], folder: Path) -> None:
    """Links files into a folder, under names that keep them apart."""
    folder.mkdir(exist_ok=True)
    for path in sorted(paths):
        (folder / f"{path.parent.name}-{path.name}").symlink_to(path)


# ---- memory ---------------------------------------------------------------


def _memory(paths: Sequence[Path], folder: Path) -> Rows:
    """The parsing stage in one process, on songs and on ten times as many."""
    few = list(paths) if TENFOLD else list(paths[:: max(1, len(paths) // 146)])[:146]
    rows = []
    for copies in (1, 10):
        data = folder / f"x{copies}"
        data.mkdir()
        for copy in range(copies):
            for number, path in enumerate(few):
                (data / f"{copy}-{number:05d}.mid").write_bytes(_slower(path.read_bytes(), copy))
        took = _parse(
            data, folder / f"out{copies}", folder / f"store{copies}", ["--direct_num_workers=1"]
        )
        what = f"memory of the parsing stage, {copies * len(few):,} files"
        rows.append(row(what, took["grown_mb"], "MB", "above the imports, one process"))
        shutil.rmtree(data)
    return rows


def _slower(data: bytes, copy: int) -> bytes:
    """Other music of the same size: another number of ticks makes a quarter."""
    ticks = int.from_bytes(data[12:14], "big")
    return data[:12] + min(ticks + copy * ticks // 12, 0x7FFF).to_bytes(2, "big") + data[14:]
