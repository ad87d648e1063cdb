"""What a person sees of a run, and where the rest goes.

TFX, Beam and TensorFlow write hundreds of lines to stdout and stderr, some of
them from C++. For the length of a run both descriptors lead to a log file, and
the person reads the lines of `segue.progress` on the terminal they started from:
one a step, one an epoch, and below them, on a terminal, what is under way: the step,
and while a network is trained a bar with its loss and the time left.
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
from music.statistics import clock

_BAR_WIDTH = 16


@contextlib.contextmanager
def quiet(log_dir: Path, name: str, verbose: bool = False, waiting: bool = True) -> Iterator[Any]:
    """Sends the process's chatter to a log file and its progress to the terminal.

    Args:
      log_dir: where the file goes.
      name: begins its name.
      verbose: leave the chatter on the terminal as well as it comes.
      waiting: show what is under way; else the caller does.

    Yields:
      The rich console of the terminal.
    """
    from rich.console import Console

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if verbose:
        console = Console(stderr=True, force_terminal=sys.stderr.isatty())
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
    # An environment that asks for colours (a notebook's does) makes no terminal of a file.
    console = Console(file=terminal, force_terminal=terminal.isatty())
    lines = _Lines(console)
    try:
        with _listening(lines), contextlib.ExitStack() as shown:
            if waiting:
                shown.enter_context(lines.status(f"starting (chatter goes to {path})"))
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
        super().__init__(logging.DEBUG if console.is_terminal else logging.INFO)
        self.console = console
        self._status: Any = None
        self._bar: Any = None

    @contextlib.contextmanager
    def status(self, text: str) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(text) as self._status:
            try:
                yield
            finally:
                self._hide_bar()
        self._status = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == LOGGER.name:
            facts = getattr(record, "facts", {})
            if record.levelno < logging.INFO:
                self._tick(facts)
            elif not (self._bar and facts.get("passing")):
                self._print(record)
        elif self._status is not None and record.msg == "Component %s is running.":
            self._status.update(f"{record.getMessage().rstrip('.')}")

    def _print(self, record: logging.LogRecord) -> None:
        stage = getattr(record, "stage", "")
        text = getattr(record, "text", record.getMessage())
        from rich.text import Text

        # A step's line is one line, however narrow the terminal, and printed at once:
        # whatever is live below is drawn again after every print.
        line = Text.assemble((f"{stage:<18}", "bold"), " ", text)
        self.console.print(line, highlight=False, soft_wrap=True)

    def _tick(self, facts: dict[str, Any]) -> None:
        """Draws the bar in place of the step; takes it away at the end."""
        if self._status is None:
            return
        if facts.get("ended"):
            self._hide_bar()
            return
        begins = self._bar is None
        if begins:
            self._status.stop()
            self._bar = _bar(self.console)
        (task,) = self._bar.task_ids
        count = f"{facts['step']}/{facts['steps']}"
        room = self.console.width - _BAR_WIDTH - len(count) - 3
        self._bar.update(
            task,
            completed=facts["step"],
            total=facts["steps"],
            description=f"{count} {describe(facts, room)}",
        )
        if begins:
            self._bar.start()
        self._bar.refresh()

    def _hide_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._status.start()


def _bar(console):
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    bar = Progress(
        BarColumn(bar_width=_BAR_WIDTH),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        auto_refresh=False,
    )
    bar.add_task("", total=None)
    return bar


def describe(facts: dict[str, Any], room: int = 1000) -> str:
    """The words beside the bar of a training.

    Args:
      facts: of a tick.
      room: columns that there are; where they do not suffice, figures are left out, the
        time left never.
    """
    epoch, left = f"epoch {facts['epoch']} of {facts['epochs']}", clock(facts["seconds_left"])
    loss = f"loss {facts['loss']:.3f}"
    held_out = best = ngram = ""
    if facts.get("best") is not None:
        best = f"best {facts['best']:.3f}"
        held_out = f"held-out {facts['nats']:.3f}, {best}"
    if facts.get("ngram_nats") is not None:
        ngram = f"n-gram {facts['ngram_nats']:.3f}"
    for parts in ((loss, held_out, ngram), (loss, best, ngram), (loss, best), (loss,), ()):
        words = " · ".join([epoch, *filter(None, parts), f"{left} left"])
        if len(words) <= room:
            break
    return words


@contextlib.contextmanager
def _listening(handler: logging.Handler) -> Iterator[None]:
    # Ticks, which are below INFO, are made for a terminal alone.
    LOGGER.setLevel(min(logging.INFO, handler.level))
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
