"""How songs come about: which calls are made, and what their answers mean.

`Plans` makes no call itself. Each way to a song is a generator: it yields an `Ask`
for every call that it wants made, is sent the `Answer`, and yields what the song has
grown by as `Generated`. `GenerationClient` takes the steps in the calling thread,
`AsyncGenerationClient` in an event loop, and a song is the same whoever takes them.

What a model cannot take is told when a plan is made, before anything is asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from client.exchange import Answer
from client.facts import ModelFacts
from client.sampling import Sampling, is_whole, sampling_inputs
from music.codec import Codec
from music.errors import SegueError


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


@dataclasses.dataclass(frozen=True)
class Ask:
    """One call that a plan wants made.

    Attributes:
      signature: of the model.
      inputs: arrays by name.
      version: the model's, so that one song is of one version.
      outputs: the names that are wanted; empty asks for all.
    """

    signature: str
    inputs: Mapping[str, np.ndarray]
    version: int | None
    outputs: Sequence[str] = ()


# Yields calls and pieces of songs; is sent the answers.
Plan = Generator[Ask | Generated, Answer | None, None]
# The same for a single call, which returns what was made of its answer.
_Part = Generator[Ask, Answer, Generated]


@dataclasses.dataclass(frozen=True)
class Plans:
    """The ways to songs of one version of one model.

    Attributes:
      facts: what the model says about itself.
      target: who serves it, for errors.
    """

    facts: ModelFacts
    target: str

    def generate(
        self,
        primes: Sequence[np.ndarray],
        steps: int | Sequence[int],
        sampling: Sampling | Sequence[Sampling] | None,
    ) -> Plan:
        """See `GenerationClient.generate`; yields one `Generated` a prime, in order."""
        facts, limits = self.facts, self.facts.limits
        facts.require("generate")
        count = len(primes)
        checked = [self._check_prime(prime) for prime in primes]
        wanted = [self._check_steps(n) for n in _for_each(steps, count, "steps")]
        samplings = _for_each(sampling or Sampling(), count, "sampling settings")
        if count > limits.max_batch:
            raise SegueError(
                f"{count:,} songs in one call are too many; model {facts.model!r} takes "
                f"1..{limits.max_batch:,}"
            )
        largest = count * max(*wanted, *map(len, checked), 0, 0)
        if largest > limits.max_events:
            raise SegueError(
                f"{count:,} songs in one call come to {largest:,} events; model {facts.model!r} "
                f"takes {limits.max_events:,}: ask for fewer songs or steps at a time"
            )
        return self._generate(checked, wanted, samplings)

    def _generate(
        self, primes: list[np.ndarray], wanted: list[int], samplings: Sequence[Sampling]
    ) -> Plan:
        if not primes:
            return
        lengths = np.array([len(prime) for prime in primes], np.int32)
        padded = np.zeros((len(primes), lengths.max(), len(self.facts.codec.fields)), np.int32)
        for row, prime in zip(padded, primes, strict=True):
            row[: len(prime)] = prime
        inputs = {
            "prime": padded,
            "prime_length": lengths,
            "steps": np.array(wanted, np.int32),
            **sampling_inputs(samplings, 0),
        }
        answer = yield self._ask("generate", inputs)
        yield from self._rows("generate", answer, wanted)

    def stream(self, prime: np.ndarray, steps: int, sampling: Sampling | None, chunk: int) -> Plan:
        """See `GenerationClient.stream`."""
        prime, steps = self._check_prime(prime), self._check_steps(steps)
        self.facts.require("generate")
        self.facts.require("resume")
        if not (is_whole(chunk) and chunk >= 1):
            raise SegueError(f"chunk {chunk} is outside 1..{self.facts.limits.max_steps}")
        return self._stream(prime, steps, sampling or Sampling(), chunk)

    def _stream(self, prime: np.ndarray, steps: int, sampling: Sampling, chunk: int) -> Plan:
        made = 0
        part: Generated | None = None
        while made < steps:
            size = min(chunk, steps - made)
            if part is None:
                part = yield from self._begin(prime, size, sampling)
            else:
                inputs = {
                    "state": _state_of(part)[None],
                    "prime": part.events[None, -1:],
                    "prime_length": np.ones(1, np.int32),
                    "steps": np.array([size], np.int32),
                    **sampling_inputs([sampling], made),
                }
                answer = yield self._ask("resume", inputs)
                part = self._rows("resume", answer, [size])[0]
            if len(part):
                yield part
            made += len(part)
            if len(part) < size or _ends(self.facts.codec, part.events, sampling):
                return

    def step_loop(self, prime: np.ndarray, steps: int, sampling: Sampling | None) -> Plan:
        """See `GenerationClient.step_loop`."""
        prime, steps = self._check_prime(prime), self._check_steps(steps)
        self.facts.require("generate")
        self.facts.require("step")
        return self._step_loop(prime, steps, sampling or Sampling())

    def _step_loop(self, prime: np.ndarray, steps: int, sampling: Sampling) -> Plan:
        if not steps:
            return
        # No steps: the model only reads, and stops short of the last event.
        state = _state_of((yield from self._begin(prime, 0, sampling)))
        event = prime[-1]
        for made in range(steps):
            inputs = {
                "event": event[None],
                "state": state[None],
                **sampling_inputs([sampling], made),
            }
            answer = yield self._ask("step", inputs)
            part = self._one_event("step", answer)
            event, state = part.events[0], _state_of(part)
            yield part
            if _ends(self.facts.codec, part.events, sampling):
                return

    def paper_loop(self, prime: np.ndarray, steps: int, sampling: Sampling | None) -> Plan:
        """See `GenerationClient.paper_loop`."""
        prime, steps = self._check_prime(prime), self._check_steps(steps)
        self.facts.require("predict_next")
        return self._paper_loop(prime, steps, sampling or Sampling())

    def _paper_loop(self, prime: np.ndarray, steps: int, sampling: Sampling) -> Plan:
        length = self.facts.limits.window
        window = prime[-length:]
        for made in range(steps):
            inputs = {"events": window[None], **sampling_inputs([sampling], made)}
            part = yield from self._predict_next(inputs)
            yield part
            if _ends(self.facts.codec, part.events, sampling):
                return
            window = np.concatenate([window, part.events])[-length:]

    def _begin(self, prime: np.ndarray, steps: int, sampling: Sampling) -> _Part:
        """The first call of a song in pieces."""
        inputs = {
            "prime": prime[None],
            "prime_length": np.array([len(prime)], np.int32),
            "steps": np.array([steps], np.int32),
            **sampling_inputs([sampling], 0),
        }
        answer = yield self._ask("generate", inputs)
        return self._rows("generate", answer, [steps])[0]

    def _predict_next(self, inputs: Mapping[str, np.ndarray]) -> _Part:
        """One call; two for a window that is not full yet.

        A server that pads what it batches would add events to a narrow window that
        it runs beside a wider one, and nothing in `events` could tell. Calls for a
        part of the outputs are never batched; the draw is the same in both.
        """
        if inputs["events"].shape[1] == self.facts.limits.window:
            answer = yield self._ask("predict_next", inputs)
        else:
            answer = yield self._ask("predict_next", inputs, ("event",))
            rest = yield self._ask("predict_next", inputs, ("log_prob",))
            answer = dataclasses.replace(answer, outputs={**answer.outputs, **rest.outputs})
        return self._one_event("predict_next", answer)

    def _ask(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = ()
    ) -> Ask:
        return Ask(signature, inputs, self.facts.version, outputs)

    # ---- what goes in ----

    def _check_prime(self, prime: np.ndarray) -> np.ndarray:
        facts, limits = self.facts, self.facts.limits
        try:
            prime = facts.codec.check(prime)
        except ValueError as error:
            raise SegueError(f"the prime does not fit model {facts.model!r}: {error}") from error
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

    def _check_steps(self, steps: Any) -> int:
        if not (is_whole(steps) and 0 <= steps <= self.facts.limits.max_steps):
            raise SegueError(f"steps {steps} is outside 0..{self.facts.limits.max_steps}")
        return int(steps)

    # ---- what comes out ----

    def _rows(
        self, signature: str, answer: Answer | None, wanted: Sequence[int]
    ) -> list[Generated]:
        """The songs in an answer of `generate` or `resume`, each cut to what it made."""
        facts = self.facts
        count, longest, width = len(wanted), max(wanted), len(facts.codec.fields)
        # A server that batches runs other clients' songs with ours, and answers
        # everyone with as many steps as the longest of them all.
        ran = _steps_run(answer, longest)
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
                    self._spelled(signature, events[index, :made]),
                    log_prob[index, :made],
                    states[index],
                )
            )
        return rows

    def _one_event(self, signature: str, answer: Answer | None) -> Generated:
        width = len(self.facts.codec.fields)
        event = self._output(answer, signature, "event", np.int32, (1, width))
        log_prob = self._output(answer, signature, "log_prob", np.float32, (1,))
        state = None
        if signature == "step":
            shape = (1, self.facts.limits.state_size)
            state = self._output(answer, signature, "state", np.float32, shape)[0]
        return Generated(self._spelled(signature, event), log_prob, state)

    def _output(
        self,
        answer: Answer | None,
        signature: str,
        name: str,
        dtype: Any,
        shape: tuple[int, ...],
    ) -> np.ndarray:
        array = None if answer is None else answer.outputs.get(name)
        if array is None or array.dtype != dtype or array.shape != shape:
            got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise SegueError(
                f"model {self.facts.model!r} at {self.target} answered {got} as "
                f"{name!r} of {signature!r}, not {np.dtype(dtype)}{list(shape)}; "
                "it was not exported by this version of Segue"
            )
        return array

    def _spelled(self, signature: str, events: np.ndarray) -> np.ndarray:
        try:
            return self.facts.codec.check(events)
        except ValueError as error:
            raise SegueError(
                f"model {self.facts.model!r} at {self.target} answered an impossible "
                f"event from {signature!r}: {error}"
            ) from error


def _steps_run(answer: Answer | None, least: int) -> int:
    events = None if answer is None else answer.outputs.get("events")
    return least if events is None or events.ndim != 3 else max(events.shape[1], least)


def _for_each(value: Any, count: int, what: str) -> list[Any]:
    """One value a song, from one for all or a sequence of them."""
    if not isinstance(value, (Sequence, np.ndarray)):
        return [value] * count
    if len(value) != count:
        raise SegueError(f"{len(value)} {what} were given for {count} primes")
    return list(value)


def _ends(codec: Codec, events: np.ndarray, sampling: Sampling) -> bool:
    """Whether the last event is one after which nothing comes."""
    if codec.boundary is None or not sampling.may_end or not len(events):
        return False
    field, code = codec.boundary
    return int(events[-1, field]) == code


def _state_of(part: Generated) -> np.ndarray:
    assert part.state is not None, "the model has `resume` or `step`, hence a state"
    return part.state
