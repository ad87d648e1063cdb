"""A folder of MIDI files as the pipeline's ingest will see it, before any run.

The files are those of `music.folder`, in its order; each is judged by
`music.verdict.judge`; of files with the same music the first by name is kept;
songs are held out by the rank of `music.split`. Files are read by several
processes and only their facts come back, so memory grows with the number of
files by the length of a table row each, and not with the music in them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from music.errors import MidiError, SegueError
from music.folder import File, named_files, passed_over
from music.midi import Limits, Reading
from music.split import EVAL, Splitter, eval_bound, split_of
from music.statistics import SongFacts, Totals, song_facts
from music.verdict import (
    KEPT,
    REJECTED,
    REPAIRED,
    Verdict,
    as_duplicate,
    judge,
    read_bytes,
    rejected,
)

BATCH = 16  # files that a process is given at a time
# A process takes over a second to start; fewer files are read sooner without.
FILES_WORTH_A_PROCESS = 100

DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """What a file holds, without its notes.

    Attributes:
      verdict: always there.
      facts: of its song; None where it was rejected.
      fingerprint: `Song.fingerprint()`; empty where it was rejected.
      off_grid: notes whose onset was moved to the grid.
    """

    verdict: Verdict
    facts: SongFacts | None = None
    fingerprint: str = ""
    off_grid: int = 0


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What a folder holds.

    Attributes:
      verdicts: of all files, in their order.
      sides: `train` or `eval` for each of them, empty where it was rejected.
      totals: of the songs that were kept or repaired.
      passed_over: names of what is no MIDI file by its name.
    """

    verdicts: tuple[Verdict, ...]
    sides: tuple[str, ...]
    totals: Totals
    passed_over: tuple[str, ...]

    @property
    def held_out(self) -> tuple[str, ...]:
        """The files whose songs are held out."""
        return tuple(
            verdict.file
            for verdict, side in zip(self.verdicts, self.sides, strict=True)
            if side == EVAL
        )

    def rejections(self) -> dict[str, list[Verdict]]:
        """The rejected files by reason, the commonest first."""
        reasons = Counter(v.reason for v in self.verdicts if v.verdict == REJECTED)
        return {
            reason: [v for v in self.verdicts if v.verdict == REJECTED and v.reason == reason]
            for reason, _ in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        }

    def repairs(self) -> dict[str, list[Verdict]]:
        """The repaired files by what was mended, the commonest first."""
        mended = [v for v in self.verdicts if v.verdict == REPAIRED]
        names = Counter(name for verdict in mended for name in verdict.repairs)
        return {
            name: [v for v in mended if name in v.repairs]
            for name, _ in sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))
        }

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        counts = Counter(verdict.verdict for verdict in self.verdicts)
        return {
            "files": len(self.verdicts),
            **{kind: counts[kind] for kind in (KEPT, REPAIRED, REJECTED)},
            "rejections": {name: len(files) for name, files in self.rejections().items()},
            "repairs": {name: len(files) for name, files in self.repairs().items()},
            "held_out": len(self.held_out),
            "totals": self.totals.as_dict(),
            "passed_over": list(self.passed_over),
            "verdicts": [
                {**verdict.as_dict(), "side": side}
                for verdict, side in zip(self.verdicts, self.sides, strict=True)
            ],
        }


def inspect_bytes(name: str, data: bytes, limits: Limits) -> tuple[FileFacts, Reading | None]:
    """The facts of a file's bytes, and what was read of them."""
    verdict, reading = judge(name, data, limits)
    if reading is None:
        return FileFacts(verdict), None
    song = reading.song
    facts = FileFacts(verdict, song_facts(song), song.fingerprint(), reading.rounding.off_grid)
    return facts, reading


def inspect_file(file: File, limits: Limits) -> tuple[FileFacts, Reading | None]:
    """The facts of a file, whatever it is; never raises for what is in it."""
    try:
        data = read_bytes(file.path, limits)
    except MidiError as error:
        return FileFacts(rejected(file.name, error)), None
    return inspect_bytes(file.name, data, limits)


def inspect_folder(
    folder: Path,
    splitter: Splitter,
    limits: Limits = DEFAULT_LIMITS,
    jobs: int | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> Catalogue:
    """Judges every MIDI file of a folder.

    Args:
      folder: with its subfolders, as `music.folder.midi_files` reads it.
      splitter: says which songs are held out.
      limits: what each file may ask of us.
      jobs: processes that read; None is one a core, or none where files are few.
      on_file: called with (files done, files) as they are judged.

    Raises:
      SegueError: as `music.folder.midi_files`, or no process can be started.
    """
    files = named_files(folder)
    if jobs is None:
        cores = len(os.sched_getaffinity(0))
        jobs = min(cores, max(1, len(files) // FILES_WORTH_A_PROCESS))

    verdicts: list[Verdict] = []
    totals = Totals()
    first: dict[str, int] = {}
    ranks: dict[int, float] = {}
    with contextlib.closing(_inspected(files, limits, jobs)) as inspected:
        for file in inspected:
            verdict = file.verdict
            if file.facts is not None:
                index = first.setdefault(file.fingerprint, len(verdicts))
                if index < len(verdicts):
                    verdict = as_duplicate(verdict, verdicts[index].file)
                else:
                    ranks[index] = splitter.rank(file.fingerprint)
                    totals.add(
                        file.facts, verdict.rounding_mean, verdict.rounding_max, file.off_grid
                    )
            verdicts.append(verdict)
            if on_file is not None:
                on_file(len(verdicts), len(files))
    bound = eval_bound(ranks.values(), splitter.share)
    sides = ["" if i not in ranks else split_of(ranks[i], bound) for i in range(len(verdicts))]
    return Catalogue(tuple(verdicts), tuple(sides), totals, tuple(passed_over(folder)))


# ---- in several processes ---------------------------------------------------


def _inspected(files: list[File], limits: Limits, jobs: int) -> Generator[FileFacts, None, None]:
    """The facts of each file, in order."""
    if jobs <= 1:
        for file in files:
            yield inspect_file(file, limits)[0]
        return
    batches = _batches(files)
    waiting: deque[tuple[list[File], Future]] = deque()
    pool = _Pool(jobs)
    try:
        while True:
            # A few batches ahead, and no more: a million files wait in a list of
            # names rather than in a million tasks.
            for batch in itertools.islice(batches, 3 * jobs - len(waiting)):
                waiting.append((batch, pool.submit(batch, limits)))
            if not waiting:
                return
            batch, future = waiting[0]
            try:
                done = future.result()
            except BrokenProcessPool:
                pool.kill()
                done = _one_by_one(batch, limits)
                pool = _Pool(jobs)
                waiting = deque((batch, pool.submit(batch, limits)) for batch, _ in waiting)
            waiting.popleft()
            yield from done
    finally:
        pool.kill()


def _one_by_one(files: Iterable[File], limits: Limits) -> list[FileFacts]:
    """After a process has died: one file at a time, so that only the culprit is lost.

    Raises:
      SegueError: processes die without reading anything.
    """
    done = []
    pool = _Pool(1)
    try:
        try:
            pool.submit([], limits).result()
        except BrokenProcessPool:
            raise SegueError(
                "the processes that read the files die as they start; read with --jobs 1"
            ) from None
        for file in files:
            try:
                done += pool.submit([file], limits).result()
            except BrokenProcessPool:
                detail = "the process that read it died, for want of memory perhaps"
                done.append(FileFacts(rejected(file.name, MidiError("crashed", detail))))
                pool.kill()
                pool = _Pool(1)
    finally:
        pool.kill()
    return done


def _batches(files: list[File]) -> Iterator[list[File]]:
    return (files[start : start + BATCH] for start in range(0, len(files), BATCH))


def _judge_batch(files: list[File], limits: Limits) -> list[FileFacts]:
    return [inspect_file(file, limits)[0] for file in files]


def _end_with_parent() -> None:
    """Keeps a process from waiting for work for ever when its parent was killed."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class _Pool:
    """Processes that judge, and that are gone at once when they are no longer wanted."""

    def __init__(self, jobs: int):
        self._others = set(multiprocessing.active_children())
        # Spawned: a fork of a process with threads may never wake up.
        spawn = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(jobs, spawn, initializer=_end_with_parent)

    def submit(self, files: list[File], limits: Limits) -> Future:
        try:
            with _interrupts_held():  # a process that is started here never sees Ctrl-C
                return self._executor.submit(_judge_batch, files, limits)
        except BrokenProcessPool as error:
            future: Future = Future()
            future.set_exception(error)
            return future

    def kill(self) -> None:
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keeps Ctrl-C from this thread, and for good from processes started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
