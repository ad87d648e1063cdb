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
consumed all events but the last, which every continuation sends again. Nothing
of a song stays in a server, so each of its calls may be answered by another one.

`paper_loop` is the paper's own loop: one call a note, each of which recomputes
the last window from nothing. For a model of the `paper` preset it gives what
`generate` gives; for a model that carries its state it is another model, since
it forgets what left the window.

Everything about the model (its codec, its limits, the signatures it lacks and
why) comes from its `describe` signature, so a client needs the server alone; or
whatever else is a `Caller`. The calls themselves are thought out in `plans`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from client.exchange import Answer
from client.facts import DESCRIBED, Limits, ModelFacts, read_facts
from client.plans import Generated, Plan, Plans
from client.sampling import MAX_TEMPERATURE, Sampling

__all__ = [
    "MAX_TEMPERATURE",
    "Caller",
    "Generated",
    "GenerationClient",
    "Limits",
    "ModelFacts",
    "Sampling",
]


class Caller(Protocol):
    """Who can ask a model's signatures: a `Connection`, or a model in this process."""

    @property
    def model(self) -> str:
        """The model's name, for errors and reports."""

    @property
    def target(self) -> str:
        """Where the model is, for errors and reports."""

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
    ) -> Answer:
        """Asks one signature.

        Args:
          signature: its name.
          inputs: arrays of int32, int64, float32, bool, bytes or str, by name; the
            first dimension of each is the row.
          timeout: seconds for this call; None is the caller's own.
          outputs: the names that are wanted; empty asks for all.
          version: the model's version; None is the caller's choice. An `Answer` tells
            which it was, and later calls ask for that one.

        Raises:
          SegueError: no answer can be had, or the model refuses.
        """


class GenerationClient:
    """Asks one model for music; safe to share between threads where its caller is.

    The first call asks the model to `describe` itself; from then on every call
    names the version that answered, so that a song is never begun by one model
    and ended by another when the server takes a new version into service. Make
    another client to follow the server to its newest version.
    """

    def __init__(self, caller: Caller):
        self.caller = caller
        self._plans: Plans | None = None
        self._describing = threading.Lock()

    def describe(self, timeout: float | None = None) -> ModelFacts:
        """What the model says about itself; asked once.

        Args:
          timeout: seconds for the call; None is the caller's own.

        Raises:
          SegueError: the server is not there, or the model is not one of Segue's.
        """
        return self._described(timeout).facts

    def _described(self, timeout: float | None) -> Plans:
        if self._plans is None:
            # Two answers might be of two versions.
            with self._describing:
                if self._plans is None:
                    caller = self.caller
                    answer = caller.call("describe", {"keys": np.array(DESCRIBED)}, timeout)
                    facts = read_facts(answer, caller.model, caller.target)
                    self._plans = Plans(facts, caller.target)
        return self._plans

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
        plan = self._described(timeout).generate(primes, steps, sampling)
        return list(self._follow(plan, timeout))

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
        plan = self._described(timeout).stream(prime, steps, sampling, chunk)
        return self._follow(plan, timeout)

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
        plan = self._described(timeout).step_loop(prime, steps, sampling)
        return self._follow(plan, timeout)

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
        plan = self._described(timeout).paper_loop(prime, steps, sampling)
        return self._follow(plan, timeout)

    def _follow(self, plan: Plan, timeout: float | None) -> Iterator[Generated]:
        answer: Answer | None = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration:
                return
            if isinstance(step, Generated):
                answer = None
                yield step
            else:
                answer = self.caller.call(
                    step.signature, step.inputs, timeout, step.outputs, step.version
                )
