"""Whether the files of a regenerated catalogue are what its manifest says.

Every file is read and hashed again; so is what a song's identity is made of, and, where
the catalogue is at hand, every source. What lies among the songs and stands in no row is
told as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from client.catalogue.manifest import lines_bytes, read_manifest, table_of
from client.catalogue.plan import song_identity, source_fingerprint
from client.catalogue.store import LINES, SONGS, TABLE, Store
from music.errors import SegueError
from music.folder import named_files


@dataclasses.dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
      songs: rows of the manifest.
      files: that were held against it.
      problems: a line each; empty where all is as it says.
      strangers: files among the songs that stand in no row.
    """

    songs: int
    files: int
    problems: tuple[str, ...]
    strangers: tuple[str, ...]


def verify(folder: Path, catalogue: Path | None = None) -> Verified:
    """Holds a folder against its manifest.

    Args:
      folder: that songs were regenerated into.
      catalogue: that they were made of; None leaves the sources out.

    Raises:
      SegueError: there is no manifest, or it cannot be read.
    """
    store = Store(folder)
    rows = read_manifest(store)
    if not (folder / LINES).exists():
        raise SegueError(f"there is no {LINES} in {folder}; name a folder that songs were made in")
    problems = [*_table(folder, rows), *_identities(rows)]
    # Twins share their files.
    outputs = {output["path"]: output for row in rows for output in row["outputs"]}
    for output in outputs.values():
        problems += _file(folder, output)
    if catalogue is not None:
        problems += _sources(rows, catalogue)
    return Verified(len(rows), len(outputs), tuple(problems), tuple(strangers(folder, rows)))


def _file(folder: Path, output: Mapping[str, Any]) -> list[str]:
    path = output["path"]
    # A manifest that somebody else wrote must not make us read elsewhere.
    if not _is_song(path):
        return [f"{path}: lies outside of {SONGS}/"]
    try:
        found = os.lstat(folder / path)
        # A link would lead elsewhere, and a pipe would keep us waiting.
        if not stat.S_ISREG(found.st_mode):
            return [f"{path}: is no regular file"]
        if found.st_size != output["bytes"]:
            return [f"{path}: has {found.st_size:,} bytes, not {output['bytes']:,}"]
        data = (folder / path).read_bytes()
    except FileNotFoundError:
        return [f"{path}: is missing"]
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        return [f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]
    if hashlib.sha256(data).hexdigest() != output["sha256"]:
        return [f"{path}: holds something else than was written"]
    return []


def _is_song(path: str) -> bool:
    folder, _, name = path.partition("/")
    return folder == SONGS and bool(name) and "/" not in name and name not in (".", "..")


def _table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether the manifest is what we write of its own rows, in both of its forms."""
    import pyarrow
    import pyarrow.parquet

    problems = []
    if (folder / LINES).read_bytes() != lines_bytes(rows):
        problems.append(f"{LINES}: was not written as it is")
    try:
        # Not `read_table`, whose threads end one process in five by an abort (pyarrow 18).
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader((folder / TABLE).read_bytes()))
        there = file.read(use_threads=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        return [*problems, f"{TABLE}: cannot be read: {reason}"]
    try:
        # By what it says, not by its bytes, which other versions of its library write otherwise.
        same = there.equals(table_of(rows))
    except (ValueError, TypeError, NotImplementedError, OverflowError):
        same = False  # rows that no table can hold
    if not same:
        problems.append(f"{TABLE}: says something else than {LINES}")
    return problems


def _identities(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['source']}: its identity is not that of its source, model, seed and settings"
        for row in rows
        if row["identity"]
        != song_identity(row["source_sha256"], row["model"]["sha256"], row["seed"], row["settings"])
    ]


def _sources(rows: Sequence[Mapping[str, Any]], catalogue: Path) -> list[str]:
    # Names that are no text may look the same.
    now: dict[str, set[str]] = {}
    for file in named_files(catalogue):
        now.setdefault(file.name, set()).add(source_fingerprint(file.path)[0])
    problems = []
    for row in rows:
        if row["source"] not in now:
            problems.append(f"{row['source']}: is no longer in the catalogue")
        elif row["source_sha256"] not in now[row["source"]]:
            problems.append(f"{row['source']}: has changed since its song was made")
    return problems


def strangers(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Files among the songs of a folder that no row names, by path."""
    named = {output["path"] for row in rows for output in row["outputs"]}
    try:
        names = sorted(os.listdir(folder / SONGS))
    except OSError:
        return []
    return [f"{SONGS}/{name}" for name in names if f"{SONGS}/{name}" not in named]
