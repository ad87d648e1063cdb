"""One run at a time on a root.

The lock is the operating system's (flock), held by an open file: when its process
ends, however it ends, the lock is gone. The file stays and says who held it last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from music.errors import SegueError

LOCK_FILE = ".lock"


class Busy(SegueError):
    """Another run has the root: nothing is wrong, and the next night will do.

    Attributes:
      exit_code: of a command that ends with it, as sysexits.h has it for "try again later",
        so that a schedule can tell it from a failure.
    """

    exit_code = 75


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Holds a root for the length of a `with` block.

    Raises:
      Busy: another process holds it.
      SegueError: the root cannot be written.
    """
    path = root / LOCK_FILE
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SegueError(
            f"cannot write to {root}: {error.strerror}; choose another --root"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Busy(
                f"another run (process {holder}) is using {root}; "
                "wait for it, or choose another --root"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
