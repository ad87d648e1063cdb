"""An event that a signal handler may set.

`threading.Event` is not one: where the signal comes while the main thread is inside
`wait`, but not yet asleep, the handler runs on top of it and waits for ever for the
lock that it holds itself. `queue.SimpleQueue.put` is made for being called from there.
A signal that comes in the instant before a thread falls asleep does not wake it in
Python, so nobody sleeps for long.
"""

from __future__ import annotations

import contextlib
import queue
import time

_SLEEP_SECONDS = 0.25


class StopFlag:
    """Set once, and for good."""

    def __init__(self) -> None:
        self._is_set = False
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Wakes all who wait; safe in a signal handler."""
        self._is_set = True
        self._wakes.put(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until it is set; False when `timeout` seconds were up before."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = _SLEEP_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=min(left, _SLEEP_SECONDS))
        self._wakes.put(None)  # for whoever else waits
        return True
