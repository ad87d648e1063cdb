"""Files for people: put whole where they were asked for, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from music.errors import SegueError


def check_writable(out: Path, flag: str = "--out", like: str = "song.mid") -> None:
    """Finds out before any work whether a file can be put at `out`.

    Args:
      out: the file.
      flag: that named it, for the message.
      like: the name of such a file, for the message.

    Raises:
      SegueError: `out` is a folder, or its folder cannot be made or written to.
    """
    try:
        if out.is_dir():
            raise SegueError(f"{out} is a folder; name a file in it, as in {out / like}")
        if out.exists() and not out.is_file():
            raise SegueError(f"{out} is no regular file; name a file that may be replaced")
        nearest = next(folder for folder in _folders_of(out) if folder.exists())
    except OSError as error:
        raise SegueError(_unwritable(out, error, flag)) from error
    if not nearest.is_dir():
        raise SegueError(f"{out} cannot be written: {nearest} is a file, not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SegueError(f"{out} cannot be written: {nearest} is not writable for this user")


def _folders_of(out: Path) -> Iterable[Path]:
    return out.absolute().parents


def _unwritable(out: Path, error: OSError, flag: str) -> str:
    return f"{out} cannot be written: {error.strerror or error}; choose another {flag}"


def write_atomically(out: Path, data: bytes, flag: str = "--out") -> None:
    """Puts a whole file at `out`, or leaves what was there.

    The bytes go to a name beside it, onto the disk, and only then to their
    place. Its folder is made when it is missing. `flag` named it, for the message.

    Raises:
      SegueError: the system refuses.
    """
    out = Path(os.path.realpath(out))  # through a link to the file that it stands for
    beside = out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Opened here rather than by tempfile, whose files only their owner reads.
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, out)
        _sync_folder(out.parent)
    except OSError as error:
        raise SegueError(_unwritable(out, error, flag)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where folders can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
