"""A folder of MIDI files: which ones count, and whether they have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from music.errors import SegueError
from music.midi import MAX_FILE_BYTES, MIDI_SUFFIXES


def midi_files(folder: Path) -> list[Path]:
    """The MIDI files of a folder and its subfolders, by name, in a fixed order.

    Hidden files and folders are passed over. Links to folders are not followed;
    they are among the results, as is a folder with the name of a MIDI file, so that
    whoever reads the files tells that these are none.

    Raises:
      SegueError: there is no such folder, or no MIDI file in it.
    """
    if not folder.exists():
        raise SegueError(f"there is no folder {folder}; name one that holds .mid files")
    if not folder.is_dir():
        raise SegueError(f"{folder} is a file; name the folder that holds the .mid files")
    found = list_midi_files(folder)
    if not found:
        raise SegueError(
            f"there is no MIDI file in {folder}; files must end in "
            f"{' or '.join(MIDI_SUFFIXES)} (`segue corpus export bach --out DIR` makes some)"
        )
    return found


class File(NamedTuple):
    """A file to read.

    Attributes:
      path: as the file system has it, in bytes: a name need not be text.
      name: relative to its folder, for people; what is no text shows as such.
    """

    path: bytes
    name: str


def named_files(folder: Path) -> list[File]:
    """As `midi_files`, with the names that verdicts go by.

    Raises:
      SegueError: as `midi_files`.
    """
    return [File(os.fsencode(path), shown(path.relative_to(folder))) for path in midi_files(folder)]


def shown(path: Path) -> str:
    """A path for people: what is no UTF-8 in it shows as such."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def list_midi_files(folder: Path) -> list[Path]:
    """As `midi_files`, for a folder that is there and may hold none.

    Raises:
      SegueError: a folder below it cannot be looked into.
    """
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def _refuse(error: OSError) -> None:
    # os.walk passes over such a folder in silence, and its songs with it.
    raise SegueError(
        f"cannot look into the folder {error.filename}: {error.strerror}; "
        "make it readable, or move it elsewhere"
    )


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            # Told rather than passed over: a folder named like a file, and a link,
            # which is not followed (it may lead anywhere, or in a circle).
            if name.lower().endswith(MIDI_SUFFIXES) or os.path.islink(os.path.join(parent, name)):
                yield Path(parent, name)
        for name in names:
            if name.lower().endswith(MIDI_SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of a folder's MIDI files.

    A file that cannot be read, or is beyond what is read of a file, counts with
    its size alone.

    Raises:
      SegueError: as `midi_files`.
    """
    digest = hashlib.sha256()
    for path in midi_files(folder):
        digest.update(path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape"))
        try:
            if not path.is_file():
                digest.update(b"\0no file\0")
                continue
            size = path.stat().st_size
            digest.update(f"\0{size}\0".encode())
            if size <= MAX_FILE_BYTES:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            digest.update(b"\0unreadable\0")
    return digest.hexdigest()
