"""Songs cut into the examples that a model is trained and judged on.

Two forms, one a preset. With L the window length:

`every` (default): windows of up to 2L + 1 events at a stride of L. Training crops
L + 1 of them at a random offset each epoch and learns to predict every one but
the first. Evaluation scores the last L, each with at least L events of context
or the whole song so far, so that every event of a song but its first is scored
exactly once.

`last` (the paper): windows of L + 1 events at a stride of 1, the last one scored.
Events with fewer than L before them are never scored, as in the paper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from music.errors import SegueError


@dataclasses.dataclass(frozen=True)
class Window:
    """A stretch of a song.

    Attributes:
      events: int32[T, F] codes.
      offset: index in the song of the first event.
      scored: how many events, from the end, are scored.
    """

    events: np.ndarray
    offset: int
    scored: int


@dataclasses.dataclass(frozen=True)
class WindowSpec:
    """How songs are cut.

    Attributes:
      length: L, the number of events that predict the next one.
      form: `every` or `last`.

    Raises:
      SegueError: the length or the form is not one of these.
    """

    length: int = 75
    form: str = "every"

    def __post_init__(self) -> None:
        if not 1 <= self.length <= 4096:
            raise SegueError(f"window length {self.length} is outside 1..4096")
        if self.form not in ("every", "last"):
            raise SegueError(f"window form {self.form!r} does not exist; choose every or last")

    @property
    def max_events(self) -> int:
        """The longest window."""
        return 2 * self.length + 1 if self.form == "every" else self.length + 1

    @property
    def max_scored(self) -> int:
        """The most events that one window scores."""
        return self.length if self.form == "every" else 1

    def cut(self, events: np.ndarray) -> Iterator[Window]:
        """The windows of one song, int32[T, F], in order."""
        total, length = len(events), self.length
        if self.form == "last":
            for start in range(total - length):
                yield Window(events[start : start + length + 1], start, 1)
            return
        for first in range(1, total, length):
            start = max(0, first - 1 - length)
            stop = min(first + length, total)
            yield Window(events[start:stop], start, stop - first)
