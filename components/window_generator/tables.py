"""Where the n-gram's counts lie while they are added up, and when they are done.

A worker that has counted some songs writes a run: their table (`music.ngram`) as
`runs/<name>.npy`. Its parts are stretches of it, so that a part of the whole
n-gram is read from every run in turn and nothing else; added up it becomes
`ngram/ngram-0000p-of-0000P.npy`, beside the splits of an Examples artifact. What
travels between workers is the places of these stretches.
"""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from apache_beam.io.filesystems import FileSystems

from components.stages import put_in_place
from music.ngram import merge_tables, part_cuts, stretch_table

FOLDER = "ngram"
_RUNS = "runs"


class Stretch(NamedTuple):
    """Some neighbouring entries of a run.

    Attributes:
      path: of the run's file.
      first, stop: places in its table.
    """

    path: str
    first: int
    stop: int


def write_run(folder: str, name: str, table: np.ndarray, parts: int) -> Iterator[Stretch]:
    """Writes a run; yields its stretch of every part, in order.

    Args:
      folder: of the n-gram.
      name: another for every run, and the same one when its work is done again.
      table: uint64[2, N + 1].
      parts: of the n-gram.
    """
    path = os.path.join(folder, _RUNS, f"{name}.npy")
    _write(path, table)
    cuts = part_cuts(table, parts)
    for first, stop in itertools.pairwise(cuts):
        yield Stretch(path, first, stop)


def add_up(stretches: Iterable[Stretch]) -> np.ndarray:
    """The table of the counts in stretches of runs, the same in any order of them."""
    return merge_tables([_read(stretch) for stretch in sorted(stretches)])


def write_part(folder: str, part: int, parts: int, table: np.ndarray) -> str:
    """Writes one part of the n-gram; returns its path."""
    path = os.path.join(folder, f"ngram-{part:05d}-of-{parts:05d}.npy")
    _write(path, table)
    return path


def remove_runs(folder: str) -> None:
    """Runs are of no use when every part is written."""
    runs = os.path.join(folder, _RUNS)
    if FileSystems.exists(runs):
        FileSystems.delete([runs])


def open_parts(paths: Sequence[str], scratch: str) -> list[np.ndarray]:
    """The parts of an n-gram, memory-mapped, in order.

    Args:
      paths: as `write_part` gave them.
      scratch: local folder for copies of parts that lie elsewhere.
    """
    return [np.load(_local(path, scratch), mmap_mode="r") for path in sorted(paths)]


def _local(path: str, scratch: str) -> str:
    if "://" not in path:
        return path
    copy = os.path.join(scratch, os.path.basename(path))
    with FileSystems.open(path) as source, open(copy, "wb") as file:
        shutil.copyfileobj(source, file)
    return copy


def _write(path: str, table: np.ndarray) -> None:
    folder, name = os.path.split(path)
    # A runner may give one piece of work to two workers at once.
    temporary = os.path.join(folder, f".{uuid.uuid4().hex}-{name}")
    with FileSystems.create(temporary) as handle:
        np.save(handle, table)
    put_in_place(temporary, path)


def _read(stretch: Stretch) -> np.ndarray:
    """The table of a stretch, without reading the rest of its run."""
    count = stretch.stop - stretch.first + 1
    with FileSystems.open(stretch.path) as handle:
        np.lib.format.read_magic(handle)
        (rows, width), _, dtype = np.lib.format.read_array_header_1_0(handle)
        begin = handle.tell()
        found = []
        for row in range(rows):
            handle.seek(begin + (row * width + stretch.first) * dtype.itemsize)
            found.append(np.frombuffer(handle.read(count * dtype.itemsize), dtype))
    return stretch_table(np.stack(found))
