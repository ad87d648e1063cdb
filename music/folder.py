"""A folder of MIDI files: which ones count, and whether they have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from music.errors import SegueError
from music.midi import MAX_FILE_BYTES, MIDI_SUFFIXES, SUFFIXES


def midi_files(folder: Path) -> list[Path]:
    """The MIDI files of a folder and its subfolders, by name, in a fixed order.

    Hidden files and folders are passed over. Links to folders are not followed;
    they are among the results, as are a folder with the name of a MIDI file and one
    that cannot be looked into, so that whoever reads the files tells of them.

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
            f"{SUFFIXES} (`segue corpus export bach --out DIR` makes some)"
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
      SegueError: the folder cannot be looked into.
    """
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    closed: list[Path] = []

    def note(error: OSError) -> None:
        # os.walk passes over such a folder in silence, and its songs with it.
        if Path(error.filename) == folder:
            raise SegueError(
                f"cannot look into the folder {folder}: {error.strerror}; make it readable"
            )
        closed.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=note):
        _hide(folders)
        for name in folders:
            # Told rather than passed over: a folder named like a file, and a link,
            # which is not followed (it may lead anywhere, or in a circle).
            if name.lower().endswith(MIDI_SUFFIXES) or os.path.islink(os.path.join(parent, name)):
                yield Path(parent, name)
        for name in names:
            if name.lower().endswith(MIDI_SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)
    yield from (path for path in closed if not path.name.lower().endswith(MIDI_SUFFIXES))


def passed_over(folder: Path) -> list[str]:
    """What stands in a folder beside its MIDI files, by name; hidden files are not told."""
    found = []
    for parent, folders, names in os.walk(folder):
        _hide(folders)
        here = Path(parent).relative_to(folder)
        found += [
            shown(here / name)
            for name in names
            if not name.startswith(".") and not name.lower().endswith(MIDI_SUFFIXES)
        ]
    return sorted(found)


def _hide(folders: list[str]) -> None:
    """Keeps `os.walk` out of hidden folders."""
    folders[:] = [name for name in folders if not name.startswith(".")]


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
