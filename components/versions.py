"""The versions of a served model, as TensorFlow Serving sees a folder of them.

A version is a child folder whose name is a number; the largest is in service.
Anything else (a copy under way, a note) is no version for a server, and so a
version is taken out of service by its name alone: renamed to `<number>.parked`,
it is not seen by any server, the embedded one or TensorFlow Serving, and is back
with the next renaming. A file `.pinned` beside them holds the number of the
version that pushes must leave in service.

Whoever changes the names holds the folder's lock for as long: a push its last
moment, a command of a person all of it. A run that trains for hours keeps nobody
from rolling back.

Folders may be local or in a bucket. TFX, which knows buckets and takes ten
seconds to import, is asked about those alone: `segue models` answers at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from typing import IO

from music.errors import SegueError

PARKED_SUFFIX = ".parked"
PIN_FILE = ".pinned"
MODEL_FILE = "saved_model.pb"
# Seconds to wait for somebody else's renames.
PATIENCE = 30.0


def versions(serving_dir: str) -> list[int]:
    """The version numbers below a folder, ascending; empty when it does not exist.

    Folders without a model in them are left out, and so are parked versions.
    """
    return [
        number
        for number in _numbers(_names(serving_dir), parked=False)
        if _exists(os.path.join(version_path(serving_dir, number), MODEL_FILE))
    ]


@contextlib.contextmanager
def changing(serving_dir: str) -> Iterator[None]:
    """Holds a folder of versions while names in it are changed.

    The lock is the operating system's: it ends with its process, however that
    ends. A bucket has none; there, runs are kept apart by the root's.

    Args:
      serving_dir: the folder.

    Raises:
      SegueError: somebody else is changing the folder all the while.
    """
    if not os.path.isdir(serving_dir):
        yield
        return
    # Of the folder itself, so that nothing but versions lies in it.
    descriptor = os.open(serving_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SegueError(
                        f"another command is changing the versions in {serving_dir}; "
                        "wait for it, and try again"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def parked_versions(serving_dir: str) -> list[int]:
    """The numbers of the versions that were taken out of service, ascending."""
    return _numbers(_names(serving_dir), parked=True)


def newest_version(serving_dir: str) -> str | None:
    """The folder of the version in service; None when nothing is served."""
    known = versions(serving_dir)
    return version_path(serving_dir, known[-1]) if known else None


def version_path(serving_dir: str, number: int, parked: bool = False) -> str:
    """Where a version lies while it is in reach of servers, or parked."""
    return os.path.join(serving_dir, f"{number}{PARKED_SUFFIX if parked else ''}")


def next_version(serving_dir: str, at_least: int) -> int:
    """A number above every version there is: served, parked or damaged.

    Args:
      serving_dir: the folder of the versions.
      at_least: what it shall be unless a version is as large; the time, say.

    Raises:
      SegueError: a version has the largest number that servers know.
    """
    # A damaged folder counts: a server would try it instead of a lower version.
    taken = [version_number(name) for name in _names(serving_dir)]
    number = max([at_least, *(one + 1 for one in taken if one is not None)])
    if number >= 2**63:
        raise SegueError(
            f"no version can be above {number - 1} in {serving_dir}; remove that folder"
        )
    return number


def pinned_version(serving_dir: str) -> int | None:
    """The version that pushes leave in service; None when there is no pin.

    Raises:
      SegueError: the pin's file holds no number, or cannot be read.
    """
    path = os.path.join(serving_dir, PIN_FILE)
    if not _exists(path):
        return None
    try:
        with _open(path) as file:
            text = file.read(64)
    except (OSError, ValueError) as error:
        raise SegueError(
            f"{path} cannot be read ({error}); `segue models unpin` removes it"
        ) from error
    number = version_number(text.strip())
    if number is None:
        raise SegueError(
            f"{path} holds {text.strip()!r}, which is no version; `segue models unpin` removes it"
        )
    return number


def pin_in_force(serving_dir: str) -> int | None:
    """The pinned version if it is there; a pin on a version that is gone holds nothing.

    Raises:
      SegueError: as `pinned_version`.
    """
    pinned = pinned_version(serving_dir)
    known = [*versions(serving_dir), *parked_versions(serving_dir)]
    return pinned if pinned in known else None


def version_number(name: str) -> int | None:
    """The number of a version's folder, parked or not; None for any other name."""
    name = name.removesuffix(PARKED_SUFFIX)
    # As servers do: an int64 (a positive one here), and spelled as it is printed.
    if not (name.isascii() and name.isdigit() and len(name) < 20):
        return None
    number = int(name)
    return number if 0 < number < 2**63 and name == str(number) else None


def _numbers(names: Iterable[str], parked: bool) -> list[int]:
    wanted = [name for name in names if name.endswith(PARKED_SUFFIX) == parked]
    return sorted(number for number in map(version_number, wanted) if number is not None)


def _is_local(path: str) -> bool:
    return "://" not in path


def _names(folder: str) -> list[str]:
    if _is_local(folder):
        try:
            return [entry.name for entry in os.scandir(folder) if entry.is_dir()]
        except FileNotFoundError:
            return []
    from tfx.dsl.io import fileio

    if not fileio.exists(folder):
        return []
    return [name.rstrip("/") for name in fileio.listdir(folder)]


def _exists(path: str) -> bool:
    if _is_local(path):
        return os.path.exists(path)
    from tfx.dsl.io import fileio

    return fileio.exists(path)


def _open(path: str) -> IO[str]:
    if _is_local(path):
        return open(path, encoding="ascii")
    from tfx.dsl.io import fileio

    return fileio.open(path)
