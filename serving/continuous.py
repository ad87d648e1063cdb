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

The pieces: `Songs` knows what the signatures mean (requests to rows, runs, and
rows back to responses), `Scheduler` who is next, `ContinuousModel` stands in
front of a loaded model.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from music.codec import build_codec
from serving import calls, errors
from serving.errors import ServingError
from serving.loader import LoadedModel

_log = logging.getLogger(__name__)

FACTS_FILE = Path("assets", "segue.json")
SAMPLING = ("temperature", "top_k", "top_p", "may_end", "seed", "position")
_DTYPES = {
    "prime": np.int32,
    "prime_length": np.int32,
    "steps": np.int32,
    "state": np.float32,
    "temperature": np.float32,
    "top_k": np.int32,
    "top_p": np.float32,
    "may_end": np.bool_,
    "seed": np.int64,
    "position": np.int32,
}
_INPUTS = {
    "generate": {"prime", "prime_length", "steps", *SAMPLING},
    "resume": {"prime", "prime_length", "steps", "state", *SAMPLING},
    "step": {"event", "state", *SAMPLING},
}
# What one run moves a song on by while others wait, and when none do.
SHORT_STEPS = 32
LONG_STEPS = 256
# The longest part of a prime that one run reads.
PRIME_STEPS = 256
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
    max_rows: int = 32
    max_queued_rows: int = 4096
    max_queued_events: int = 16_000_000


class Song:
    """A row under way.

    Attributes:
      prime: int32[T, F], the events that are not consumed yet, the last one
        included, from which the next is drawn.
      state: float32[D], what has been consumed before.
      left: events to be made.
      made: events that are made.
      sampling: the row's settings, in the order of SAMPLING.
    """

    __slots__ = ("left", "made", "prime", "request", "row", "sampling", "state")

    def __init__(
        self,
        request: Request,
        row: int,
        prime: np.ndarray,
        state: np.ndarray,
        left: int,
        sampling: tuple,
    ):
        self.request = request
        self.row = row
        self.prime = prime
        self.state = state
        self.left = left
        self.made = 0
        self.sampling = sampling

    @property
    def kind(self) -> int:
        """Rows of one kind cost alike in a run: by the power of two of the prime."""
        return min(len(self.prime) - 1, PRIME_STEPS).bit_length()


class Request:
    """A call under way: its songs, and what they have become.

    Attributes:
      events: int32[N, S, F], -1 where there is none.
      log_prob: float32[N, S].
      state: float32[N, D].
      deadline: time.monotonic() when the caller stops waiting; infinite for never.
      ready: songs that wait for a run, by their kind.
      pending: songs that are not finished.
      size: events that it holds or will hold, of primes and of songs.
      error: why it failed.
    """

    def __init__(self, rows: int, width: int, steps: int, fields: int, state_size: int):
        self.deadline = math.inf
        self.ready: dict[int, collections.deque[Song]] = {}
        self.pending = rows
        self.size = rows * (width + steps)
        self.error: ServingError | None = None
        self.done = threading.Event()
        self.events = np.full((rows, steps, fields), -1, np.int32)
        self.log_prob = np.zeros((rows, steps), np.float32)
        self.state = np.zeros((rows, state_size), np.float32)

    def add(self, song: Song) -> None:
        """Puts a song among those that wait."""
        self.ready.setdefault(song.kind, collections.deque()).append(song)

    def fail(self, error: ServingError) -> None:
        """Ends the request, if it has not ended; its songs are dropped."""
        if not self.done.is_set():
            self.ready.clear()
            self.error = error
            self.done.set()


class Songs:
    """What the signatures of one model mean.

    Args:
      model: what runs `resume`.
      facts: its assets/segue.json.
    """

    def __init__(self, model: Any, facts: Mapping[str, Any]):
        self._model = model
        self._limits = facts["limits"]
        codec = build_codec(facts["codec"])
        self.fields = len(codec.fields)
        self._boundary = codec.boundary
        resume = model.signatures["resume"]
        self._feeds = {alias: info.name for alias, info in resume.inputs.items()}
        self._fetches = [resume.outputs[alias].name for alias in ("events", "log_prob", "state")]

    def signature(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> str | None:
        """The signature that takes these tensors and gives those; None for any other run."""
        for name in _INPUTS:
            signature = self._model.signatures[name]
            if feeds.keys() == {info.name for info in signature.inputs.values()}:
                outputs = {info.name for info in signature.outputs.values()}
                return name if outputs.issuperset(fetches) else None
        return None

    def request(self, signature: str, feeds: Mapping[str, np.ndarray]) -> Request | None:
        """A call as songs; None when it is not in order and the graph has to say why."""
        infos = self._model.signatures[signature].inputs.items()
        given = {alias: feeds[info.name] for alias, info in infos}
        size = self._limits["state_size"]
        if signature == "step":
            event = given.pop("event")
            rows = len(event) if event.ndim else 0
            given["prime"] = event[:, None] if event.ndim == 2 else event
            given["prime_length"] = given["steps"] = np.ones(rows, np.int32)
        elif signature == "generate":
            rows = given["prime"].shape[0] if given["prime"].ndim else 0
            given["state"] = np.zeros((rows, size), np.float32)
        if not self._in_order(given):
            return None
        prime, length, steps, state = (
            given[name] for name in ("prime", "prime_length", "steps", "state")
        )
        rows, width = prime.shape[:2]
        request = Request(rows, width, int(steps.max()), self.fields, size)
        settings = zip(*(given[name].tolist() for name in SAMPLING), strict=True)
        for row, sampling in enumerate(settings):
            own = prime[row, : length[row]]
            request.add(Song(request, row, own, state[row], int(steps[row]), sampling))
        return request

    def answer(self, signature: str, request: Request, fetches: Sequence[str]) -> list[np.ndarray]:
        """The outputs of a finished request."""
        values = {
            "events": request.events,
            "log_prob": request.log_prob,
            "state": request.state,
        }
        if signature == "step":
            values = {"event": request.events[:, 0], "log_prob": request.log_prob[:, 0]}
            values["state"] = request.state
        outputs = self._model.signatures[signature].outputs
        named = {outputs[alias].name: value for alias, value in values.items()}
        return [named[name] for name in fetches]

    def run(self, songs: Sequence[Song], most: int) -> list[Song]:
        """Moves songs on by at most `most` events, in one run.

        Returns:
          Those that are not finished.

        Raises:
          ServingError: of the run; the songs are as they were.
        """
        parts = [song.prime[:PRIME_STEPS] for song in songs]
        # A prime that is not read to its end yet makes no event.
        steps = [
            min(song.left, most) if len(part) == len(song.prime) else 0
            for song, part in zip(songs, parts, strict=True)
        ]
        lengths = [len(part) for part in parts]
        prime = np.zeros((len(songs), max(lengths), self.fields), np.int32)
        for row, part in enumerate(parts):
            prime[row, : len(part)] = part
        columns = list(zip(*(song.sampling for song in songs), strict=True))
        values: dict[str, Any] = dict(zip(SAMPLING, columns, strict=True))
        values["position"] = [
            start + song.made for start, song in zip(values["position"], songs, strict=True)
        ]
        values |= {"prime": prime, "prime_length": lengths, "steps": steps}
        values["state"] = np.stack([song.state for song in songs])
        feeds = {
            name: np.asarray(values[alias], _DTYPES[alias]) for alias, name in self._feeds.items()
        }
        events, log_prob, state = self._model.run_here(feeds, self._fetches)
        rest = []
        for row, song in enumerate(songs):
            song.state = state[row].copy()
            made = events[row, : steps[row]]
            if self._move_on(song, made, log_prob[row, : steps[row]], lengths[row]):
                song.request.state[song.row] = song.state
            else:
                rest.append(song)
        return rest

    def _move_on(self, song: Song, events: np.ndarray, log_prob: np.ndarray, consumed: int) -> bool:
        """Adds what a run made to a song; True when that was the end of it."""
        if not len(events):
            # Its last event is not consumed yet, whatever was.
            song.prime = song.prime[consumed - 1 :]
            return song.left == 0 and len(song.prime) == 1
        count = int((events[:, 0] >= 0).sum())
        place = slice(song.made, song.made + count)
        song.request.events[song.row, place] = events[:count]
        song.request.log_prob[song.row, place] = log_prob[:count]
        song.made += count
        song.left -= count
        song.prime = events[count - 1 : count].copy()
        field, code = self._boundary or (0, -1)
        return song.left == 0 or bool(song.prime[0, field] == code)

    def _in_order(self, given: Mapping[str, np.ndarray]) -> bool:
        """Whether the graph would take these inputs; what it checks, without its words."""
        limits = self._limits
        if any(given[name].dtype != dtype for name, dtype in _DTYPES.items()):
            return False
        prime, length, steps, state = (
            given[name] for name in ("prime", "prime_length", "steps", "state")
        )
        if prime.ndim != 3 or prime.shape[2] != self.fields:
            return False
        rows, width = prime.shape[:2]
        if state.shape != (rows, limits["state_size"]):
            return False
        if any(given[name].shape != (rows,) for name in ("prime_length", "steps", *SAMPLING)):
            return False
        if not (1 <= rows <= limits["max_batch"] and 1 <= width <= limits["max_prime"]):
            return False
        most = int(steps.max())
        temperature, top_p, position = (given[n] for n in ("temperature", "top_p", "position"))
        return bool(
            steps.min() >= 0
            and most <= limits["max_steps"]
            and rows * max(most, width) <= limits["max_events"]
            and length.min() >= 1
            and length.max() <= width
            and np.isfinite(temperature).all()
            and temperature.min() >= 0
            and given["top_k"].min() >= 0
            and (top_p > 0).all()
            and (top_p <= 1).all()
            and position.min() >= 0
            # Places of later runs must be int32 as well.
            and int(position.max()) + most < 2**31
            and np.isfinite(state).all()
        )


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
        settings, rows = self._settings, request.pending
        with self._changed:
            if self._closed:
                raise errors.unavailable("the model is being unloaded")
            if (
                self._rows + rows > settings.max_queued_rows
                or self._events + request.size > settings.max_queued_events
            ):
                raise errors.resource_exhausted(
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"{self._rows} rows are under way"
                )
            self._rows += rows
            self._events += request.size
            self._requests.append(request)
            self._start_worker()
            self._changed.notify()
        call = calls.current()
        gone = functools.partial(self._fail, request, errors.cancelled("The caller is gone"))
        try:
            with call.when_gone(gone) if call else contextlib.nullcontext():
                left = request.deadline - time.monotonic()
                if not request.done.wait(min(left, threading.TIMEOUT_MAX)):
                    self._fail(request, errors.deadline_exceeded("Deadline exceeded"))
        finally:
            with self._changed:
                self._rows -= rows
                self._events -= request.size
        if request.error:
            raise request.error

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
        self._workers.append(thread)
        thread.start()

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
        self._requests.rotate(-1)
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
            rest = self._songs.run(songs, most)
        except ServingError as error:
            self._set_apart(songs, most, error)
            return
        except Exception as error:
            _log.exception("a run failed")
            self._set_apart(songs, most, errors.internal(errors.one_line(error)))
            return
        self._settle(songs, rest)

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


def facts_of(path: Path, signatures: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of a model of Segue that carries its state; None for any other.

    Args:
      path: the version's folder.
      signatures: the model's SignatureDefs.
    """
    try:
        facts = json.loads((path / FACTS_FILE).read_text())
        if facts["signatures"]["resume"] is not None or facts["signatures"]["step"] is not None:
            return None
        limits = {"state_size", "max_batch", "max_prime", "max_steps", "max_events"}
        if not limits <= facts["limits"].keys():
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for name, inputs in _INPUTS.items():
        if name not in signatures or set(signatures[name].inputs) != inputs:
            return None
    return facts
