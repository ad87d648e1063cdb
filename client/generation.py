"""New events from a served model: in one call, in chunks, or a call a note.

    with Connection("127.0.0.1:8500") as connection:
        client = GenerationClient(connection)
        song = client.generate([prime], steps=250, sampling=Sampling(seed=7))[0]

The model's own signatures do the work; three ways lead to the same events.
`generate` runs the whole loop inside the server and is what to use. `stream`
asks for a chunk at a time and carries the model's state from one to the next,
so that a long song can be heard while it grows. `step_loop` does the same a
single event at a time. They agree because the random number of an event
depends on (seed, position, field) alone, and because the state they carry has
consumed all events but the last, which every continuation sends again.

`paper_loop` is the paper's own loop: one call a note, each of which recomputes
the last window from nothing. For a model of the `paper` preset it gives what
`generate` gives; for a model that carries its state it is another model, since
it forgets what left the window.

Everything about the model (its codec, its limits, the signatures it lacks and
why) comes from its `describe` signature, so a client needs the server alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from client.connection import Answer
from music.codec import Codec, build_codec
from music.errors import SegueError

MAX_TEMPERATURE = 100.0
_INT32_MAX = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How events are drawn from a model's distribution.

    Attributes:
      temperature: 0 takes the likeliest event, 1 the model's own distribution;
        greater is bolder; at most `MAX_TEMPERATURE`.
      top_k: draw among the k likeliest values of a field; 0 is off.
      top_p: draw among the likeliest values that make up this share; 1 is off.
      seed: any int64; the same seed, prime and model give the same events.
      may_end: whether the model may end the song before the steps are used up.

    Raises:
      SegueError: a value outside its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    may_end: bool = False

    def __post_init__(self) -> None:
        if not (_is_real(self.temperature) and 0 <= self.temperature <= MAX_TEMPERATURE):
            raise SegueError(
                f"temperature {self.temperature} is outside 0..{MAX_TEMPERATURE:g} "
                "(0 takes the likeliest, 1 is the model's own)"
            )
        if not (_is_whole(self.top_k) and 0 <= self.top_k <= _INT32_MAX):
            raise SegueError(f"top_k {self.top_k} is outside 0..{_INT32_MAX} (0 is off)")
        # Models read float32, in which the smallest doubles are zero.
        if not (_is_real(self.top_p) and 0 < np.float32(self.top_p) <= 1):
            raise SegueError(f"top_p {self.top_p} is outside 0 < top_p <= 1 (1 is off)")
        if not (_is_whole(self.seed) and -(2**63) <= self.seed < 2**63):
            raise SegueError(f"seed {self.seed} is outside {-(2**63)}..{2**63 - 1}")
        if not isinstance(self.may_end, (bool, np.bool_)):
            raise SegueError(f"may_end {self.may_end!r} is neither true nor false")

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        return {
            "temperature": float(self.temperature),
            "top_k": int(self.top_k),
            "top_p": float(self.top_p),
            "seed": int(self.seed),
            "may_end": bool(self.may_end),
        }


def _is_real(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a model accepts.

    Attributes:
      window: events that one training window, or one `predict_next`, looks at.
      min_prime: events that a prime must have at least.
      max_prime: events that it may have at most.
      max_steps: events that one song may be asked to have.
      max_batch: songs in one call.
      max_events: songs in one call times their events, made or primed.
      state_size: numbers that `generate` hands over for `resume` and `step`: h and c
        of the LSTM layers, 2048 for the stack of 256, 512 and 256 units, and whatever
        else the model carries along.
    """

    window: int
    min_prime: int
    max_prime: int
    max_steps: int
    max_batch: int
    max_events: int
    state_size: int


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What a model says about itself.

    Attributes:
      model: its name on the server.
      version: the version that spoke; None where the server does not tell.
      codec: what its events mean.
      vocabulary: {"fields": [{"name": ..., "kept": [codes]}]}.
      training: data, preset, held-out nats, versions.
      limits: what it accepts.
      signatures: name -> None where it can be called, else why it cannot.
    """

    model: str
    version: int | None
    codec: Codec
    vocabulary: Mapping[str, Any]
    training: Mapping[str, Any]
    limits: Limits
    signatures: Mapping[str, str | None]

    def lacks(self, signature: str) -> str | None:
        """Why a signature cannot be called, or None where it can."""
        return self.signatures.get(signature, "the model does not list it")

    def require(self, signature: str) -> None:
        """Raises a SegueError with the model's reason where a signature is lacking."""
        reason = self.lacks(signature)
        if reason is not None:
            raise SegueError(f"model {self.model!r} cannot {signature!r}: {_one_line(reason)}")

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON types."""
        return {
            "model": self.model,
            "version": self.version,
            "codec": self.codec.config(),
            "vocabulary": dict(self.vocabulary),
            "training": dict(self.training),
            "limits": dataclasses.asdict(self.limits),
            "signatures": dict(self.signatures),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Generated:
    """Events that a model made.

    Attributes:
      events: int32[S, F] codes; S is what was made, which is less than what
        was asked where the song ended.
      log_prob: float32[S], nats; the model's own log probability of each.
      state: float32[2048], the state to go on from; None for models and calls
        that carry none.
    """

    events: np.ndarray
    log_prob: np.ndarray
    state: np.ndarray | None

    def __len__(self) -> int:
        return len(self.events)


class Caller(Protocol):
    """Whoever a model can be asked through: a `Connection`, or the model itself.

    Attributes:
      model: its name.
      target: where it is, for messages.
    """

    model: str
    target: str

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
    ) -> Answer:
        """Runs one signature; as `client.connection.Connection.call`."""


class GenerationClient:
    """Asks one model for music.

    The first call asks the model to `describe` itself; from then on every call
    names the version that answered, so that a song is never begun by one model
    and ended by another when the server takes a new version into service. Make
    another client to follow the server to its newest version.
    """

    def __init__(self, connection: Caller):
        self.connection = connection
        self._facts: ModelFacts | None = None

    def describe(self) -> ModelFacts:
        """What the model says about itself; asked once.

        Raises:
          SegueError: the server is not there, or the model is not one of Segue's.
        """
        if self._facts is None:
            keys = np.array(["codec", "vocabulary", "training", "limits", "signatures"])
            answer = self.connection.call("describe", {"keys": keys})
            self._facts = _read_facts(self.connection, keys.tolist(), answer)
        return self._facts

    def generate(
        self,
        primes: Sequence[np.ndarray],
        steps: int | Sequence[int],
        sampling: Sampling | Sequence[Sampling] | None = None,
        timeout: float | None = None,
    ) -> list[Generated]:
        """Songs that go on from primes, in one call.

        Args:
          primes: int32[T_i, F] codes each; lengths may differ.
          steps: events to make, for all or for each.
          sampling: for all or for each; None is `Sampling()`.
          timeout: seconds for the call; None is the connection's.

        Returns:
          One a prime, in order.

        Raises:
          SegueError: a prime, a number of steps or the batch is outside what the
            model accepts, or the call fails.
        """
        facts = self.describe()
        facts.require("generate")
        count = len(primes)
        checked = [_check_prime(facts, prime) for prime in primes]
        wanted = [_check_steps(facts, n) for n in _for_each(steps, count, "steps")]
        samplings = _for_each(sampling or Sampling(), count, "sampling settings")
        if count > facts.limits.max_batch:
            raise SegueError(
                f"{count:,} songs in one call are too many; model {facts.model!r} takes "
                f"1..{facts.limits.max_batch:,}"
            )
        if not count:
            return []
        largest = count * max(*wanted, *map(len, checked), 0)
        if largest > facts.limits.max_events:
            raise SegueError(
                f"{count:,} songs in one call come to {largest:,} events; model {facts.model!r} "
                f"takes {facts.limits.max_events:,}: ask for fewer songs or steps at a time"
            )
        lengths = np.array([len(prime) for prime in checked], np.int32)
        padded = np.zeros((count, lengths.max(), len(facts.codec.fields)), np.int32)
        for row, prime in zip(padded, checked, strict=True):
            row[: len(prime)] = prime
        inputs = {
            "prime": padded,
            "prime_length": lengths,
            "steps": np.array(wanted, np.int32),
            **_sampling_inputs(samplings, 0),
        }
        return self._made("generate", inputs, wanted, timeout)

    def stream(
        self,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling | None = None,
        chunk: int = 25,
        timeout: float | None = None,
    ) -> Iterator[Generated]:
        """One song, a chunk at a time; together the same as one `generate`.

        Args:
          prime: int32[T, F] codes.
          steps: events to make in all.
          sampling: None is `Sampling()`.
          chunk: events a call.
          timeout: seconds for each call; None is the connection's.

        Yields:
          Up to `chunk` events each; ends early where the model ends the song.

        Raises:
          SegueError: as `generate`, before the iterator is handed out where that
            can be known; or the model cannot `resume`.
        """
        facts, prime, steps, sampling = self._check_one(prime, steps, sampling)
        facts.require("generate")
        facts.require("resume")
        if not (_is_whole(chunk) and chunk >= 1):
            raise SegueError(f"chunk {chunk} is outside 1..{facts.limits.max_steps}")
        return self._stream(facts, prime, steps, sampling, chunk, timeout)

    def _stream(
        self,
        facts: ModelFacts,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling,
        chunk: int,
        timeout: float | None,
    ) -> Iterator[Generated]:
        made = 0
        part: Generated | None = None
        while made < steps:
            size = min(chunk, steps - made)
            if part is None:
                part = self.generate([prime], size, sampling, timeout)[0]
            else:
                inputs = {
                    "state": self._state_of(part)[None],
                    "prime": part.events[None, -1:],
                    "prime_length": np.ones(1, np.int32),
                    "steps": np.array([size], np.int32),
                    **_sampling_inputs([sampling], made),
                }
                part = self._made("resume", inputs, [size], timeout)[0]
            if len(part):
                yield part
            made += len(part)
            if len(part) < size or _ends(facts.codec, part.events, sampling):
                return

    def step_loop(
        self,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling | None = None,
        timeout: float | None = None,
    ) -> Iterator[Generated]:
        """One song, a call an event, with the state carried; the same events.

        Arguments, events and errors as `stream`; the model must have `step`.
        """
        facts, prime, steps, sampling = self._check_one(prime, steps, sampling)
        facts.require("generate")
        facts.require("step")
        return self._step_loop(facts, prime, steps, sampling, timeout)

    def _step_loop(
        self,
        facts: ModelFacts,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling,
        timeout: float | None,
    ) -> Iterator[Generated]:
        if not steps:
            return
        # No steps: the model only reads, and stops short of the last event.
        state = self._state_of(self.generate([prime], 0, sampling, timeout)[0])
        event = prime[-1]
        for made in range(steps):
            inputs = {
                "event": event[None],
                "state": state[None],
                **_sampling_inputs([sampling], made),
            }
            answer = self._call("step", inputs, timeout)
            part = self._one_event(facts, "step", answer)
            event, state = part.events[0], self._state_of(part)
            yield part
            if _ends(facts.codec, part.events, sampling):
                return

    def paper_loop(
        self,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling | None = None,
        timeout: float | None = None,
    ) -> Iterator[Generated]:
        """One song as the paper makes it: a call a note, a whole window each.

        Arguments and errors as `stream`; the model must have `predict_next`.

        Yields:
          One event each, without a state.
        """
        facts, prime, steps, sampling = self._check_one(prime, steps, sampling)
        facts.require("predict_next")
        return self._paper_loop(facts, prime, steps, sampling, timeout)

    def _paper_loop(
        self,
        facts: ModelFacts,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling,
        timeout: float | None,
    ) -> Iterator[Generated]:
        window = prime[-facts.limits.window :]
        for made in range(steps):
            inputs = {"events": window[None], **_sampling_inputs([sampling], made)}
            answer = self._predict_next(facts, inputs, timeout)
            part = dataclasses.replace(self._one_event(facts, "predict_next", answer), state=None)
            yield part
            if _ends(facts.codec, part.events, sampling):
                return
            window = np.concatenate([window, part.events])[-facts.limits.window :]

    def _predict_next(
        self, facts: ModelFacts, inputs: Mapping[str, Any], timeout: float | None
    ) -> Answer:
        """One call; two for a window that is not full yet.

        A server that pads what it batches would add events to a narrow window that
        it runs beside a wider one, and nothing in `events` could tell. Calls for a
        part of the outputs are never batched; the draw is the same in both.
        """
        if inputs["events"].shape[1] == facts.limits.window:
            return self._call("predict_next", inputs, timeout)
        answer = self._call("predict_next", inputs, timeout, ("event",))
        rest = self._call("predict_next", inputs, timeout, ("log_prob",))
        return dataclasses.replace(answer, outputs={**answer.outputs, **rest.outputs})

    def _check_one(
        self, prime: np.ndarray, steps: int, sampling: Sampling | None
    ) -> tuple[ModelFacts, np.ndarray, int, Sampling]:
        facts = self.describe()
        return (
            facts,
            _check_prime(facts, prime),
            _check_steps(facts, steps),
            sampling or Sampling(),
        )

    def _call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None,
        outputs: Sequence[str] = (),
    ) -> Answer:
        version = self.describe().version
        return self.connection.call(signature, inputs, timeout, outputs, version)

    def _made(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        wanted: Sequence[int],
        timeout: float | None,
    ) -> list[Generated]:
        """Calls `generate` or `resume` and cuts each row to what it made."""
        facts = self.describe()
        answer = self._call(signature, inputs, timeout)
        count, longest, width = len(wanted), max(wanted), len(facts.codec.fields)
        # A server that batches runs other clients' songs with ours, and answers
        # everyone with as many steps as the longest of them all.
        ran = self._steps_run(answer, longest)
        events = self._output(answer, signature, "events", np.int32, (count, ran, width))
        log_prob = self._output(answer, signature, "log_prob", np.float32, (count, ran))
        states: Sequence[np.ndarray | None] = [None] * count
        if facts.lacks("resume") is None or facts.lacks("step") is None:
            shape = (count, facts.limits.state_size)
            states = list(self._output(answer, signature, "state", np.float32, shape))
        rows = []
        for index, n in enumerate(wanted):
            # Rows are filled with -1 past their end.
            ended = np.flatnonzero((events[index, :n] < 0).any(axis=1))
            made = int(ended[0]) if len(ended) else n
            rows.append(
                Generated(
                    self._spelled(facts, signature, events[index, :made]),
                    log_prob[index, :made],
                    states[index],
                )
            )
        return rows

    def _steps_run(self, answer: Answer, least: int) -> int:
        events = answer.outputs.get("events")
        return least if events is None or events.ndim != 3 else max(events.shape[1], least)

    def _one_event(self, facts: ModelFacts, signature: str, answer: Answer) -> Generated:
        width = len(facts.codec.fields)
        event = self._output(answer, signature, "event", np.int32, (1, width))
        log_prob = self._output(answer, signature, "log_prob", np.float32, (1,))
        state = None
        if signature == "step":
            state = self._output(
                answer, signature, "state", np.float32, (1, facts.limits.state_size)
            )[0]
        return Generated(self._spelled(facts, signature, event), log_prob, state)

    def _output(
        self, answer: Answer, signature: str, name: str, dtype: Any, shape: tuple[int, ...]
    ) -> np.ndarray:
        array = answer.outputs.get(name)
        if array is None or array.dtype != dtype or array.shape != shape:
            got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise SegueError(
                f"model {self.connection.model!r} at {self.connection.target} answered {got} as "
                f"{name!r} of {signature!r}, not {np.dtype(dtype)}{list(shape)}; "
                "it was not exported by this version of Segue"
            )
        return array

    def _spelled(self, facts: ModelFacts, signature: str, events: np.ndarray) -> np.ndarray:
        try:
            return facts.codec.check(events)
        except ValueError as error:
            raise SegueError(
                f"model {facts.model!r} at {self.connection.target} answered an impossible "
                f"event from {signature!r}: {error}"
            ) from error

    def _state_of(self, part: Generated) -> np.ndarray:
        assert part.state is not None, "the model has `resume` or `step`, hence a state"
        return part.state


def _read_facts(connection: Caller, keys: list[str], answer: Answer) -> ModelFacts:
    def wrong(what: str) -> SegueError:
        return SegueError(
            f"model {connection.model!r} at {connection.target} describes itself with {what}; "
            "it was not exported by this version of Segue"
        )

    values = answer.outputs.get("values")
    if values is None or values.shape != (len(keys),) or values.dtype != object:
        raise wrong("something else than a text for each key")
    facts: dict[str, dict[str, Any]] = {}
    for key, value in zip(keys, values.tolist(), strict=True):
        try:
            facts[key] = json.loads(value)
        except ValueError as error:
            raise wrong(f"a {key!r} that is no JSON") from error
        if not isinstance(facts[key], dict):
            raise wrong(f"a {key!r} that is no JSON object")
    numbers_of = facts["limits"]
    names = [field.name for field in dataclasses.fields(Limits)]
    for name in names:
        if not (_is_whole(numbers_of.get(name)) and numbers_of[name] >= 1):
            raise wrong(f"the limit {name} = {numbers_of.get(name)}")
    codec = build_codec(facts["codec"])
    return ModelFacts(
        model=connection.model,
        version=answer.version,
        codec=codec,
        vocabulary=facts["vocabulary"],
        training=facts["training"],
        limits=Limits(**{name: numbers_of[name] for name in names}),
        signatures=facts["signatures"],
    )


def _check_prime(facts: ModelFacts, prime: np.ndarray) -> np.ndarray:
    try:
        prime = facts.codec.check(prime)
    except ValueError as error:
        raise SegueError(f"the prime does not fit model {facts.model!r}: {error}") from error
    limits = facts.limits
    least = max(limits.min_prime, 1)
    if len(prime) < least:
        raise SegueError(
            f"the prime has {len(prime):,} events; model {facts.model!r} needs at least "
            f"{least:,}: take a longer song, or a longer piece of it"
        )
    if len(prime) > limits.max_prime:
        raise SegueError(
            f"the prime has {len(prime):,} events; model {facts.model!r} takes at most "
            f"{limits.max_prime:,}: take less of it with --prime-length"
        )
    return prime


def _check_steps(facts: ModelFacts, steps: Any) -> int:
    if not (_is_whole(steps) and 0 <= steps <= facts.limits.max_steps):
        raise SegueError(f"steps {steps} is outside 0..{facts.limits.max_steps}")
    return int(steps)


def _for_each(value: Any, count: int, what: str) -> list[Any]:
    """One value a song, from one for all or a sequence of them."""
    if not isinstance(value, (Sequence, np.ndarray)):
        return [value] * count
    if len(value) != count:
        raise SegueError(f"{len(value)} {what} were given for {count} primes")
    return list(value)


def _sampling_inputs(samplings: Sequence[Sampling], position: int) -> dict[str, np.ndarray]:
    return {
        "temperature": np.array([s.temperature for s in samplings], np.float32),
        "top_k": np.array([s.top_k for s in samplings], np.int32),
        "top_p": np.array([s.top_p for s in samplings], np.float32),
        "may_end": np.array([s.may_end for s in samplings], bool),
        "seed": np.array([s.seed for s in samplings], np.int64),
        "position": np.full(len(samplings), position, np.int32),
    }


def _ends(codec: Codec, events: np.ndarray, sampling: Sampling) -> bool:
    """Whether the last event is one after which nothing comes."""
    if codec.boundary is None or not sampling.may_end or not len(events):
        return False
    field, code = codec.boundary
    return int(events[-1, field]) == code


def _one_line(words: str) -> str:
    return " ".join(str(words).split())
