"""What a person sees of a run, and where the rest goes.

TFX, Beam and TensorFlow write hundreds of lines to stdout and stderr, some of
them from C++. For the length of a run both descriptors lead to a log file, and
the person reads the lines of `segue.progress` on the terminal they started from:
one a step, one an epoch, and below them, on a terminal, what is under way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from components.progress import LOGGER
from music.errors import SegueError


@contextlib.contextmanager
def quiet(log_dir: Path, name: str, verbose: bool = False) -> Iterator[Any]:
    """Sends the process's chatter to a log file and its progress to the terminal.

    Args:
      log_dir: where the file goes.
      name: begins its name.
      verbose: leave the chatter on the terminal as well as it comes.

    Yields:
      The rich console of the terminal.
    """
    from rich.console import Console

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if verbose:
        console = Console(stderr=True)
        with _listening(_Lines(console)):
            yield console
        return
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SegueError(f"cannot make the folder {log_dir}: {error.strerror}") from None
    path = log_dir / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(saved[1]), "w", buffering=1)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    console = Console(file=terminal)
    lines = _Lines(console)
    try:
        with _listening(lines), lines.status(f"starting (chatter goes to {path})"):
            yield console
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        terminal.close()


class _Lines(logging.Handler):
    """Prints progress, and shows the step under way on a terminal."""

    def __init__(self, console):
        super().__init__(logging.INFO)
        self.console = console
        self._status = None

    @contextlib.contextmanager
    def status(self, text: str) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(text) as self._status:
            yield
        self._status = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == LOGGER.name:
            stage = getattr(record, "stage", "")
            text = getattr(record, "text", record.getMessage())
            # A step's line is one line, however narrow the terminal.
            self.console.print(
                f"[bold]{stage:<18}[/bold] ", end="", highlight=False, soft_wrap=True
            )
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self._status is not None and record.msg == "Component %s is running.":
            self._status.update(f"{record.getMessage().rstrip('.')}")


@contextlib.contextmanager
def _listening(handler: logging.Handler) -> Iterator[None]:
    LOGGER.setLevel(logging.INFO)
    propagate, LOGGER.propagate = LOGGER.propagate, False
    absl = logging.getLogger("absl")
    LOGGER.addHandler(handler)
    absl.addHandler(handler)
    absl.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        absl.removeHandler(handler)
        LOGGER.propagate = propagate
