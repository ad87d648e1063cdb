"""How much goes on at the same time: runs of models, loads and unloads.

A server takes many calls at once (a batcher wants them all inside), but a
processor computes only a few at a time: with more, every one of them gets slower
and memory grows with the number of callers. So runs wait for one of a few places,
first come, first served. A wait ends with the caller's deadline, and soon after
the caller has gone away. Loads and unloads wait the same way for places of their
own, which are what `--num_load_threads` and `--num_unload_threads` count.

Whether the caller still waits, `calls.current()` knows.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from serving import calls, errors

# A caller that went away is noticed this late, in seconds.
_PAUSE = 0.2


def _always() -> bool:
    return True


class Places:
    """A number of places, given out in the order of asking; safe from any thread.

    Args:
      count: how many there are.
    """

    def __init__(self, count: int):
        self._lock = threading.Lock()
        self._count = count
        self._free = count
        self._queue: collections.deque[threading.Event] = collections.deque()

    def resize(self, count: int) -> None:
        """Changes the number; whoever has a place keeps it."""
        with self._lock:
            self._free += count - self._count
            self._count = count
            self._hand_out()

    def take(self, timeout: float | None = None, wanted: Callable[[], bool] = _always) -> bool:
        """Waits for a place.

        Args:
          timeout: seconds to wait at most; None for any time.
          wanted: asked now and then; False ends the waiting.

        Returns:
          Whether there is a place now, which the taker must give back.
        """
        with self._lock:
            if self._free > 0 and not self._queue:
                self._free -= 1
                return True
            turn = threading.Event()
            self._queue.append(turn)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _PAUSE if deadline is None else deadline - time.monotonic()
            if turn.wait(max(0.0, min(left, _PAUSE))):
                return True
            if left <= 0 or not wanted():
                with self._lock:
                    if turn.is_set():  # in this very moment
                        return True
                    self._queue.remove(turn)
                    return False

    def give_back(self) -> None:
        """Leaves a place to the next in the queue."""
        with self._lock:
            self._free += 1
            self._hand_out()

    @contextlib.contextmanager
    def one(self, wanted: Callable[[], bool] = _always) -> Iterator[bool]:
        """Waits for a place and holds it; yields whether there is one, as `take`."""
        taken = self.take(wanted=wanted)
        try:
            yield taken
        finally:
            if taken:
                self.give_back()

    def _hand_out(self) -> None:
        while self._free > 0 and self._queue:
            self._free -= 1
            self._queue.popleft().set()


class Room:
    """Bytes that calls may hold together; safe from any thread.

    Args:
      size: how many there are.
    """

    def __init__(self, size: int):
        self._lock = threading.Lock()
        self._size = size
        self._held = 0

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Holds so many bytes.

        Raises:
          ServingError: RESOURCE_EXHAUSTED when others hold too many.
        """
        with self._lock:
            if self._held + size > self._size:
                raise errors.resource_exhausted(
                    f"requests under way hold {self._held} of {self._size} bytes in tensors that "
                    f"were sent as a few values and a shape, and this one needs {size} more"
                )
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size


@contextlib.contextmanager
def run_in(places: Places | None, timeout: float | None) -> Iterator[float | None]:
    """Holds a place for a run.

    Args:
      places: those to take one of; None for no limit.
      timeout: seconds that waiting and running may take together.

    Yields:
      The seconds that are left for the run; None for any time.

    Raises:
      ServingError: DEADLINE_EXCEEDED when the time was over before there was a
        place, CANCELLED when the caller went away.
    """
    if places is None:
        yield timeout
        return
    began = time.monotonic()
    call = calls.current()
    if not places.take(timeout, (lambda: not call.gone) if call else _always):
        if call and call.gone:
            raise errors.cancelled("The caller went away before the run could start")
        raise errors.deadline_exceeded("Deadline exceeded before the run could start")
    try:
        yield None if timeout is None else timeout - (time.monotonic() - began)
    finally:
        places.give_back()
