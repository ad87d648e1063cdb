"""A whole catalogue regenerated: songs a second, a second run, and a run that is killed.

`python -m benchmarks catalogue` is the quick form, some minutes: the generation alone
against the machine's matmul rate, and a part of the catalogue by the command, twice.
`python -m benchmarks.catalogue --long` takes all 1,460 songs, kills the run at twenty
random instants, resumes it, and holds what there is then against an undisturbed run.

The network is freshly initialised: the arithmetic is that of a trained one, and so are
the files.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ingest import row
from benchmarks.serving import matmul_rate, song_flop

Rows = list[dict[str, Any]]
CATALOGUE = Path(__file__).resolve().parents[2] / "shared" / "data" / "openscore-lieder"
STEPS, BATCH = 250, 64
KILLS = 20
QUICK = 256


def measure() -> Rows:
    """The quick form."""
    return _measure(QUICK, kills=0)


def _measure(songs: int | None, kills: int, seed: int = 1) -> Rows:
    if not CATALOGUE.is_dir():
        return [row("catalogue", 0, "songs", f"skipped: there is no {CATALOGUE.name} here")]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        subprocess.run(
            [sys.executable, "-m", "benchmarks._served", str(root / "serving" / "segue" / "1")],
            check=True,
        )
        rows = _generation(root, songs)
        rows += _command(root, Path(folder), songs)
        if kills:
            rows += _killed(root, Path(folder), songs, kills, seed)
    return rows


# ---- generation alone ------------------------------------------------------


def _generation(root: Path, songs: int | None) -> Rows:
    """The model in this process, a thread a core, primes from the catalogue."""
    from client.catalogue.plan import make_plan, read_source
    from client.catalogue.request import RegenerateRequest
    from client.generation import GenerationClient, Sampling
    from client.priming import section_of
    from music.errors import MidiError
    from music.midi import read_midi
    from pipeline.local_model import SavedModel

    with SavedModel.in_service(root).open() as model:
        client = GenerationClient(model)
        facts = client.describe()
        plan = make_plan(RegenerateRequest(CATALOGUE, root / "new", limit=songs), facts, None, {})
        primes = []
        for job in plan.to_make:
            with contextlib.suppress(MidiError):
                song = read_midi(read_source(job.path), job.title)
                primes.append(section_of(song, facts.codec, 75, job.seed).events)
        parts = [primes[first : first + BATCH] for first in range(0, len(primes), BATCH)]
        client.generate(parts[-1][:4], 4, Sampling())  # loads the model
        before = matmul_rate()
        waiting, lock = list(parts), threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not waiting:
                        return
                    part = waiting.pop()
                client.generate(part, STEPS, Sampling())

        def everything() -> None:
            threads = [threading.Thread(target=work) for _ in range(len(os.sched_getaffinity(0)))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        began = time.perf_counter()
        everything()
        took = time.perf_counter() - began
        rate = max(before, matmul_rate())
    flop = sum(song_flop(len(prime), STEPS) for prime in primes)
    gflops = flop / took / 1e9
    note = f"{gflops:.0f} of {rate:.0f} GFLOP/s: {gflops / rate:.0%} of the matmul peak"
    return [row(f"generation alone, {len(primes):,} songs", len(primes) / took, "songs/s", note)]


# ---- the command -----------------------------------------------------------


def _arguments(root: Path, out: Path, songs: int | None, *more: str) -> list[str]:
    limit = [] if songs is None else ["--limit", str(songs)]
    return [
        sys.executable, "-m", "pipeline.cli", "regenerate", str(CATALOGUE), "--out", str(out),
        "--root", str(root), "--steps", str(STEPS), *limit, *more,
    ]  # fmt: skip


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 3):  # 3: songs of the catalogue that cannot be made
        raise RuntimeError(done.stderr[-2000:])
    return time.perf_counter() - began


def _count(out: Path) -> int:
    return sum(1 for _ in open(out / "manifest.jsonl", "rb"))


def _command(root: Path, folder: Path, songs: int | None) -> Rows:
    rows: Rows = []
    for name, more in (
        ("MIDI and measures", ("--formats", "midi", "--no-gallery")),
        ("MIDI, measures, piano rolls, gallery", ()),
    ):
        out = folder / f"new-{len(rows)}"
        first = _seconds(_arguments(root, out, songs, *more))
        count = _count(out)
        rows.append(row(f"{name}, {count:,} songs", count / first, "songs/s", f"{first:.0f} s"))
    second = _seconds(_arguments(root, out, songs))
    rows.append(row("a second run", second, "s", f"{second / first:.1%} of the first"))
    again = _seconds([*_arguments(root, out, songs), "--verify"])
    rows.append(row("--verify", again, "s"))
    return rows


# ---- killed ----------------------------------------------------------------


def _killed(root: Path, folder: Path, songs: int | None, kills: int, seed: int) -> Rows:
    """Kills a run again and again, lets it come to its end, and compares."""
    draw = random.Random(seed)
    out = folder / "killed"
    command = _arguments(root, out, songs)
    whole = folder / "new-1"
    began = time.perf_counter()
    for _ in range(kills):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        # Most of a run's beginning is imports; what is worth killing comes after.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(5, 45))
        # Now with its workers, now without: those are left behind, and end by themselves.
        with contextlib.suppress(ProcessLookupError):
            if draw.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
    _seconds(command)
    took = time.perf_counter() - began
    same = _digest(out) == _digest(whole)
    note = "the same bytes as an undisturbed run" if same else "OTHER BYTES than undisturbed"
    return [row(f"killed {kills} times (seed {seed}), resumed", took, "s", note)]


def _digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a result."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(_files(folder))
    }


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and ".segue" not in path.relative_to(folder).parts:
            yield path


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue")
    parser.add_argument("--long", action="store_true", help="the whole catalogue, and kills")
    parser.add_argument("--songs", type=int, help="only the first so many songs")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=1, help="of the instants")
    given = parser.parse_args()
    if given.long:
        _measure(given.songs, given.kills, given.seed)
    else:
        measure()


if __name__ == "__main__":
    main()
