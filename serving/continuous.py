"""Continuous batching: songs share the processor event by event, not call by call.

A song is a loop that a model runs for seconds. Batched call by call, a request
would wait for the loops before it to end, a short song for the long one beside
it, and a lone song would leave cores idle. So, as servers of language models do
(Orca, Yu et al. 2022), the unit here is not the call but a stretch of it: every
row of every `generate`, `resume` and `step` call becomes a song under way, which
consists of its carried state, its last event and how many are left. Workers, one
a core, again and again take the rows that are ready, from the requests in turn,
and move them on by some events in one run of the model. New requests join at the
next run; finished ones leave; one whose caller has gone or whose time is up is
dropped.

Callers cannot see any of this but in the time it takes. A model of Segue promises
that a row's song depends neither on what else is in the batch nor on how it was
cut into calls (components/trainer/inference.py), and says in its facts that it
carries its state. Other models, other signatures, and requests that are not in
order go to the model directly, so that errors are the graph's own.

`Scheduler` knows who is next, `ContinuousModel` stands in front of a loaded
model; what a song is and how a run moves it on, `songs` knows.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving import calls, errors
from serving.errors import ServingError
from serving.loader import LoadedModel
from serving.songs import Request, Song, Songs

_log = logging.getLogger(__name__)

# What one run moves a song on by while others wait, and when none do.
SHORT_STEPS = 32
LONG_STEPS = 256
# Fewer rows than this on a core cost about as much as one.
_LEAST_ROWS = 4


@dataclasses.dataclass(frozen=True)
class ContinuousSettings:
    """How songs share the processor.

    Attributes:
      workers: runs at the same time, one a core.
      max_rows: rows in one run.
      max_queued_rows: rows under way or waiting, of all requests; more are
        refused with RESOURCE_EXHAUSTED.
      max_queued_events: events that those rows may hold, made or to be made.
    """

    workers: int = 2
    max_rows: int = 64
    max_queued_rows: int = 4096
    max_queued_events: int = 16_000_000


class Scheduler:
    """Gives every request its turn; safe to use from any thread.

    Args:
      songs: what runs them.
      settings: workers and limits.
    """

    def __init__(self, songs: Songs, settings: ContinuousSettings):
        self._songs = songs
        self._settings = settings
        self._changed = threading.Condition()
        # The requests with songs that wait; the first is next.
        self._requests: collections.deque[Request] = collections.deque()
        self._idle = 0
        self._rows = 0
        self._events = 0
        self._closed = False
        self._workers: list[threading.Thread] = []

    @property
    def rows(self) -> int:
        """Songs under way."""
        with self._changed:
            return self._rows

    def finish(self, request: Request) -> None:
        """Runs a request to its end, for the call that this thread works for.

        Raises:
          ServingError: RESOURCE_EXHAUSTED when too much is under way already,
            DEADLINE_EXCEEDED, CANCELLED when the caller has gone, UNAVAILABLE
            when the model is being closed, or what a run raised.
        """
        rows, size = request.pending, request.size
        with self._changed:
            self._admit(rows, size)
            self._rows += rows
            self._events += size
        call = calls.current()
        gone = functools.partial(self._fail, request, errors.cancelled("The caller is gone"))
        try:
            # Not before it was let in: what is refused must not cost memory.
            request.allocate()
            with self._changed:
                # It may have been closed meanwhile, and its workers gone.
                self._refuse_if_closed()
                self._requests.append(request)
                self._start_worker()
                self._changed.notify()
            with call.when_gone(gone) if call else contextlib.nullcontext():
                left = request.deadline - time.monotonic()
                if not request.done.wait(min(left, threading.TIMEOUT_MAX)):
                    self._fail(request, errors.deadline_exceeded("Deadline exceeded"))
        finally:
            with self._changed:
                self._rows -= rows
                self._events -= size
        if request.error:
            # A new one: the traceback of an error that others hold would keep all
            # that this call holds.
            raise ServingError(request.error.code, request.error.message)

    def _admit(self, rows: int, size: int) -> None:
        """Refuses what is too much, for ever or for now; the lock is held."""
        settings = self._settings
        self._refuse_if_closed()
        if rows > settings.max_queued_rows:
            raise errors.invalid_argument(
                f"a call may have at most {settings.max_queued_rows} rows on this server "
                f"(--continuous_max_queued_rows), got {rows}"
            )
        if size > settings.max_queued_events:
            raise errors.invalid_argument(
                f"a call may have at most {settings.max_queued_events} events on this server, "
                f"those of its primes included, got {size}"
            )
        if self._rows + rows > settings.max_queued_rows:
            raise errors.resource_exhausted(
                "The batch scheduling queue to which this task was submitted is full; "
                f"{self._rows} rows are under way of at most {settings.max_queued_rows} "
                "(--continuous_max_queued_rows)"
            )
        if self._events + size > settings.max_queued_events:
            raise errors.resource_exhausted(
                "The batch scheduling queue to which this task was submitted is full; songs of "
                f"{self._events} events are under way of at most {settings.max_queued_events}"
            )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise errors.unavailable("the model is being unloaded")

    def close(self) -> None:
        """Fails what is under way and ends the workers."""
        with self._changed:
            self._closed = True
            for request in self._requests:
                request.fail(errors.unavailable("the model is being unloaded"))
            self._requests.clear()
            self._changed.notify_all()
            workers = list(self._workers)
        for worker in workers:
            worker.join()

    def _fail(self, request: Request, error: ServingError) -> None:
        with self._changed:
            request.fail(error)

    def _start_worker(self) -> None:
        if self._idle or len(self._workers) >= self._settings.workers:
            return
        thread = threading.Thread(
            target=self._work, name=f"songs-{len(self._workers)}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            if not self._workers:
                raise errors.resource_exhausted(f"no worker could be started: {error}") from error
            return
        self._workers.append(thread)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not (songs := self._take()):
                    if self._closed:
                        return
                    self._changed.wait()
                self._idle -= 1
                lone = not self._requests and (self._hands or self._settings.workers == 1)
                if self._requests:
                    # Somebody else may begin with what is left.
                    self._start_worker()
                    self._changed.notify()
            self._move(songs, LONG_STEPS if lone else SHORT_STEPS)

    @property
    def _hands(self) -> int:
        """Workers that could begin with something now; some may not be started yet."""
        return self._idle + self._settings.workers - len(self._workers)

    def _take(self) -> list[Song]:
        """Songs of one kind, one of each request in turn, for the next run."""
        self._drop_ended()
        if not self._requests:
            return []
        kind = next(iter(self._requests[0].ready))
        waiting = sum(len(request.ready.get(kind, ())) for request in self._requests)
        share = max(_LEAST_ROWS, math.ceil(waiting / self._hands))
        most = min(share, self._settings.max_rows)
        taken: list[Song] = []
        turn = list(self._requests)
        while turn and len(taken) < most:
            again = []
            for request in turn:
                queue = request.ready.get(kind)
                if queue and len(taken) < most:
                    taken.append(queue.popleft())
                    if queue:
                        again.append(request)
                    else:
                        del request.ready[kind]
            turn = again
        # Whoever was served goes to the end. With more requests than rows, a step
        # by one would serve the same ones again and again.
        served = {id(song.request) for song in taken}
        for request in self._requests:
            if id(request) in served and kind in request.ready:
                # Its songs of other kinds come first then.
                request.ready[kind] = request.ready.pop(kind)
        self._requests.rotate(-len(served))
        self._drop_ended()
        return taken

    def _drop_ended(self) -> None:
        """Leaves only requests with songs that wait; the others come back by `_put_back`."""
        self._requests = collections.deque(r for r in self._requests if r.ready)

    def _move(self, songs: list[Song], most: int) -> None:
        songs = [song for song in songs if not song.request.done.is_set()]
        if not songs:
            return
        try:
            ran = self._songs.run(songs, most)
        except ServingError as error:
            self._set_apart(songs, most, error)
            return
        except Exception as error:
            _log.exception("a run failed")
            self._set_apart(songs, most, errors.internal(errors.one_line(error)))
            return
        try:
            self._settle(songs, self._songs.move_on(songs, ran))
        except Exception as error:
            # Nothing is known of these songs any more; the worker goes on.
            _log.exception("songs could not be moved on")
            for request in {song.request for song in songs}:
                self._fail(request, errors.internal(errors.one_line(error)))

    def _set_apart(self, songs: list[Song], most: int, error: ServingError) -> None:
        """A run failed: each request's songs run alone, so that it fails for itself."""
        requests = list(dict.fromkeys(song.request for song in songs))
        if len(requests) == 1:
            self._fail(requests[0], error)
            return
        for request in requests:
            self._move([song for song in songs if song.request is request], most)

    def _settle(self, songs: list[Song], rest: list[Song]) -> None:
        with self._changed:
            for song in songs:
                song.request.pending -= 1
            for song in rest:
                request = song.request
                request.pending += 1
                if not request.done.is_set():
                    request.add(song)
                    if request not in self._requests:
                        self._requests.append(request)
            for request in {song.request for song in songs}:
                if not request.pending:
                    request.done.set()
            if self._closed:
                for request in self._requests:
                    request.fail(errors.unavailable("the model is being unloaded"))
                self._requests.clear()
            if self._requests:
                self._changed.notify()


class ContinuousModel(LoadedModel):
    """A LoadedModel whose songs share the processor; safe to use from many threads.

    Args:
      model: where everything that is no song goes as it is.
      facts: what `facts_of` read.
      settings: workers and limits.
      runner: what runs the songs, when `model` would batch them again.
    """

    def __init__(
        self,
        model: LoadedModel,
        facts: Mapping[str, Any],
        settings: ContinuousSettings,
        runner: LoadedModel | None = None,
    ):
        # The session stays with the model that is wrapped.
        self.path = model.path
        self.meta_graph = model.meta_graph
        self._model = model
        self._songs = Songs(runner or model, facts)
        self._scheduler = Scheduler(self._songs, settings)

    @property
    def songs(self) -> int:
        """Songs that are being made or wait."""
        return self._scheduler.rows

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout: float | None = None,
    ) -> list[np.ndarray]:
        """As `LoadedModel.run`; songs take their turns.

        Raises:
          ServingError: as `LoadedModel.run` and `Scheduler.finish`.
        """
        signature = self._songs.signature(feeds, fetches)
        request = self._songs.request(signature, feeds) if signature else None
        if signature is None or request is None:
            return self._model.run(feeds, fetches, timeout)
        if timeout is not None:
            request.deadline = time.monotonic() + timeout
        self._scheduler.finish(request)
        return self._songs.answer(signature, request, fetches)

    def close(self) -> None:
        """Ends what is under way and frees the model."""
        self._scheduler.close()
        self._model.close()
