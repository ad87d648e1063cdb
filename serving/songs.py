"""What `generate`, `resume` and `step` mean: calls as songs under way, and back.

A row of a call is a song: its carried state, the events that are not consumed yet
(a prime, or the last event that was made), how many are left to be made, and how
they are drawn. One run of `resume` moves some songs on, whatever calls they belong
to and wherever each of them is. Who is next, `continuous` decides.
"""

from __future__ import annotations

import collections
import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from music.codec import build_codec
from serving.errors import ServingError
from serving.loader import LoadedModel

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
# The longest part of a prime that one run reads.
PRIME_STEPS = 256


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
        self._shapes = (rows, steps, fields), (rows, steps), (rows, state_size)
        self.events = self.log_prob = self.state = np.empty(0)

    def allocate(self) -> None:
        """Takes the memory for what the songs will become."""
        events, log_prob, state = self._shapes
        self.events = np.full(events, -1, np.int32)
        self.log_prob = np.zeros(log_prob, np.float32)
        self.state = np.zeros(state, np.float32)

    def add(self, song: Song) -> None:
        """Puts a song among those that wait."""
        self.ready.setdefault(song.kind, collections.deque()).append(song)

    def fail(self, error: ServingError) -> None:
        """Ends the request, if it has not ended; its songs are dropped."""
        if not self.done.is_set():
            self.ready.clear()
            self.error = error
            self.done.set()


class Ran(NamedTuple):
    """What one run gave for some songs.

    Attributes:
      steps: events asked for, a number a song.
      lengths: events of the prime that it read, a number a song.
      events, log_prob, state: the outputs of `resume`.
    """

    steps: list[int]
    lengths: list[int]
    events: np.ndarray
    log_prob: np.ndarray
    state: np.ndarray


class Songs:
    """What the signatures of one model mean.

    Args:
      model: what runs `resume`.
      facts: its assets/segue.json.
    """

    def __init__(self, model: LoadedModel, facts: Mapping[str, Any]):
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

    def run(self, songs: Sequence[Song], most: int) -> Ran:
        """One run for songs, of at most `most` events each; they are as they were.

        Raises:
          ServingError: of the run.
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
        return Ran(steps, lengths, *self._model.run_here(feeds, self._fetches))

    def move_on(self, songs: Sequence[Song], ran: Ran) -> list[Song]:
        """Adds what a run made to its songs; those that are not finished."""
        rest = []
        for row, song in enumerate(songs):
            song.state = ran.state[row].copy()
            count = ran.steps[row]
            made = ran.events[row, :count], ran.log_prob[row, :count]
            if self._move_on(song, *made, ran.lengths[row]):
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
